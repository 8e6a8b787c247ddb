"""What an export is about to do: the rows, the files that are there, the room they need."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trajstore.errors import (
    ExportError,
    IncompleteStoreError,
    SpecError,
    SpecMismatchError,
)
from trajstore.exporters import Encoder, Format, Part, check_installed, find_format
from trajstore.exporters.records import (
    CAPTION_BYTES,
    EXTRA_COLUMNS,
    LABEL_COLUMNS,
    ExportRecord,
    Extra,
    Label,
    Source,
    read_labels,
)
from trajstore.progress import advance
from trajstore.reading.rows import Rows, check_split, parse_rows
from trajstore.reading.samples import Samples
from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import Annotation, DatasetSpec
from trajstore.storage.disk_space import (
    Estimate,
    round_up,
)
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage
from trajstore.store.handle import StoreHandle, open_store
from trajstore.store.layout import FRAMES
from trajstore.text import describe_invalid, describe_unknown, format_count, quote

METADATA_FILE: Final = "metadata.json"
UNFINISHED_FILE: Final = "unfinished.json"

RANGES_SHOWN: Final = 5

PROBES: Final = 3
"""So many samples are made to estimate the size of all."""

PROBE_MARGIN: Final = 1.1
"""Others may be larger."""

Record = TypeVar("Record", ExportRecord, Source)


@dataclass(frozen=True)
class ExportPlan:
    """What an export is about to do.

    Attributes
    ----------
    parts : list of Part
        The samples to export, as they are written together.
    is_there : (parts,) bool
        Which of them have all their files.
    """

    store: StoreHandle
    reader: StoreReader
    folder: Path
    format: Format
    source: Source
    rows: NDArray[np.int64]
    parts: list[Part]
    is_there: NDArray[np.bool_]
    stored: ExportRecord | None

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        if self.stored is None or self.stored.source != self.source:
            return False
        return all(_has_file(self.folder, name) for name in self.format.list_results(self.parts, self.source))

    @property
    def missing_samples(self) -> int:
        """Samples of which a file is not there."""
        return sum(
            len(part.rows) for part, is_there in zip(self.parts, self.is_there, strict=True) if not is_there
        )

    @cached_property
    def bytes_each(self) -> int:
        """About how many bytes a sample takes, rather more than less: those of a few, made as they will be."""
        some = self.rows[np.linspace(0, len(self.rows) - 1, min(len(self.rows), PROBES)).astype(np.int64)]
        encoder, largest = self.format.make_encoder(self.source), 0
        for row in some.tolist():
            (part,) = self.format.plan(np.array([row]), self.read_splits(np.array([row])), self.source)
            pieces = encoder.encode(part, read_samples(self.reader, self.source, part.rows, encoder))
            largest = max(largest, sum(len(piece) for _, piece in pieces))
        return int(largest * PROBE_MARGIN)

    def estimate(self, block: int) -> Estimate:
        """Bytes and files that this export will add."""
        missing = [part for part, is_there in zip(self.parts, self.is_there, strict=True) if not is_there]
        size = sum(
            round_up(self.bytes_each * len(part.rows), block) + block * (len(part.files) - 1)
            for part in missing
        )
        if self.format.is_assembled:
            labels = self.store.layout.group("labels").row_bytes + CAPTION_BYTES
            size += (self.bytes_each + labels) * len(self.rows)
        return Estimate(bytes=size, files=sum(len(part.files) for part in missing) + 1)

    def read_splits(self, rows: NDArray[np.int64]) -> NDArray[np.int8]:
        """The split of each of some rows."""
        return self.reader.read_column("split", rows)

    def count_there(self) -> int:
        """How many samples have all their files by now."""
        return sum(len(part.rows) for part in self.parts if _is_there(self.folder, part))

    def command(self) -> str:
        """The command that goes on with this export."""
        places = f"{self.store.location.argument} {quote(str(self.folder))}"
        return f"trajstore export {places} {list_options(self.source)}"


def list_options(source: Source) -> str:
    """The options of the command that makes an export again."""
    writer, spec = find_format(source.format), source.spec
    present = spec.annotations.groups if writer.holds_annotations else ()
    first, stop = source.row_ranges[0][0], source.row_ranges[-1][1]
    options = [f"--format {source.format}", *(f"--{name} {value}" for name, value in source.options.items())]
    if source.cameras:
        options.append(f"--cameras {','.join(map(str, source.cameras))}")
    if source.class_name:
        options.append(f"--class {quote(source.class_name)}")
    if source.split:
        options.append(f"--split {source.split}")
    if (first, stop) != (0, spec.dataset.samples):
        options.append(f"--rows {first}:{stop}")
    if source.tensor_dtype != writer.list_dtypes(source.options)[0]:
        options.append(f"--dtype {source.tensor_dtype}")
    if source.annotations != present:
        options.append(f"--annotations {','.join(source.annotations) or 'none'}")
    if source.columns:
        options.append(f"--columns {','.join(source.columns)}")
    if len(source.row_ranges) > 1:
        options.append("--allow-partial")
    return " ".join(options)


def plan_export(
    store: str | Path | Location,
    folder: str | Path,
    *,
    format: str = "pt",  # noqa: A002
    options: Mapping[str, str | None] | None = None,
    split: str | None = None,
    class_name: str | None = None,
    rows: Rows | None = None,
    cameras: Sequence[int] | None = None,
    dtype: str | None = None,
    annotations: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    allow_partial: bool = False,
) -> ExportPlan:
    """Find out what an export would do; writes nothing."""
    check_split(split)
    writer = find_format(format)
    told = _check_options(format, writer, options or {})
    dtypes = writer.list_dtypes(told)
    if dtype not in (None, *dtypes):
        given = " ".join([format, *(f"--{name} {value}" for name, value in told.items())])
        message = f"dtype: found {dtype!r}, expected {' or '.join(dtypes)} with format {given}"
        raise SpecError(message)
    extra = _check_columns(columns)
    handle = open_store(open_storage(Location.parse(store)))
    check_class(class_name, handle.spec)
    wanted = parse_rows(rows, samples=handle.spec.dataset.samples)
    reader = StoreReader(handle)
    chosen = _choose_annotations(reader, annotations, format, writer)
    ranges = _check_written(reader, wanted, chosen, allow_partial=allow_partial)
    target = Path(folder)
    _check_target(target, handle)
    numbers, splits = select_rows(reader, ranges, split=split, class_name=class_name)
    if not len(numbers):
        asked = (("class", class_name), ("split", split))
        what = " and ".join(f"{kind} {name}" for kind, name in asked if name is not None)
        message = (
            f"{handle.location}: found no row of {what} in rows {wanted.start}:{wanted.stop}, expected some"
        )
        raise SpecError(message)
    if cameras is not None and len({*cameras}) < len(cameras):
        message = f"cameras: found {list(cameras)}, expected each camera once"
        raise SpecError(message)
    source = Source.model_validate(
        {
            "format": format,
            "options": told,
            "cameras": None if cameras is None else tuple(cameras),
            "tensor_shape": reader.select(cameras=cameras).shape,
            "tensor_dtype": dtype or dtypes[0],
            "annotations": chosen,
            "columns": extra,
            "class_name": class_name,
            "split": split,
            "row_ranges": tuple((rows.start, rows.stop) for rows in ranges),
            "fingerprint": handle.attributes.fingerprint,
            "spec": handle.spec,
        }
    )
    check_installed(format, told)
    writer.check(source)
    stored = _check_same(target, source)
    parts = writer.plan(numbers, splits, source)
    return ExportPlan(
        store=handle,
        reader=reader,
        folder=target,
        format=writer,
        source=source,
        rows=numbers,
        parts=parts,
        is_there=np.array([_is_there(target, part) for part in parts], dtype=bool),
        stored=stored,
    )


def select_rows(
    samples: Samples, ranges: Sequence[range], *, split: str | None, class_name: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Rows of some ranges, of a split and a class where these are named, and the split of each."""

    def read(column: str) -> NDArray[np.int8]:
        return np.concatenate([np.empty(0, np.int8), *(samples.column(column, part) for part in ranges)])

    rows = np.concatenate([np.empty(0, np.int64), *(np.arange(part.start, part.stop) for part in ranges)])
    splits = read("split")
    is_wanted = np.ones(len(rows), dtype=bool)
    if split is not None:
        is_wanted &= splits == SPLIT_NAMES.index(split)
    if class_name is not None:
        is_wanted &= read("class_label") == samples.spec.dataset.classes.index(class_name)
    return rows[is_wanted], splits[is_wanted]


