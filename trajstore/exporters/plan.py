"""What an export is about to do: the rows, the files that are there, the room they need."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajstore.errors import (
    ExportError,
    IncompleteStoreError,
    SpecError,
    SpecMismatchError,
)
from trajstore.exporters import Format, find_format
from trajstore.exporters.interface import Dtype
from trajstore.exporters.records import LABEL_COLUMNS, ExportRecord, Source
from trajstore.reading.rows import check_split, parse_rows
from trajstore.reading.store import StoreReader
from trajstore.spec import Annotation
from trajstore.storage.disk_space import (
    Estimate,
    round_up,
)
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import StoreHandle, open_store
from trajstore.store.layout import FRAMES
from trajstore.text import describe_invalid, format_count

METADATA_FILE: Final = "metadata.json"
UNFINISHED_FILE: Final = "unfinished.json"

RANGES_SHOWN: Final = 5

Record = TypeVar("Record", ExportRecord, Source)


@dataclass(frozen=True)
class ExportPlan:
    """What an export is about to do.

    Attributes
    ----------
    rows : (n,) int64
        The rows to export.
    is_there : (n,) bool
        Which of them have all their files.
    """

    store: StoreHandle
    reader: StoreReader
    folder: Path
    format_name: str
    format: Format
    source: Source
    rows: NDArray[np.int64]
    is_there: NDArray[np.bool_]
    stored: ExportRecord | None

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return self.stored is not None and self.stored.source == self.source and bool(self.is_there.all())

    def estimate(self, block: int) -> Estimate:
        """Bytes and files that this export will add."""
        sizes = self.format.measure_files(self.source)
        missing = int((~self.is_there).sum())
        each = sum(round_up(size, block) for size in sizes)
        return Estimate(bytes=missing * each, files=missing * len(sizes) + 1)

    def command(self) -> str:
        """The command that goes on with this export."""
        source, samples = self.source, self.store.spec.dataset.samples
        present = self.store.spec.annotations.groups
        first, stop = source.row_ranges[0][0], source.row_ranges[-1][1]
        options = [
            f"--format {self.format_name}",
            *([f"--split {source.split}"] if source.split else []),
            *([f"--rows {first}:{stop}"] if (first, stop) != (0, samples) else []),
            *([f"--dtype {source.tensor_dtype}"] if source.tensor_dtype != "uint8" else []),
            *(
                [f"--annotations {','.join(source.annotations) or 'none'}"]
                if source.annotations != present
                else []
            ),
            *(["--allow-partial"] if len(source.row_ranges) > 1 else []),
        ]
        places = f"{self.store.location.argument} {shlex.quote(str(self.folder))}"
        return f"trajstore export {places} {' '.join(options)}"


def plan_export(
    store: str | Path | Location,
    folder: str | Path,
    *,
    format: str = "pt",  # noqa: A002
    split: str | None = None,
    rows: str | None = None,
    dtype: str = "uint8",
    annotations: Sequence[str] | None = None,
    allow_partial: bool = False,
) -> ExportPlan:
    """Find out what an export would do; writes nothing."""
    check_split(split)
    if dtype not in get_args(Dtype):
        message = f"dtype: found {dtype!r}, expected one of {', '.join(get_args(Dtype))}"
        raise SpecError(message)
    handle = open_store(open_storage(Location.parse(store)))
    wanted = parse_rows(rows, samples=handle.spec.dataset.samples)
    reader = StoreReader(handle)
    chosen = _choose_annotations(reader, annotations)
    ranges = _check_written(reader, wanted, chosen, allow_partial=allow_partial)
    target = Path(folder)
    _check_target(target, handle)
    writer = find_format(format)
    numbers = reader.split_rows(split, ranges)
    if not len(numbers):
        message = (
            f"{store}: found no row of split {split} in rows {wanted.start}:{wanted.stop}, expected some"
        )
        raise SpecError(message)
    source = Source.model_validate(
        {
            "tensor_shape": reader.select().shape,
            "tensor_dtype": dtype,
            "annotations": chosen,
            "split": split,
            "row_ranges": tuple((rows.start, rows.stop) for rows in ranges),
            "fingerprint": handle.attributes.fingerprint,
            "spec": handle.spec,
        }
    )
    stored = _check_same(target, source, writer)
    return ExportPlan(
        store=handle,
        reader=reader,
        folder=target,
        format_name=format,
        format=writer,
        source=source,
        rows=numbers,
        is_there=find_there(target, numbers, writer, source),
        stored=stored,
    )


def _choose_annotations(reader: StoreReader, names: Sequence[str] | None) -> tuple[Annotation, ...]:
    """The annotations to export, in their order; all that the store has where none are named."""
    present = reader.spec.annotations.groups
    if names is None:
        return present
    for name in names:
        if name not in present:
            known = f"expected some of {', '.join(present)}" if present else "the store has none"
            message = f"annotations: found {name!r}, {known}{reader.explain_absent(name)}"
            raise SpecError(message)
    return tuple(name for name in present if name in names)


def _check_written(
    reader: StoreReader, rows: range, annotations: tuple[Annotation, ...], *, allow_partial: bool
) -> tuple[range, ...]:
    """The rows that can be exported; refuse if some are missing, unless that is allowed."""
    arrays = (column.name for name in annotations for column in reader.groups[name])
    written = reader.written_rows(FRAMES, *LABEL_COLUMNS, *arrays, within=rows)
    missing = len(rows) - sum(map(len, written))
    if not missing or (allow_partial and written):
        return written
    edges = [rows.start, *(edge for part in written for edge in (part.start, part.stop)), rows.stop]
    gaps = [f"{a}:{b}" for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    shown = ", ".join(gaps[:RANGES_SHOWN]) + (", …" if len(gaps) > RANGES_SHOWN else "")
    partial = ", or export what is written with --allow-partial" if written else ""
    message = (
        f"{reader.location}: {format_count(missing)} of {format_count(len(rows))} rows are not written yet "
        f"({shown}); finish the store with: trajstore build {reader.argument}{partial}"
    )
    raise IncompleteStoreError(message)


def _check_target(folder: Path, store: StoreHandle) -> None:
    """Refuse a target that cannot be a folder of files."""
    inside = store.location.folder
    if inside is not None and folder.resolve().is_relative_to(inside.resolve()):
        message = f"{folder}: lies in the store {store.location}, which holds nothing else; name another path"
        raise ExportError(message)
    if os.path.lexists(folder) and not folder.is_dir():
        message = f"{folder}: found a file, expected a folder or nothing; name another path"
        raise ExportError(message)
    if not folder.exists() and not folder.parent.is_dir():
        message = (
            f"{folder}: the folder {folder.parent} does not exist, expected a folder to export to; "
            f"make it first: mkdir -p {shlex.quote(str(folder.parent))}"
        )
        raise ExportError(message)
    writable = folder if folder.exists() else folder.parent
    if not os.access(writable, os.R_OK | os.W_OK | os.X_OK):
        message = (
            f"{folder}: no permission to write in {writable}; change its permissions or name another path"
        )
        raise ExportError(message)


def _check_same(folder: Path, source: Source, writer: Format) -> ExportRecord | None:
    """Refuse a folder that holds anything but a part of this export; its metadata, if it is finished."""
    if not folder.is_dir():
        return None
    metadata = read_record(folder / METADATA_FILE, ExportRecord)
    stored = metadata.source if metadata else read_record(folder / UNFINISHED_FILE, Source)
    if stored is None:
        # an export that was cut off before its first file leaves empty folders
        ours = {*writer.folders} if metadata is None else set()
        strange = next(
            (
                path.name
                for path in sorted(folder.iterdir())
                if path.suffix != ".partial" and (path.name not in ours or next(path.iterdir(), None))
            ),
            None,
        )
        if strange is not None:
            message = (
                f"{folder}: found a folder that trajstore export did not write ({strange}), expected an export, "
                "an empty folder or none; name another path"
            )
            raise ExportError(message)
        return None
    differences = stored.differences(source)
    if differences:
        message = (
            f"{folder}: holds an export of something else ({'; '.join(differences)}); "
            "export the same again, or name another path"
        )
        raise SpecMismatchError(message)
    return metadata


def read_record(path: Path, model: type[Record]) -> Record | None:
    """Read a file of the folder; None if it is not there."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise ExportError(message) from None
    except ValidationError as error:
        detail = describe_invalid(error)[0]
        message = f"{path}: {detail}; the file is damaged: remove the folder, or name another"
        raise ExportError(message) from None


def find_there(folder: Path, rows: NDArray[np.int64], writer: Format, source: Source) -> NDArray[np.bool_]:
    """Which rows have all their files, none of them empty."""
    if not all((folder / name).is_dir() for name in list_folders(writer, source)):
        return np.zeros(len(rows), dtype=bool)
    root = str(folder)

    def is_there(name: str) -> bool:
        try:
            return os.stat(f"{root}/{name}").st_size > 0  # noqa: PTH116 - a Path each takes longer than the call
        except FileNotFoundError:
            return False

    return np.array([all(map(is_there, writer.name_files(row, source))) for row in rows.tolist()], dtype=bool)


def list_folders(writer: Format, source: Source) -> tuple[str, ...]:
    """The folders that an export needs."""
    return tuple(str(PurePosixPath(name).parent) for name in writer.name_files(0, source))
