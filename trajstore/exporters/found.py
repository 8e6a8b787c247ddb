"""What an exported folder is: its format and layout, the files that there should be, and those that are there.

The metadata of an export name its files. In a folder of ``.pt`` files of another program, and in an export that is not
finished, the names of the files are all there is to go by.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajstore.errors import SpecError
from trajstore.exporters import FORMATS, check_installed
from trajstore.exporters.faults import Faults
from trajstore.exporters.interface import BadFileError, Decoded, Format, Part
from trajstore.exporters.plan import METADATA_FILE, UNFINISHED_FILE, check_class, select_rows
from trajstore.exporters.pt_names import (
    ANNOTATION_FOLDER,
    LABEL_FOLDER,
    LAYOUTS,
    TRAJ,
    VIDEO_FOLDER,
    find_layout,
    name_sample,
    name_stem,
)
from trajstore.exporters.read_files import explain, read_small
from trajstore.exporters.read_pt import read_sample
from trajstore.exporters.records import CARD_FILES, ExportRecord, Source
from trajstore.text import describe_invalid, format_bytes, format_count

METADATA_BYTES: Final = 4 * 2**20
"""Larger metadata are not read."""

ROWS_TRUSTED: Final = 100_000
"""So many rows the metadata may claim, whatever the files weigh."""

SAMPLE_BYTES: Final = 64
"""The least that a sample takes on a disk; metadata that claim more rows than fit are not believed."""

DEPTH_MAX: Final = 3
"""Folders below the export's that are weighed."""

PT_FOLDERS: Final = {VIDEO_FOLDER: ".pt", LABEL_FOLDER: ".json", ANNOTATION_FOLDER: ".pt"}
_STEM = re.compile(rf"({'|'.join(LAYOUTS)})_(\d{{4,18}})")

Decode = Callable[[Part], Iterator[Decoded | BadFileError]]
Record = TypeVar("Record", ExportRecord, Source)


@dataclass(frozen=True)
class Found:
    """What a folder is.

    Attributes
    ----------
    metadata : ExportRecord or None
        Its metadata, if they are as they should be.
    source : Source or None
        What it was made from; None of a folder of another program.
    format, layout : str
        Format, and layout of it; the layout is empty where the format has but one.
    parts : sequence of Part
        The samples that there should be, with the files of each.
    files : set of str
        All files that there should be, with ``/``.
    decode : callable
        Reads the samples of a part.
    is_exact : bool
        Whether frames come back bit for bit.
    """

    metadata: ExportRecord | None
    source: Source | None
    format: str
    layout: str
    parts: Sequence[Part]
    files: frozenset[str]
    decode: Decode
    is_exact: bool

    @property
    def is_known(self) -> bool:
        """Whether it is known what files there should be."""
        return bool(self.files) or self.format == "pt"


def identify(root: Path, faults: Faults) -> Found:
    """Find out what a folder is; its metadata are checked."""
    if os.path.lexists(root / UNFINISHED_FILE):
        faults.add("unfinished", UNFINISHED_FILE, "run the export again to finish it")
    metadata = _read_metadata(root, faults)
    source = metadata.source if metadata else None
    begun = source or (_read_source(root) if metadata is None else None)
    if begun is None:
        return _find_samples(root, metadata, None)
    writer = _find_writer(begun, faults)
    rows = None
    if writer is not None:
        check_installed(begun.format, begun.options)
        rows = _list_rows(root, begun, faults) if source else None
    if rows is None and begun.format == "pt":
        return _find_samples(root, metadata, source if writer else None)
    layout = find_layout(begun.options) if begun.format == "pt" else ""
    if writer is None or rows is None:  # nothing is whole yet, or nobody knows what there should be
        return Found(metadata, None, begun.format, layout, (), frozenset(), lambda _: iter(()), is_exact=True)
    parts = writer.plan(*rows, begun)
    files = frozenset(writer.list_results(parts, begun))
    return Found(
        metadata,
        source,
        begun.format,
        layout,
        parts,
        files,
        lambda part: writer.decode(root, part, begun),
        writer.is_exact(begun.options),
    )


