"""What samples come from: a store, or a spec that nothing was built from yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trajstore.reading.samples import Samples
from trajstore.reading.store import StoreReader, open_reader
from trajstore.spec import DatasetSpec, SpecLike
from trajstore.storage.location import Location

SPEC_ENDINGS: Final = {".toml", ".json", ".yaml", ".yml"}
"""A file that ends so is a spec, or meant to be one."""


def open_samples(source: SpecLike | Location, *, storage_options: Mapping[str, str] | None = None) -> Samples:
    """Open what samples come from."""
    if isinstance(source, DatasetSpec | Mapping):
        return _generate(DatasetSpec.from_any(source), "spec")
    location = Location.parse(source, storage_options)
    path = location.folder
    if path is None or path.suffix not in SPEC_ENDINGS or path.is_dir():
        return open_reader(location)
    return _generate(DatasetSpec.from_file(path), str(location))


def _generate(spec: DatasetSpec, name: str) -> Samples:
    """Samples of a spec."""
    from trajstore.reading.generator import SampleGenerator  # imports numba, which a store does without

    samples = SampleGenerator(spec)
    samples.location = name
    return samples


def name_of(samples: Samples) -> str:
    """What to call the samples in a title."""
    location = str(samples.location)
    name = location.rpartition("/")[-1] if "://" in location else Path(location).absolute().name
    return name if isinstance(samples, StoreReader) else f"{name} (not built yet)"
