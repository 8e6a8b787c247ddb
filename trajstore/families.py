"""Trajectory families by name, also those of one's own: found, compared with what a spec records, checked as they run.

A family of one's own is named ``module:attribute``, or by an entry point of the group ``trajstore.families``. It is a
`trajstore.trajectories.Family`, or just its function. Its module is imported where a spec is written by hand and where
rows are made, never where a store is read: a store says itself what it was made with.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trajstore.errors import SpecError
from trajstore.text import describe_invalid, suggest
from trajstore.trajectories import FAMILIES, FAMILY_UNIFORMS, Family

GROUP: Final = "trajstore.families"
"""Entry points of installed packages that offer families."""

PROBE_TIMES: Final = np.arange(-4, 40) / 31.0
"""Times at which a family is tried before its rows are made."""

TAKEN: Final = frozenset({
    "axis", "background_color", "background_pattern", "background_second_color", "backward_flow", "body", "body_box",
    "body_color", "body_depth", "body_in_view", "body_orientation", "body_pixel", "body_position", "body_radius",
    "body_role", "body_shape", "box", "camera", "channel", "class", "class_label", "column", "column_homogeneous",
    "depth", "depth_map", "direction", "edge", "extrinsics", "first_frame", "forward_flow", "frame",
    "future_position", "in_view", "intrinsics", "label_chunk", "labels_written", "last_frame", "light", "noise",
    "normals", "object_color", "path_length", "pixel", "position", "quaternion", "radius", "row", "sample",
    "segmentation", "shutter", "speed", "split", "uv", "video", "video_shard", "video_written", "visible_pixels", "x",
    "y",
})  # fmt: skip
"""Names that no parameter of a family may have, as a store uses them for its arrays and their axes."""

SIZES: Final = (1e-100, 1e100)
"""Between which the extent of a path lies, unless it is 0, in the units of its family."""

DISTANCE_MAX: Final = 1e8
"""How far from the origin a path may lie, in extents of its own, before rounding spoils its shape."""


class FamilyRecord(BaseModel):
    """What a family of one's own was when rows were made with it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[^\s,]+$")
    """As the spec names it."""

    version: str
    """Its declared version."""

    source: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of the source of its function, and of those of its parameters."""

    is_upright: bool = False
    """Whether its paths are only turned around the z axis."""

    parameters: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of the numbers that describe its paths."""


class _AbsentError(SpecError):
    """A family cannot be imported; the reason is what was tried and found."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def load_family(name: str, records: Iterable[FamilyRecord]) -> Family:
    """The family of a name; one of one's own has to be what a spec records."""
    if name in FAMILIES:
        return FAMILIES[name]
    recorded = next(record for record in records if record.name == name)
    try:
        family, found = _try_family(name)
    except _AbsentError as error:
        message = (
            f"family {name}: {error.reason}; the rows were made with its version {recorded.version!r} (source "
            f"{recorded.source[:16]}), expected the same; {_explain_absent(name)}; reading needs no family"
        )
        raise SpecError(message) from None
    for field in ("version", "source", "is_upright", "parameters"):
        ours, theirs = (_shorten(getattr(record, field)) for record in (found, recorded))
        if ours != theirs:
            message = (
                f"family {name}: found {field} {ours}, expected {theirs}, which the rows were made with; "
                "install that one, or build another store"
            )
            raise SpecError(message)
    return family


def record_families(names: Iterable[str]) -> list[FamilyRecord]:
    """What a spec has to record of the families of one's own among some names."""
    return [_try_family(name)[1] for name in names if name not in FAMILIES]