def _read_metadata(root: Path, faults: Faults) -> ExportRecord | None:
    """The metadata, if they are as they should be."""
    try:
        return ExportRecord.model_validate_json(read_small(root / METADATA_FILE, METADATA_BYTES))
    except FileNotFoundError:
        faults.add(
            "metadata-missing", METADATA_FILE, "found nothing; it is written when an export is complete"
        )
    except OSError as error:
        faults.add("metadata-invalid", METADATA_FILE, f"cannot be read: {explain(error)}")
    except ValidationError as error:
        for detail in describe_invalid(error):
            faults.add("metadata-invalid", METADATA_FILE, detail)
    return None


def _read_source(root: Path) -> Source | None:
    """What an export that is not finished is made from, if that can be read."""
    with suppress(OSError, ValidationError):
        return Source.model_validate_json(read_small(root / UNFINISHED_FILE, METADATA_BYTES))
    return None


def _find_writer(source: Source, faults: Faults) -> Format | None:
    """The format that an export is in; None if what it says of itself cannot be."""
    writer = FORMATS.get(source.format)
    try:
        check_class(source.class_name, source.spec)
    except SpecError as error:
        faults.add("metadata-invalid", METADATA_FILE, str(error))
        return None
    if writer is None:
        detail = f"format: found {source.format!r}, expected one of {', '.join(FORMATS)}"
        faults.add("metadata-invalid", METADATA_FILE, detail)
        return None
    for name, value in source.options.items():
        if value not in writer.options.get(name, ()):
            detail = f"options.{name}: found {value!r}, expected one that format {source.format} has"
            faults.add("metadata-invalid", METADATA_FILE, detail)
            return None
    video = source.spec.video
    cameras = video.cameras if source.cameras is None else len(source.cameras)
    shape = (cameras, video.frames, 3, video.height, video.width)
    if source.tensor_shape != shape or max(source.cameras or (0,)) >= video.cameras:
        detail = f"tensor_shape: found {source.tensor_shape}, expected {shape} by the spec and the cameras"
        faults.add("metadata-invalid", METADATA_FILE, detail)
        return None
    return writer


def _list_rows(
    root: Path, source: Source, faults: Faults
) -> tuple[NDArray[np.int64], NDArray[np.int8]] | None:
    """The rows that an export has, with the split of each; None if there cannot be so many."""
    ranges = [range(first, stop) for first, stop in source.row_ranges if first < stop]
    ranges.sort(key=lambda rows: rows.start)
    claimed = sum(map(len, ranges))
    if any(before.stop > after.start for before, after in pairwise(ranges)):
        faults.add("metadata-mismatch", METADATA_FILE, "row_ranges: found some that overlap, expected none")
        return None
    if not _is_plausible(root, claimed):
        detail = (
            f"row_ranges: found {format_count(claimed)} rows, "
            f"which is more than files of {format_bytes(_weigh(root))} can hold"
        )
        faults.add("metadata-mismatch", METADATA_FILE, detail)
        return None
    from trajstore.reading.generator import SampleGenerator  # imports numba

    try:  # the split and the class of a row do not depend on how many there are
        spec = source.spec.replace(samples=max((rows.stop for rows in ranges), default=1))
    except SpecError:  # more than any dataset has
        faults.add("metadata-mismatch", METADATA_FILE, f"row_ranges: found row {ranges[-1].stop - 1:,}")
        return None
    return select_rows(SampleGenerator(spec), ranges, split=source.split, class_name=source.class_name)


def _is_plausible(root: Path, rows: int) -> bool:
    """Whether the files of a folder can hold so many rows."""
    return rows <= ROWS_TRUSTED or rows <= _weigh(root) // SAMPLE_BYTES


def _weigh(root: Path, depth: int = 0) -> int:
    """Bytes that the files of a folder take; holes in them take none."""
    total = 0
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += _weigh(Path(entry.path), depth + 1) if depth < DEPTH_MAX else 0
            elif entry.is_file():
                status = entry.stat()
                total += min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)
    return total