def check_class(name: str | None, spec: DatasetSpec) -> None:
    """Check the name of a class; None stands for all."""
    classes = spec.dataset.classes
    if name is not None and name not in classes:
        close = get_close_matches(name.casefold(), [known.casefold() for known in classes], 1)
        hint = "".join(f"; did you mean {known}?" for known in classes if known.casefold() in close)
        message = f"class: found {name!r}, expected one of {', '.join(classes)}{hint}"
        raise SpecError(message)


def _check_columns(names: Sequence[str]) -> tuple[Extra, ...]:
    """Check the names of columns that labels have on request; in the order of their list."""
    for name in names:
        if name not in EXTRA_COLUMNS:
            message = f"columns: found {name!r}, expected some of {', '.join(EXTRA_COLUMNS)}"
            raise SpecError(message)
    return tuple(name for name in EXTRA_COLUMNS if name in names)


def _check_options(name: str, writer: Format, options: Mapping[str, str | None]) -> dict[str, str]:
    """The options of a format that are given and not as usual; refuse those that it does not have."""
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        known = writer.options.get(option)
        if known is None or value not in known:
            expected = f"expected one of {', '.join(known)} with" if known else "leave it out with"
            message = f"{option}: found {value!r}, {expected} format {name}"
            raise SpecError(message)
    return {option: value for option, value in given.items() if value != writer.options[option][0]}


