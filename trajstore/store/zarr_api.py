"""All that touches zarr: the metadata documents of a store, and the store as zarr sees it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from trajstore.spec import DatasetSpec
from trajstore.storage.bucket import Bucket
from trajstore.storage.interface import Storage
from trajstore.store.attributes import ROOT_KEY, StoreAttributes
from trajstore.store.columns import Column, Layout
from trajstore.store.layout import plan_layout


def render_metadata(attributes: StoreAttributes) -> dict[str, bytes]:
    """All objects of a store without rows: metadata and static arrays, made by zarr in memory."""
    objects = _render_arrays(attributes.spec, plan_layout(attributes.spec))
    root = json.loads(objects[ROOT_KEY])
    root = {"attributes": attributes.to_json(), **root}
    return {**objects, ROOT_KEY: json.dumps(root, indent=2).encode()}


def zarr_store(storage: Storage) -> Store:
    """The objects of a store for zarr, to read."""
    if isinstance(storage, Bucket):
        return ObjectStore(storage.client, read_only=True)
    return LocalStore(storage.location.url, read_only=True)


@lru_cache(maxsize=4)
def _render_arrays(spec: DatasetSpec, layout: Layout) -> Mapping[str, bytes]:
    """All objects of a store without rows; the root has no attributes."""
    from trajstore.scene.cameras import place_cameras

    memory = MemoryStore()
    root = zarr.create_group(memory, zarr_format=3)
    flags = {group.flags.name for group in layout.groups}
    for column in layout.columns:
        _create_array(root, column, spec, is_compressed=column.name not in flags)
    rig = place_cameras(spec)
    for column in layout.static:
        root[column.name][...] = rig.static(column.name)  # type: ignore[index]
    with warnings.catch_warnings():
        # zarr 3.1 warns that consolidated metadata is no part of the specification; without it xarray warns
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(memory)
    objects = {key: _read(memory, key) for key in sorted(sync(_list(memory)))}
    # zarr lists the members in the order of a set; ours is the same in every store
    described = json.loads(objects[ROOT_KEY])
    members = described["consolidated_metadata"]["metadata"]
    described["consolidated_metadata"]["metadata"] = {
        column.name: members[column.name] for column in layout.columns
    }
    del described["attributes"]
    return MappingProxyType(objects | {ROOT_KEY: json.dumps(described).encode()})


def _read(memory: Store, key: str) -> bytes:
    """An object that is there."""
    value = sync(memory.get(key, default_buffer_prototype()))
    assert value is not None  # it was listed
    return value.to_bytes()


def _create_array(root: zarr.Group, column: Column, spec: DatasetSpec, *, is_compressed: bool) -> None:
    """Create one array with the codecs that `trajstore.store.shard` writes."""
    checksum = Crc32cCodec()
    zstd = ZstdCodec(level=spec.storage.compression_level)
    root.create_array(
        column.name,
        shape=column.shape,
        dtype=column.dtype,
        chunks=column.chunk_shape,
        shards=column.shard_shape,
        compressors=[zstd, checksum] if is_compressed else [checksum],
        filters=None,
        fill_value=column.fill_value,
        dimension_names=column.dims,
        attributes=dict(column.attributes),
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )


async def _list(memory: Store) -> list[str]:
    """All keys."""
    return [key async for key in memory.list()]