def _find_samples(root: Path, metadata: ExportRecord | None, source: Source | None) -> Found:
    """Go by the names of files of format pt: whose rows there are, and which files each should have."""
    check_installed("pt", {})
    has_annotations = metadata is None or bool(metadata.annotations)
    folders = [name for name in PT_FOLDERS if has_annotations or name != ANNOTATION_FOLDER]
    stems = {name: _list_stems(root, name) for name in folders}
    layouts = Counter(layout for found in stems.values() for layout, _ in found)
    layout = max(LAYOUTS, key=layouts.__getitem__)
    by_row = {
        name: {row: stem for (one, row), stem in found.items() if one == layout}
        for name, found in stems.items()
    }
    rows = sorted({*by_row[VIDEO_FOLDER], *by_row[LABEL_FOLDER]})
    total = 0 if metadata is None or source else metadata.total_samples
    # names of a folder that is not ours need not begin at 0: they are known only if none lies beyond
    if len(rows) < total and (not rows or rows[-1] < total) and _is_plausible(root, total):
        rows = list(range(total))
    has_annotations = bool(by_row.get(ANNOTATION_FOLDER) if metadata is None else metadata.annotations)
    parts = []
    for row in rows:
        known = (by_row[name][row] for name in folders if row in by_row[name])
        other = next(known, name_stem(row, layout))
        names = name_sample(other, has_annotations=has_annotations)
        named = (
            f"{folder}/{by_row[folder].get(row, other)}{PT_FOLDERS[folder]}"
            for folder in (file.partition("/")[0] for file in names)
        )
        parts.append(Part((row,), tuple(named)))
    files = frozenset(file for part in parts for file in part.files)
    read = partial(read_sample, root, layout=layout)
    return Found(metadata, source, "pt", layout, parts, files, read, is_exact=True)


def _list_stems(root: Path, folder: str) -> dict[tuple[str, int], str]:
    """The samples of a folder: from layout and row to what the name of its file begins with."""
    stems: dict[tuple[str, int], str] = {}
    suffix = PT_FOLDERS[folder]
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except OSError:
        return stems
    for entry in entries:
        match = _STEM.fullmatch(entry.name.removesuffix(suffix))
        if match and entry.name.endswith(suffix) and entry.is_file():
            stems.setdefault((match[1], int(match[2])), match[0])
    return stems


def scan(root: Path, found: Found, faults: Faults) -> dict[str, int]:
    """Look at what is there: sizes of the files that should be; what does not belong there is noted."""
    if not found.is_known:
        return {}
    expected = {*found.files}
    folders = {name.rpartition("/")[0] for name in expected} | {""}
    folders |= {name.rpartition("/")[0] for name in folders}
    if found.format == "pt":
        with_annotations = found.metadata is None or found.metadata.annotations
        folders |= {*PT_FOLDERS} if with_annotations else {VIDEO_FOLDER, LABEL_FOLDER}
    beside = {METADATA_FILE, UNFINISHED_FILE, *CARD_FILES}
    sizes: dict[str, int] = {}
    for folder in sorted(folders):
        try:
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if name in expected and entry.is_file():
                sizes[name] = entry.stat().st_size
            elif not (name in folders and entry.is_dir()) and name not in beside:
                faults.add("surplus", name, _explain_surplus(name, found, folder))
    return sizes


def _explain_surplus(name: str, found: Found, folder: str) -> str:
    """Why a file does not belong where it is."""
    if name.endswith(".partial"):
        return "a temporary file of an interrupted export"
    if not folder:
        tops = sorted({file.partition("/")[0] for file in found.files} | {METADATA_FILE})
        return f"expected {', '.join(tops[:5])} only"
    if found.format != "pt":
        return f"not one of the files that {METADATA_FILE} names"
    example = (
        f"traj_NNNNN{PT_FOLDERS[folder]}" if found.layout == TRAJ else f"sample_NNNN{PT_FOLDERS[folder]}"
    )
    return f"expected {example} of the rows that {METADATA_FILE} names, each once"
