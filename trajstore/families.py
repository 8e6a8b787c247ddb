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
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from trajstore.errors import SpecError
from trajstore.trajectories import FAMILIES, FAMILY_UNIFORMS, Family

GROUP: Final = "trajstore.families"
"""Entry points of installed packages that offer families."""

PROBE_TIMES: Final = np.arange(-4, 40) / 31.0
"""Times at which a family is tried before its rows are made."""


class FamilyRecord(BaseModel):
    """What a family of one's own was when rows were made with it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    name: str
    """As the spec names it."""

    version: str
    """Its declared version."""

    source: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of the source of its function."""

    parameters: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of the numbers that describe its paths."""


def load_family(name: str, records: Iterable[FamilyRecord]) -> Family:
    """The family of a name; one of one's own has to be what a spec records."""
    if name in FAMILIES:
        return FAMILIES[name]
    family, found = _try_family(name)
    recorded = next(record for record in records if record.name == name)
    for what, theirs, ours in (
        ("version", recorded.version, found.version),
        ("source", recorded.source[:16], found.source[:16]),
        ("parameters", recorded.parameters, found.parameters),
    ):
        if theirs != ours:
            message = (
                f"family {name}: found {what} {ours!r}, expected {theirs!r}, which the rows were made with; "
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
    return _trace_checked(family, uniforms, times)


_BUILT_IN: Final = frozenset(map(id, FAMILIES.values()))


def _trace_checked(
    family: Family, uniforms: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points of a family of one's own, checked."""
    name = f"{family.path.__module__}:{family.path.__qualname__}"
    try:
        found = np.asarray(family.path(uniforms.copy(), times.copy()))
    except Exception as error:
        message = f"family {name}: raised {type(error).__name__}: {error}; expected points; mend its function"
        raise SpecError(" ".join(message.split())) from error
    expected = (len(uniforms), len(times), 3)
    if found.shape != expected or found.dtype.kind not in "fiu":
        message = (
            f"family {name}: found {found.dtype} of shape {found.shape}, expected float64 of shape {expected}: "
            "one point for each row of uniforms and each time; mend its function"
        )
        raise SpecError(message)
    points = found.astype(np.float64)
    if not np.abs(points).max(initial=0.0) < 1e100:
        row, moment = np.argwhere(~(np.abs(points) < 1e100))[0][:2]
        message = (
            f"family {name}: found the point {points[row, moment].tolist()} at time {times[moment]:.4g}, "
            "expected finite numbers of any common size; mend its function"
        )
        raise SpecError(message)
    return points


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
    return family, record


def _import_family(name: str) -> Family:
    """Import a family."""
    module_name, _, attribute = name.partition(":")
    expected = f"one of {', '.join(FAMILIES)}, module:function, or an entry point of the group {GROUP}"
    if not attribute:
        offered = {one.name: one.value for one in entry_points(group=GROUP)}
        if name not in offered:
            more = f" ({', '.join(sorted(offered))})" if offered else ""
            message = f"unknown class {name!r}, expected {expected}{more}"
            raise SpecError(message)
        module_name, _, attribute = offered[name].partition(":")
    here = str(Path.cwd())  # as `python -m` has it: what lies in the working folder can be imported
    is_added = here not in sys.path and "" not in sys.path
    if is_added:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        message = (
            f"family {name}: importing it raised {type(error).__name__}: {error}; expected {expected}, "
            "installed or in the working folder"
        )
        raise SpecError(" ".join(message.split())) from error
    finally:
        if is_added:
            sys.path.remove(here)
    if isinstance(found, Family):
        return found
    if not callable(found):
        message = f"family {name}: found {type(found).__name__}, expected a function or a trajstore.Family"
        raise SpecError(message)
    return Family(found)


def _describe(name: str, family: Family) -> FamilyRecord:
    """What decides the rows of a family."""
    try:
        source = inspect.getsource(family.path)
    except (OSError, TypeError):
        message = (
            f"family {name}: its source cannot be found, expected a function in a Python file, "
            "so that a change of it can be told"
        )
        raise SpecError(message) from None
    return FamilyRecord(
        name=name,
        version=family.version,
        source=hashlib.sha256(source.encode()).hexdigest(),
        parameters=tuple(family.parameters),
    )