def trace_family(
    family: Family, uniforms: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points (n, m, 3) of some paths at times (m,), known to be finite."""
    if id(family) in _BUILT_IN:
        return family.path(uniforms, times)
    if not len(uniforms):
        return np.empty((0, len(times), 3))
    return _trace_checked(family, uniforms, times)


def describe_paths(family: Family, uniforms: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The numbers (n,) that describe some paths, by name."""
    if id(family) in _BUILT_IN:
        return {name: function(uniforms) for name, function in family.parameters.items()}
    described = {}
    for name, function in family.parameters.items() if len(uniforms) else ():
        found = _call(family, f"parameter {name}", function, uniforms)
        if found.shape != (len(uniforms),) or found.dtype.kind not in "fiub":
            message = (
                f"family {_name_of(family)}: found {found.dtype} of shape {found.shape} as parameter {name}, "
                f"expected float64 of shape {(len(uniforms),)}: one for each row of uniforms; mend its function"
            )
            raise SpecError(message)
        described[name] = found.astype(np.float64)
    return described


_BUILT_IN: Final = frozenset(map(id, FAMILIES.values()))


def _trace_checked(
    family: Family, uniforms: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points of a family of one's own, checked."""
    found = _call(family, "its path", family.path, uniforms, times)
    expected = (len(uniforms), len(times), 3)
    if found.shape != expected or found.dtype.kind not in "fiu":
        message = (
            f"family {_name_of(family)}: found {found.dtype} of shape {found.shape}, expected float64 of shape "
            f"{expected}: one point for each row of uniforms and each time; mend its function"
        )
        raise SpecError(message)
    points = found.astype(np.float64)
    is_common = np.abs(points) < SIZES[1]
    if not is_common.all():
        row, moment = np.argwhere(~is_common)[0][:2]
        message = (
            f"family {_name_of(family)}: found the point {points[row, moment].tolist()} at time "
            f"{times[moment]:.4g}, expected finite numbers of any common size; mend its function"
        )
        raise SpecError(message)
    if times.min() <= 0.0 and times.max() >= 1.0:  # not while a shutter is open, when there is hardly a way
        _check_extent(family, points)
    return points


def _check_extent(family: Family, points: NDArray[np.float64]) -> None:
    """Raise unless paths can be scaled into the unit ball without losing their shape."""
    extent = (points.max(axis=1) - points.min(axis=1)).max(axis=1)
    distance = np.abs(points).max(axis=(1, 2))
    is_lost = (extent > 0.0) & ((extent < SIZES[0]) | (distance > DISTANCE_MAX * extent))
    if is_lost.any():
        row = int(is_lost.argmax())
        message = (
            f"family {_name_of(family)}: found a path of extent {extent[row]:.4g} at a distance of "
            f"{distance[row]:.4g} from the origin, expected it at most {DISTANCE_MAX:.0e} extents away and no smaller "
            f"than {SIZES[0]:.0e}, so that it can be scaled; mend its function"
        )
        raise SpecError(message)


def _call(
    family: Family, what: str, function: Callable[..., Any], *arrays: NDArray[np.float64]
) -> NDArray[Any]:
    """What a function of a family of one's own returns for copies of some arrays."""
    try:
        return np.asarray(function(*(array.copy() for array in arrays)))
    except Exception as error:
        message = (
            f"family {_name_of(family)}: {what} raised {type(error).__name__}: {error}; expected numbers; "
            "mend its function"
        )
        raise SpecError(" ".join(message.split())) from error


@cache
def _try_family(name: str) -> tuple[Family, FamilyRecord]:
    """Import a family, and try that its points depend on nothing but their own uniforms and times."""
    family = _import_family(name)
    record = _describe(name, family)
    uniforms = np.random.Generator(np.random.Philox(key=0)).random((5, FAMILY_UNIFORMS))
    whole = _trace_checked(family, uniforms, PROBE_TIMES)
    again = _trace_checked(family, uniforms, PROBE_TIMES)
    of_rows = _trace_checked(family, uniforms[2:4], PROBE_TIMES)
    of_times = _trace_checked(family, uniforms, PROBE_TIMES[9:20])
    for what, same in (
        ("twice the same points for the same uniforms and times", (whole == again).all()),
        ("points that depend on their own row of uniforms only", (whole[2:4] == of_rows).all()),
        ("points that depend on their own time only", (whole[:, 9:20] == of_times).all()),
    ):
        if not same:
            message = (
                f"family {name}: found other points in a second call, expected {what}; mend its function"
            )
            raise SpecError(message)
    describe_paths(family, uniforms)
    return family, record


def _import_family(name: str) -> Family:
    """Import a family."""
    module_name, _, attribute = name.partition(":")
    expected = f"one of {', '.join(FAMILIES)}, module:function, or an entry point of the group {GROUP}"
    if not attribute:
        offered = {one.name: one.value for one in entry_points(group=GROUP)}
        if name not in offered:
            more = f" ({', '.join(sorted(offered))})" if offered else ""
            message = (
                f"unknown class {name!r}, expected {expected}{more}{suggest(name, [*FAMILIES, *offered])}"
            )
            raise _AbsentError(message, reason="no installed package offers it")
        module_name, _, attribute = offered[name].partition(":")
    here = str(Path.cwd())  # as `python -m` has it: what lies in the working folder can be imported
    is_added = here not in sys.path and "" not in sys.path
    if is_added:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        reason = " ".join(f"importing it raised {type(error).__name__}: {error}".split())
        message = f"family {name}: {reason}; expected {expected}, installed or in the working folder"
        raise _AbsentError(message, reason=reason) from error
    finally:
        if is_added:
            sys.path.remove(here)
    if isinstance(found, Family):
        return found
    if not callable(found):
        message = f"family {name}: found {type(found).__name__}, expected a function or a trajstore.Family"
        raise SpecError(message)
    return Family(found)


def _explain_absent(name: str) -> str:
    """How to provide a family that cannot be imported."""
    module, _, attribute = name.partition(":")
    if attribute:
        return f"install the package that has the module {module}, or run this in the folder that has it"
    return f"install the package that offers {name} as an entry point of the group {GROUP}"


def _describe(name: str, family: Family) -> FamilyRecord:
    """What decides the rows of a family."""
    parameters = family.parameters
    if not isinstance(parameters, Mapping):
        message = (
            f"family {name}: found {type(parameters).__name__} as parameters, expected functions by name"
        )
        raise SpecError(message)
    for parameter in parameters:
        if not str(parameter).isidentifier() or parameter in TAKEN:
            message = (
                f"family {name}: found a parameter {parameter!r}, expected a name that is an identifier and "
                "not one that a store uses itself; rename it"
            )
            raise SpecError(message)
    functions: tuple[Callable[..., Any], ...] = (family.path, *parameters.values())
    source = "".join(_read_source(name, function) for function in functions)
    try:
        return FamilyRecord(
            name=name,
            version=family.version,
            source=hashlib.sha256(source.encode()).hexdigest(),
            is_upright=family.is_upright,
            parameters=tuple(parameters),
        )
    except ValidationError as error:
        message = f"family {name}: {'; '.join(describe_invalid(error, FamilyRecord))}"
        raise SpecError(message) from None


def _read_source(name: str, function: Callable[..., Any]) -> str:
    """Source of a function, known to be that of what runs."""
    try:
        code = inspect.unwrap(function).__code__
        lines, _ = inspect.findsource(code)
        if code in _find_code("".join(lines)):
            return inspect.getsource(function)
    except (AttributeError, OSError, TypeError):
        message = (
            f"family {name}: its source cannot be found, expected a function in a Python file, "
            "so that a change of it can be told"
        )
        raise SpecError(message) from None
    message = (
        f"family {name}: found a source that was changed after Python had imported it, "
        "expected that of what runs; start Python anew"
    )
    raise SpecError(message)


def _find_code(text: str) -> Iterator[CodeType]:
    """The code of every function that a text defines."""
    try:
        pending = [compile(text, "<source>", "exec", dont_inherit=True)]
    except SyntaxError:
        return
    while pending:
        code = pending.pop()
        yield code
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _shorten(value: Any) -> str:
    """A value of a record as a message shows it."""
    return repr(value[:16] if isinstance(value, str) else value)


def _name_of(family: Family) -> str:
    """Where the function of a family comes from."""
    return f"{family.path.__module__}:{family.path.__qualname__}"
