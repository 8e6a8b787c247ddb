"""Compare the metadata of a store with what its spec gives, and restore what its root said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
from zstandard import ZstdDecompressor

from trajstore.errors import CorruptDataError, SpecError
from trajstore.integrity.checks import classify, read_object
from trajstore.integrity.findings import Finding
from trajstore.scene.order import split_rows
from trajstore.spec import FIRST_GROUPS, DatasetSpec, FirstGroups
from trajstore.store.attributes import (
    NAMESPACE,
    ROOT_KEY,
    StoreAttributes,
    find_readable,
    salvage_attributes,
)
from trajstore.store.groups.annotations import ARRAYS
from trajstore.store.handle import StoreHandle, describe_versions
from trajstore.store.layout import FRAMES, plan_layout
from trajstore.store.shard import decode_chunk
from trajstore.store.zarr_api import render_metadata

_ABSENT: Final = "nothing"

_ARRAYS: Final = {
    name: (*(array.name for array in arrays), f"{name}_written") for name, arrays in ARRAYS.items()
}
"""Names of the arrays of each annotation."""


def find_in_metadata(store: StoreHandle) -> Iterator[Finding]:
    """Compare all that a store holds beside rows and flags with what its spec gives."""
    attributes = store.attributes.model_copy(update={"fingerprint": store.spec.fingerprint})
    for key, expected in render_metadata(attributes).items():
        try:
            found = read_object(store, key)
        except CorruptDataError as error:
            yield Finding("corrupt", key, str(error))
            continue
        if found == expected:
            continue
        if found is None:
            yield Finding("missing", key, "there is no such file")
        elif not key.endswith(ROOT_KEY):
            yield from _find_in_static(store, key, found, expected)
        elif (parsed := _parse(found)) is None:
            yield classify(key, found, expected, "not a JSON object")
        elif key == ROOT_KEY:
            yield from _find_in_root(store, parsed, json.loads(expected))
        else:
            yield from _find_in_array(store, key, parsed, json.loads(expected))


def settle(store: StoreHandle) -> StoreHandle:
    """Correct the fields that the fingerprint does not cover where both copies of the metadata contradict the spec."""
    try:
        root = _parse(store.storage.read(ROOT_KEY) or b"") or {}
        agreed = _read_storage(root["consolidated_metadata"]["metadata"])
        if agreed is None or agreed != read_storage(store):
            return store
        spec = adopt(store.spec, agreed)
    except (LookupError, TypeError, OSError, SpecError):  # whatever is wrong there is a finding of its own
        return store
    return replace(store, attributes=store.attributes.model_copy(update={"spec": spec}))


def salvage(store: StoreHandle, data: bytes) -> StoreAttributes | None:
    """Find the attributes in a root that cannot be read, if the metadata of the frames says the same.

    ``store`` is what is left beside the root.
    """
    attributes = salvage_attributes(data.decode("utf-8", errors="replace"))
    storage = read_storage(store)
    if attributes is None or storage is None or adopt(attributes.spec, storage) != attributes.spec:
        return None
    return attributes


def adopt(spec: DatasetSpec, storage: dict[str, Any]) -> DatasetSpec:
    """A spec with what `read_storage` has found in place of its own, as far as that lays a store out in another way."""
    fields = dict(storage)
    chunk = fields.pop("chunk_shape")
    adopted = spec.replace(**fields)
    for name in (spec.storage.chunk, "camera", "sample"):  # more than one of them may be right
        fitting = adopted.replace(chunk=name)
        if list(plan_layout(fitting).column(FRAMES).chunk_shape) == chunk:
            return fitting
    return adopted


def find_first_groups(store: StoreHandle) -> FirstGroups | None:
    """How the first splits of a store were assigned, from those that it holds; None where they tell nothing."""
    column = store.layout.column("split")
    found = np.empty(column.chunk_shape, column.dtype)
    try:
        decode_chunk(store.storage.read(column.key(0)) or b"", found, ZstdDecompressor())
    except (OSError, CorruptDataError):  # damage is found, and mended, later
        return None
    rows = range(min(len(found), store.spec.dataset.samples))
    for start in FIRST_GROUPS:  # where both are right, it does not matter for these rows
        if (found[: len(rows)] == split_rows(store.spec.replace(first_groups=start), rows)).all():
            return start
    return None


def read_storage(store: StoreHandle) -> dict[str, Any] | None:
    """The fields of the spec that the fingerprint does not cover, as the metadata of arrays repeats them."""
    arrays = (FRAMES, *(array for arrays in _ARRAYS.values() for array in arrays))
    found = store.storage.read_many(f"{array}/{ROOT_KEY}" for array in arrays)
    return _read_storage(
        {key.partition("/")[0]: parsed for key, data in found if (parsed := _parse(data or b""))}
    )


def _find_in_root(store: StoreHandle, found: dict[str, Any], expected: dict[str, Any]) -> Iterator[Finding]:
    """Compare the root; its history is not known from elsewhere, and other attributes are the user's."""
    attributes = found.get("attributes", {})
    ours = attributes.get(NAMESPACE, {})
    if ours.get("fingerprint") != store.spec.fingerprint:
        detail = (
            f"fingerprint {ours.get('fingerprint')}, expected {store.spec.fingerprint}: rows of another generator, or "
            f"damaged attributes; {describe_versions(store)}"
        )
        yield Finding("different", ROOT_KEY, detail)
        return
    history = ours.get("history")
    if not history or list(find_readable(history)) != history:
        yield Finding(
            "different", ROOT_KEY, "history: found events that cannot be read; a repair leaves them out"
        )
        return
    stripped = found | {"attributes": {NAMESPACE: ours | {"history": None}}}
    expected["attributes"][NAMESPACE]["history"] = None
    yield from _compare(ROOT_KEY, stripped, expected)


