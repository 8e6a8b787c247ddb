"""Which samples somebody wants to see, of a store or of a spec that nothing was built from yet."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from trajstore.errors import IncompleteStoreError, SpecError
from trajstore.reading.generator import SampleGenerator
from trajstore.reading.rows import check_split
from trajstore.reading.samples import Samples
from trajstore.reading.store import open_reader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location
from trajstore.text import format_count

ROWS_MAX: Final = 12
"""Rows that are shown at a time."""

ROWS_OF_ONE_CLASS: Final = 4
"""Rows that are shown of a class that was asked for."""

SPEC_ENDINGS: Final = {".toml", ".json"}
"""A file that ends so is a spec."""

ROWS_SEARCHED_MAX: Final = 1_000_000
"""Rows among which samples of a class and a split are looked for."""


def open_samples(
    source: str | Path | Location | DatasetSpec, *, storage_options: Mapping[str, str] | None = None
) -> Samples:
    """Open what samples come from."""
    if isinstance(source, DatasetSpec):
        samples = SampleGenerator(source)
        samples.location = "spec"
        return samples
    location = Location.parse(source, storage_options)
    path = location.folder
    if path is None or path.suffix not in SPEC_ENDINGS or path.is_dir():
        return open_reader(location)
    samples = SampleGenerator(DatasetSpec.from_file(path))
    samples.location = str(location)
    return samples


def name_of(samples: Samples) -> str:
    """What to call the samples in a title."""
    location = str(samples.location)
    name = location.rpartition("/")[-1] if "://" in location else Path(location).absolute().name
    return f"{name} (not built yet)" if isinstance(samples, SampleGenerator) else name


def choose_rows(
    samples: Samples,
    rows: Sequence[int] | None = None,
    *,
    class_name: str | None = None,
    split: str | None = None,
) -> tuple[int, ...]:
    """Choose which samples to show."""
    if rows is not None and len(rows):
        if class_name is not None or split is not None:
            message = "rows: found rows together with a class or a split, expected one or the other"
            raise SpecError(message)
        chosen = tuple(dict.fromkeys(samples.check_rows(rows).tolist()))
        if len(chosen) > ROWS_MAX:
            message = f"rows: found {len(chosen)}, expected at most {ROWS_MAX} to show at a time; name fewer"
            raise SpecError(message)
        return chosen
    names = samples.spec.dataset.classes
    if class_name is not None and class_name not in names:
        message = f"class: found {class_name!r}, expected one of {', '.join(names)}"
        raise SpecError(message)
    check_split(split)
    found = _find_first(samples, class_name, split)
    if not found:
        _raise_none(samples, class_name, split)
    return found


def _find_first(samples: Samples, class_name: str | None, split: str | None) -> tuple[int, ...]:
    """The first rows of each class, or of one; ordered by class, then by row."""
    names = samples.spec.dataset.classes
    wanted = list(range(len(names)))[:ROWS_MAX] if class_name is None else [names.index(class_name)]
    each = 1 if class_name is None else ROWS_OF_ONE_CLASS
    found: dict[int, list[int]] = {label: [] for label in wanted}
    for piece in _written_pieces(samples):
        labels = samples.column("class_label", piece)
        is_eligible = np.isin(labels, wanted)
        if split is not None:
            is_eligible &= samples.column("split", piece) == SPLIT_NAMES.index(split)
        for place in np.flatnonzero(is_eligible):
            of_class = found[int(labels[place])]
            if len(of_class) < each:
                of_class.append(piece[place])
        if all(len(of_class) == each for of_class in found.values()):
            break
    return tuple(row for label in wanted for row in found[label])


def _written_pieces(samples: Samples) -> Iterator[range]:
    """Rows that can be read, labels and frames, shard by shard."""
    size, stop = samples.rows_per_shard, min(len(samples), ROWS_SEARCHED_MAX)
    for shard in range(ceil(stop / size)):
        piece = range(shard * size, min((shard + 1) * size, stop))
        if samples.is_written(shard) and _has_labels(samples, piece):
            yield piece


def _has_labels(samples: Samples, rows: range) -> bool:
    """Whether the labels of some rows are written: the last of them may be written after the first frames."""
    try:
        samples.column("class_label", rows)
    except IncompleteStoreError:
        return False
    return True


def _raise_none(samples: Samples, class_name: str | None, split: str | None) -> NoReturn:
    """Say that there is nothing to show."""
    location = samples.location
    searched = min(len(samples), ROWS_SEARCHED_MAX)
    written = sum(map(len, _written_pieces(samples)))
    if not written:
        place = location.argument if isinstance(location, Location) else shlex.quote(location)
        message = f"{location}: no row is written yet; go on with: trajstore build {place}"
        raise IncompleteStoreError(message)
    what = f"sample of class {class_name}" if class_name else "sample"
    where = f" in the split {split}" if split else ""
    among = "first " if searched < len(samples) else "written " if written < searched else ""
    message = (
        f"{location}: found no {what}{where} among the {among}{format_count(written)} rows; ask for another"
    )
    raise SpecError(message)
