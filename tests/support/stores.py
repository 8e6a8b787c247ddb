"""Functions on open stores, for tests that have a path at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trajstore.store.handle as handles
import trajstore.store.plan as plans
from trajstore.spec import DatasetSpec
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import StoreHandle
from trajstore.store.plan import BuildPlan


def storage_at(path: str | Path | Location) -> Storage:
    return open_storage(Location.parse(path))


def open_store(path: str | Path | Location) -> StoreHandle:
    return handles.open_store(storage_at(path))


def create_store(path: str | Path | Location, spec: DatasetSpec) -> StoreHandle:
    return handles.create_store(storage_at(path), spec)


def plan_build(path: str | Path | Location, spec: DatasetSpec | None = None, **fields: Any) -> BuildPlan:
    return plans.plan_build(storage_at(path), spec, **fields)


def exists(path: str | Path | Location) -> bool:
    return storage_at(path).read("zarr.json") is not None
