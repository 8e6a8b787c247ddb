"""The root attributes of a store: which spec, which format, who built it."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from trajstore.errors import FormatVersionError, NewerStoreError, NotAStoreError, SpecError, StoreError
from trajstore.families import GROUP
from trajstore.spec import Annotation, DatasetSpec, WrittenSpec, complete, leave_out_before
from trajstore.storage.location import Location
from trajstore.store.groups.video import settle_storage
from trajstore.store.layout import FORMAT_VERSION
from trajstore.text import describe_invalid
from trajstore.trajectories import FAMILIES

ROOT_KEY: Final = "zarr.json"
"""The object that holds them."""

NAMESPACE: Final = "trajstore"
"""The root attribute under which all of this is stored."""


class _Record(BaseModel):
    """Base: frozen and closed to unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Event = Literal["created", "extended", "annotated", "removed", "finished"]


class HistoryEntry(_Record):
    """One event in the life of a store."""

    event: Event
    """What happened: the store was created, grew, was given annotations, lost some, or got its last missing part."""

    time: str
    """When, UTC, ISO 8601."""

    samples: int = Field(ge=1)
    """Rows of the store at that time."""

    versions: dict[str, str]
    """Versions of trajstore, python, numpy, numba, zstandard, numcodecs and zarr that did it."""

    groups: tuple[Annotation, ...] = ()
    """Annotations that were added or removed."""

    @classmethod
    def now(cls, event: Event, *, samples: int, groups: tuple[Annotation, ...] = ()) -> Self:
        """Record an event that happens now, by this process."""
        return cls(
            event=event,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            samples=samples,
            versions=_find_versions(),
            groups=groups,
        )

    @model_serializer(mode="wrap")
    def _leave_out_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older versions do not know where there are no annotations."""
        return {name: value for name, value in dump(self).items() if name != "groups" or value}


class StoreAttributes(_Record):
    """What a store says about itself in the root attribute ``trajstore``."""

    format_version: Literal[1] = FORMAT_VERSION
    """Version of the store's layout."""

    fingerprint: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 over everything that decides a row's content; equal fingerprints mean equal rows."""

    spec: WrittenSpec
    """The whole spec."""

    history: tuple[HistoryEntry, ...] = Field(min_length=1)
    """Who created, extended, annotated and finished the store, oldest first."""

    @classmethod
    def created(cls, spec: DatasetSpec) -> Self:
        """Attributes of a store that is created now; what its spec leaves open is settled."""
        spec = settle_storage(spec)
        return cls(
            fingerprint=spec.fingerprint,
            spec=spec,
            history=(HistoryEntry.now("created", samples=spec.dataset.samples),),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON, which older versions read if they could have made the store."""
        data = self.model_dump(mode="json")
        return {NAMESPACE: data | {"spec": leave_out_before(data["spec"])}}


def parse_attributes(root: Mapping[str, Any], location: Location) -> StoreAttributes:
    """Read what the root's ``zarr.json`` says about a store; what is wrong is named, and whether it is damage."""
    found = root["attributes"].get(NAMESPACE)
    if not isinstance(found, dict):
        message = (
            f"{location}: found a zarr group without the attribute {NAMESPACE!r}, expected a trajstore store; "
            "name another path"
        )
        raise NotAStoreError(message)
    text = json.dumps(found)
    if (format_version := found.get("format_version")) != FORMAT_VERSION:
        raise _refuse_format(format_version, location, find_newer_version(text))
    # what is sound is not looked at any closer: to look up the installed version takes longer than to open a store
    with suppress(ValidationError):
        return StoreAttributes.model_validate_json(text)
    newer = find_newer_version(text)
    if newer is None and (history := list(find_readable(found.get("history")))):
        # who built a store does not decide whether it opens
        text = json.dumps(found | {"history": history})
    try:
        return StoreAttributes.model_validate_json(text)
    except ValidationError as error:
        problem = f"{location}/zarr.json: attribute {NAMESPACE}.{describe_invalid(error, StoreAttributes)[0]}"
    if newer is not None:
        message = f"{problem}; {describe_newer(newer)}"
        raise NewerStoreError(message)
    if unknown := _find_unknown_classes(found):
        message = (
            f"{location}: unknown class {', '.join(map(repr, unknown))}: the process that built the store had a family "
            "of this name that cannot be imported, so that nothing of it is recorded; build the store again with a "
            f"family that can: module:function, or an entry point of the group {GROUP}"
        )
        raise SpecError(message)
    message = f"{problem}; the attributes are damaged, mend them with: trajstore repair {location.argument}"
    raise StoreError(message)


def _find_unknown_classes(found: dict[str, Any]) -> list[str]:
    """Classes that are unknown here, where the fingerprint proves that there is no other damage."""
    try:
        dataset, motion = found["spec"]["dataset"], found["spec"].get("bodies", {}).get("motion", [])
        records = dataset.get("families", [])
        known = {*FAMILIES, *(record["name"] for record in records)}
        unknown = [name for name in dict.fromkeys([*dataset["classes"], *motion]) if name not in known]
        stubs = [{"name": name, "version": "", "source": "0" * 64} for name in unknown]
        data = {**found["spec"], "dataset": {**dataset, "families": [*records, *stubs]}}
        spec = DatasetSpec.model_validate_json(json.dumps(complete(data)))
    except (LookupError, TypeError, AttributeError, ValidationError):
        return []
    families = spec.dataset.families[: len(records)]
    spec = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"families": families})})
    return unknown if spec.fingerprint == found.get("fingerprint") else []