def _choose_annotations(
    reader: StoreReader, names: Sequence[str] | None, format_name: str, writer: Format
) -> tuple[Annotation, ...]:
    """The annotations to export, in their order; all that the store has and the format holds where none are named."""
    present = reader.spec.annotations.groups
    if names is None:
        return present if writer.holds_annotations else ()
    if names and not writer.holds_annotations:
        message = f"annotations: found {', '.join(names)}, expected none with format {format_name}"
        raise SpecError(message)
    for name in names:
        if name not in present:
            hint = reader.explain_absent(name)
            wrong = f"found {name!r}, the store has none{hint}"
            message = f"annotations: {describe_unknown(name, present, hint=hint) if present else wrong}"
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
            f"make it first: mkdir -p {quote(str(folder.parent))}"
        )
        raise ExportError(message)
    writable = folder if folder.exists() else folder.parent
    if not os.access(writable, os.R_OK | os.W_OK | os.X_OK):
        message = (
            f"{folder}: no permission to write in {writable}; change its permissions or name another path"
        )
        raise ExportError(message)


def _check_same(folder: Path, source: Source) -> ExportRecord | None:
    """Refuse a folder that holds anything but a part of this export; its metadata, if it is finished."""
    if not folder.is_dir():
        return None
    metadata = read_record(folder / METADATA_FILE, ExportRecord)
    stored = metadata.source if metadata else read_record(folder / UNFINISHED_FILE, Source)
    if stored is None:
        strange = next((path.name for path in sorted(folder.iterdir()) if path.suffix != ".partial"), None)
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


def _is_there(folder: Path, part: Part) -> bool:
    """Whether a part has all its files."""
    return all(_has_file(folder, name) for name in part.files)


def _has_file(folder: Path, name: str) -> bool:
    """Whether there is a file, and it is not empty."""
    try:
        return os.stat(f"{folder}/{name}").st_size > 0  # noqa: PTH116 - a Path each takes longer than the call
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_samples(
    reader: StoreReader, source: Source, rows: Sequence[int], encoder: Encoder
) -> Iterator[Label]:
    """Labels of some rows, in ascending order; each puts its sample into an encoder's memory.

    None for an encoder that does not use labels.
    """
    cameras, numbers = source.cameras, np.array(rows)
    memory = {FRAMES: encoder.frames, **encoder.annotations}
    reads = (reader.read_each(numbers, out, cameras=cameras, column=name) for name, out in memory.items())
    labels: Iterator[Any] = (
        read_labels(reader, numbers, cameras=cameras, extra=source.columns)
        if encoder.uses_labels
        else repeat(None, len(numbers))
    )
    for label, *_ in zip(labels, *reads, strict=True):
        yield label
        advance()