def _find_in_array(
    store: StoreHandle, key: str, found: dict[str, Any], expected: dict[str, Any]
) -> Iterator[Finding]:
    """Compare an array's metadata; during an extension it may have the smaller shape for a moment."""
    if store.is_growing and found | {"shape": None} == expected | {"shape": None}:
        detail = "the size before the extension, which the next build completes"
        yield Finding("different", key, detail, is_damage=False)
    else:
        yield from _compare(key, found, expected)


def _find_in_static(store: StoreHandle, key: str, found: bytes, expected: bytes) -> Iterator[Finding]:
    """Compare the values of an array that does not depend on rows."""
    (column,) = (column for column in store.layout.static if column.key(0) == key)
    arrays = [np.empty(column.shape, column.dtype) for _ in range(2)]
    try:
        for data, array in zip((found, expected), arrays, strict=True):
            decode_chunk(data, array, ZstdDecompressor())
    except CorruptDataError as error:
        yield classify(key, found, expected, str(error))
        return
    if arrays[0].tobytes() != arrays[1].tobytes():
        yield Finding("different", key, "other values than the spec gives")


def _compare(key: str, found: dict[str, Any], expected: dict[str, Any]) -> Iterator[Finding]:
    """Compare two JSON objects; name the first difference and count the others."""
    differences = list(_differences(_normalize(found), _normalize(expected)))
    if differences:
        place, here, there = differences[0]
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        yield Finding("different", key, f"{place}: found {here!r}, expected {there!r}{more}")


def _normalize(value: Any) -> Any:
    """Without an empty ``storage_transformers``, which means the same as none."""
    if isinstance(value, dict):
        return {k: _normalize(v) for k, v in value.items() if (k, v) != ("storage_transformers", [])}
    return value


def _differences(found: Any, expected: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place in which two JSON values differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in [*expected, *(name for name in found if name not in expected)]:
            inner = f"{place}.{name}" if place else name
            yield from _differences(found.get(name, _ABSENT), expected.get(name, _ABSENT), inner)
    elif found != expected or type(found) is not type(expected):
        yield place, found, expected


def _parse(data: bytes) -> dict[str, Any] | None:
    """A JSON object, if that is what it is."""
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _read_storage(arrays: Any) -> dict[str, Any] | None:
    """The fields of the spec that the metadata of arrays, by name, repeats and the fingerprint does not cover."""
    try:
        array = arrays[FRAMES]
        annotations: dict[str, Any] = {
            "groups": [name for name, names in _ARRAYS.items() if any(one in arrays for one in names)]
        }
        if "query_points" in arrays:
            annotations["points"] = arrays["query_points"]["shape"][2]
        zstd = next(
            codec for codec in array["codecs"][0]["configuration"]["codecs"] if codec["name"] == "zstd"
        )
        return {
            "samples": array["shape"][0],
            "samples_per_shard": array["chunk_grid"]["configuration"]["chunk_shape"][0],
            "compression_level": zstd["configuration"]["level"],
            "chunk_shape": array["codecs"][0]["configuration"]["chunk_shape"],
            **annotations,
        }
    except (LookupError, TypeError, StopIteration):
        return None