def salvage_attributes(text: str) -> StoreAttributes | None:
    """Find the attributes in a root that cannot be read; the spec and its fingerprint prove each other."""
    _, _, ours = text.partition(f'"{NAMESPACE}":')
    specs = [value for value in _find_values(r'"spec":', ours) if isinstance(value, dict)]
    # each event by itself, so that one that is damaged takes no other with it
    history = list(find_readable([*_find_values(r'(?={\s*"event":)', ours)]))
    try:
        attributes = StoreAttributes.created(DatasetSpec.model_validate_json(json.dumps(complete(specs[0]))))
    except (IndexError, ValidationError):
        return None
    if f'"{attributes.fingerprint}"' not in ours:
        return None
    return StoreAttributes.model_validate({**dict(attributes), "history": history or attributes.history})


def find_readable(history: Any) -> Iterator[Any]:
    """Find the events of a history that are whole."""
    for entry in history if isinstance(history, list) else ():
        try:
            HistoryEntry.model_validate(entry)
        except ValidationError:
            continue
        yield entry


def find_newer_version(text: str) -> str | None:
    """Find the newest version of trajstore that a root names, whole or torn, if the installed one is older."""
    # nothing but a whole version: where its closing quote is damaged, what follows would be part of it
    named = re.findall(rf'"{NAMESPACE}":\s*"(\d[\w.!+-]*)"', text)
    newest = max(named, key=_order, default="")
    return newest if _order(newest) > _order(_installed()) else None


def describe_newer(newer: str) -> str:
    """What is to be done with a store that a newer trajstore has written."""
    return f"it was written by trajstore {newer}, installed is {_installed()}; upgrade trajstore"


def _refuse_format(found: Any, location: Location, newer: str | None) -> FormatVersionError:
    """The error for a store of another format."""
    message = f"{location}: found store format {found!r}, expected {FORMAT_VERSION}; "
    if not isinstance(found, int) or found <= FORMAT_VERSION:
        action = "use the trajstore version that wrote it (see attributes.trajstore.history in its zarr.json)"
        return FormatVersionError(message + action)
    if newer is None:
        action = (
            f"upgrade trajstore; or, as its history names none newer than the installed {_installed()}, "
            "correct format_version in its zarr.json if that is damaged"
        )
    else:
        action = describe_newer(newer)
    return NewerStoreError(message + action)


@cache
def _find_versions() -> dict[str, str]:
    """Versions of what makes a store, looked up once."""
    packages = ("trajstore", "numpy", "numba", "zstandard", "numcodecs", "zarr")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}


@cache
def _installed() -> str:
    """The version of the installed trajstore, looked up once: that takes longer than to open a store."""
    return version("trajstore")


def _find_values(pattern: str, text: str) -> Iterator[Any]:
    """Find the JSON values that follow a pattern in a text that need not be valid JSON itself."""
    decoder = json.JSONDecoder()
    for match in re.finditer(rf"{pattern}\s*", text):
        try:
            yield decoder.raw_decode(text, match.end())[0]
        except ValueError:
            continue


def _order(number: str) -> tuple[int, ...]:
    """The numbers of a version, to compare with those of another: 0.10.2 is newer than 0.9."""
    return tuple(map(int, re.findall(r"\d+", number)[:3]))
