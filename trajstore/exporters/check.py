"""What can be wrong with an exported folder, whoever wrote it: files, tensors, labels, annotations, metadata."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from trajstore.errors import ExportError, SpecError
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.exporters.interface import Part
from trajstore.exporters.plan import METADATA_FILE, UNFINISHED_FILE
from trajstore.exporters.pt import ANNOTATION_FOLDER, LABEL_FOLDER, VIDEO_FOLDER, make_arrays
from trajstore.exporters.read_pt import BadTensorError, open_tensor, open_tensors
from trajstore.exporters.records import (
    LABEL_COLUMNS,
    OPTIONAL,
    BodyLabel,
    ExportRecord,
    Label,
    Source,
    read_labels,
)
from trajstore.exporters.write import Batch, make_batches
from trajstore.progress import Tally
from trajstore.reading.store import StoreReader
from trajstore.scene.bodies import ROLES
from trajstore.scene.column_names import list_columns
from trajstore.scene.order import SPLIT_NAMES
from trajstore.store.handle import StoreHandle
from trajstore.store.layout import FRAMES
from trajstore.text import describe_invalid
from trajstore.trajectories import DEFAULT_CLASSES

FAULTS: Final = {
    "unfinished": "the export was interrupted",
    "metadata-missing": "there is no metadata.json",
    "metadata-invalid": "metadata.json is not JSON, or not as its schema says",
    "metadata-mismatch": "metadata.json says something else than the files",
    "video-missing": "a sample has no tensor file",
    "label-missing": "a sample has no label file",
    "annotation-missing": "a sample has no file of annotations",
    "surplus": "a file or folder that does not belong there",
    "video-unreadable": "a tensor file is truncated or damaged, or holds no tensor",
    "video-unsafe": "a tensor file wants to run code; it was not run",
    "video-shape": "a tensor has another shape than the others",
    "video-dtype": "a tensor has another type than the others, or none that is known",
    "video-storage": "a tensor is a view of larger memory, all of which the file holds",
    "video-checksum": "bytes of a tensor have changed since it was written",
    "annotation-unreadable": "a file of annotations is truncated or damaged, or holds no tensors by name",
    "annotation-unsafe": "a file of annotations wants to run code; it was not run",
    "annotation-shape": "annotations have other names, shapes or types than metadata.json says",
    "annotation-dtype": "an annotation has a type that no annotation has",
    "annotation-storage": "an annotation is a view of larger memory, all of which the file holds",
    "annotation-checksum": "bytes of annotations have changed since they were written",
    "label-unreadable": "a label cannot be read, or is not JSON",
    "label-invalid": "a label is not as its schema says",
    "label-mismatch": "fields of a label contradict each other or the metadata",
    "class-balance": "classes are not as frequent as they should be",
    "store-mismatch": "the store holds another dataset, or lacks annotations",
    "store-missing": "a sample is not in the store, or not written yet",
    "content-video": "a tensor differs from the store",
    "content-label": "a label differs from the store",
    "content-annotation": "annotations differ from the store",
}
"""Every fault that validation knows, by code."""

FAULTS_MAX: Final = 100
"""_Faults that a report lists unless the caller says otherwise; all are counted."""

BATCH_ROWS: Final = 32
ROWS_MAX: Final = 10**8
"""More rows than this are not taken for true if the metadata claims them."""

IMBALANCE_MAX: Final = 0.1
"""In a folder that trajstore did not write, how far a class may be from its share."""

REWORDED: Final = ("caption",)
"""Fields of a label that another version may word in another way, and that are not compared."""

EXACT: Final = ("extrinsics",)
"""Fields of a label that are float64 in a store; other numbers are float32."""

_DIMENSIONS: Final = ("cameras", "frames", "channels", "height", "width")
_SUFFIXES: Final = {VIDEO_FOLDER: ".pt", LABEL_FOLDER: ".json", ANNOTATION_FOLDER: ".pt"}
_KINDS: Final = {VIDEO_FOLDER: "video", LABEL_FOLDER: "label", ANNOTATION_FOLDER: "annotation"}
_SAMPLE = re.compile(r"sample_(\d{4,18})")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    code: str
    path: str
    detail: str


class _Faults:
    """Counts faults and keeps the first of each code."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, list[Fault]] = {}
        self.counts: Counter[str] = Counter()

    def add(self, code: str, path: str, detail: str) -> None:
        """Note a fault."""
        self.counts[code] += 1
        if self.counts[code] <= self._most:
            self._kept.setdefault(code, []).append(Fault(code, path, detail))

    def listed(self) -> tuple[Fault, ...]:
        """The first faults, in the order of `FAULTS`, then of their paths."""
        ordered = (
            fault
            for code in FAULTS
            for fault in sorted(self._kept.get(code, []), key=lambda fault: (len(fault.path), fault.path))
        )
        return tuple(fault for fault, _ in zip(ordered, range(self._most), strict=False))


@dataclass(frozen=True)
class _Files:
    """The sample files of one of the folders."""

    folder: str
    names: dict[int, str] = field(default_factory=dict)

    def path(self, row: int) -> str:
        """Relative path of a row's file."""
        return f"{self.folder}/{self.names[row]}"


@dataclass
class _Checked:
    """What one batch of samples holds."""

    faults: list[Fault] = field(default_factory=list)
    tensors: list[tuple[int, tuple[int, ...], str]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    video_bytes: int = 0

    def add(self, code: str, path: str, detail: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(code, path, detail))


@dataclass(frozen=True)
class ValidationReport:
    """What validation found.

    Attributes
    ----------
    location : str
        The folder.
    against : str or None
        The store that contents were compared with.
    samples : int
        Samples that there should be.
    videos, labels, annotations : int
        Tensor files, label files and files of annotations that are there.
    tensor_shape : tuple of int or None
        Of the tensors; None if none could be read.
    tensor_dtype : str or None
        Of the tensors.
    classes, splits : dict
        Labels of each class and split, by name.
    video_bytes : int
        Bytes of the tensor files.
    by_trajstore : bool
        Whether the metadata says what the folder was made from.
    fault_counts : dict
        How many faults there are of each code.
    faults : tuple of Fault
        The first of them, by code and path.
    seconds : float
        Wall time.
    """

    location: str
    against: str | None
    samples: int
    videos: int
    labels: int
    annotations: int
    tensor_shape: tuple[int, ...] | None
    tensor_dtype: str | None
    classes: dict[str, int]
    splits: dict[str, int]
    video_bytes: int
    by_trajstore: bool
    fault_counts: dict[str, int]
    faults: tuple[Fault, ...]
    seconds: float

    @property
    def fault_count(self) -> int:
        """How many faults there are, listed or not."""
        return sum(self.fault_counts.values())

    @property
    def is_valid(self) -> bool:
        """Whether there are none."""
        return not self.fault_counts

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON.

        Returns
        -------
        dict
            The attributes, with totals.
        """
        return {"is_valid": self.is_valid, "fault_count": self.fault_count, **asdict(self)}


def inspect_folder(
    root: Path, against: StoreHandle | None, options: RunOptions, *, max_faults: int
) -> ValidationReport:
    """Look at all of an export, compare it with a store where one is given, and list every fault."""
    started = time.monotonic()
    faults = _Faults(max_faults)
    metadata = _read_metadata(root, faults)
    source = metadata.source if metadata else None
    videos, labels, annotations = (
        _list_files(root, name, suffix, faults) if name in _list_folders(metadata) else _Files(name)
        for name, suffix in _SUFFIXES.items()
    )
    _list_root(root, _list_folders(metadata), faults)
    rows = _find_rows(metadata, videos, labels, annotations, faults)
    reader, compared = _open_against(against, rows, source, faults)
    check = _CheckBatch(
        root,
        videos,
        labels,
        annotations,
        _find_classes(metadata),
        source,
        reader,
        compared,
    )
    total = _Checked()
    tally = Tally("check", options.report, total=len(rows), done=0, raw_bytes_each=0)

    def finished(batch: Batch, value: _Checked | None) -> None:
        if value is not None:
            for fault in value.faults:
                faults.add(fault.code, fault.path, fault.detail)
            total.tensors += value.tensors
            total.video_bytes += value.video_bytes
            classes.update(label.class_label for label in value.labels)
            split_counts.update(label.split for label in value.labels if label.split)
        tally.add(batch.samples, stored_bytes=0)

    classes: Counter[int] = Counter()
    split_counts: Counter[str] = Counter()
    per_shard = reader.rows_per_shard if reader else BATCH_ROWS
    parts = (Part((row,), ()) for row in rows.tolist())
    batches = make_batches(parts, rows_per_shard=per_shard, rows_max=BATCH_ROWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's about odd files: what matters becomes a fault
        run_tasks(
            check,
            batches,
            options=options,
            place=root,
            tallies=[tally],
            finished=finished,
            describe_state=lambda: "not all samples were checked; run it again",
        )

    shape, dtype = _find_in_tensors(total.tensors, source, videos, faults)
    counts = _count_classes(classes, check.classes)
    _find_in_metadata(metadata, len(videos.names), counts, split_counts, faults)
    _find_in_balance({name: counts[name] for name in check.classes}, source, faults)
    return ValidationReport(
        location=str(root),
        against=None if against is None else str(against.location),
        samples=len(rows),
        videos=len(videos.names),
        labels=len(labels.names),
        annotations=len(annotations.names),
        tensor_shape=shape,
        tensor_dtype=dtype,
        classes=counts,
        splits={name: split_counts[name] for name in SPLIT_NAMES if split_counts[name]},
        video_bytes=total.video_bytes,
        by_trajstore=source is not None,
        fault_counts={code: faults.counts[code] for code in FAULTS if faults.counts[code]},
        faults=faults.listed(),
        seconds=time.monotonic() - started,
    )


def check_is_export(root: Path) -> None:
    """Refuse what is no folder, or has nothing of an export."""
    if not root.is_dir():
        found = "a file" if os.path.lexists(root) else "nothing"
        message = f"{root}: found {found}, expected a folder; export one with: trajstore export STORE {root}"
        raise ExportError(message)
    if not os.access(root, os.R_OK | os.X_OK):
        message = f"{root}: no permission to read it; change its permissions"
        raise ExportError(message)
    if not any((root / name).exists() for name in (*_SUFFIXES, METADATA_FILE)):
        message = f"{root}: found no videos, labels or {METADATA_FILE}, expected an export; name its folder"
        raise ExportError(message)


def _read_metadata(root: Path, faults: _Faults) -> ExportRecord | None:
    """The metadata, if it is as it should be."""
    if (root / UNFINISHED_FILE).exists():
        faults.add("unfinished", UNFINISHED_FILE, "run the export again to finish it")
    try:
        return ExportRecord.model_validate_json((root / METADATA_FILE).read_bytes())
    except FileNotFoundError:
        faults.add(
            "metadata-missing", METADATA_FILE, "found nothing; it is written when an export is complete"
        )
    except OSError as error:
        faults.add("metadata-invalid", METADATA_FILE, f"cannot be read: {error.strerror}")
    except ValidationError as error:
        for detail in describe_invalid(error):
            faults.add("metadata-invalid", METADATA_FILE, detail)
    return None


def _list_files(root: Path, folder: str, suffix: str, faults: _Faults) -> _Files:
    """The sample files of a folder, by row."""
    files = _Files(folder)
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return files
    for entry in entries:
        match = _SAMPLE.fullmatch(entry.name.removesuffix(suffix))
        row = int(match[1]) if match and entry.name.endswith(suffix) and entry.is_file() else None
        if row is None:
            is_partial = entry.name.endswith(".partial")
            detail = (
                "a temporary file of an interrupted export" if is_partial else f"expected sample_NNNN{suffix}"
            )
            faults.add("surplus", f"{folder}/{entry.name}", detail)
        elif row in files.names:
            faults.add("surplus", f"{folder}/{entry.name}", f"{files.names[row]} is the same row")
        else:
            files.names[row] = entry.name
    return files


def _list_folders(metadata: ExportRecord | None) -> tuple[str, ...]:
    """The folders that may be there: of annotations only if the metadata names some, or is not there."""
    has_annotations = metadata is None or metadata.annotations
    return tuple(name for name in _SUFFIXES if has_annotations or name != ANNOTATION_FOLDER)


def _list_root(root: Path, folders: tuple[str, ...], faults: _Faults) -> None:
    """_Files of the folder itself."""
    for name in sorted(os.listdir(root)):  # noqa: PTH208
        if name not in (*folders, METADATA_FILE, UNFINISHED_FILE):
            faults.add("surplus", name, f"expected {', '.join(folders)} and {METADATA_FILE} only")


def _find_rows(
    metadata: ExportRecord | None, videos: _Files, labels: _Files, annotations: _Files, faults: _Faults
) -> NDArray[np.int64]:
    """The rows that there should be; missing and surplus files are noted."""
    found = np.union1d(_rows(videos), _rows(labels))
    expected = _expected(metadata, found)
    has_annotations = annotations.names if metadata is None else metadata.annotations
    kinds = (videos, labels, annotations) if has_annotations else (videos, labels)
    for files in kinds:
        for row in np.setdiff1d(expected, _rows(files)).tolist():
            named = (other.names[row] for other in kinds if row in other.names)
            stem = next(named, f"sample_{row:04d}.").partition(".")[0]
            code, suffix = f"{_KINDS[files.folder]}-missing", _SUFFIXES[files.folder]
            faults.add(code, f"{files.folder}/{stem}{suffix}", "found nothing")
        for row in np.setdiff1d(_rows(files), expected).tolist():
            faults.add(
                "surplus", files.path(row), f"row {row} is not one of those that {METADATA_FILE} names"
            )
    return expected


def _rows(files: _Files) -> NDArray[np.int64]:
    """Rows that have a file, in ascending order."""
    return np.sort(np.fromiter(files.names, np.int64, len(files.names)))


def _expected(metadata: ExportRecord | None, found: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows that the metadata speaks of."""
    if metadata is None:
        return found
    source = metadata.source
    if source is None:
        # names of a folder that is not ours need not begin at 0: they are known only if none lies beyond
        is_known = len(found) < metadata.total_samples <= ROWS_MAX
        is_known = is_known and (not len(found) or found[-1] < metadata.total_samples)
        return np.arange(metadata.total_samples) if is_known else found
    ranges = [range(first, stop) for first, stop in source.row_ranges if first < stop]
    if sum(map(len, ranges)) > ROWS_MAX or not ranges:
        return found[:0] if not ranges else found
    from trajstore.reading.generator import SampleGenerator  # imports numba

    try:  # the split of a row does not depend on how many there are
        spec = source.spec.replace(samples=max(rows.stop for rows in ranges))
    except SpecError:  # more than any dataset has
        return found
    return SampleGenerator(spec).split_rows(source.split, ranges)


def _open_against(
    store: StoreHandle | None, rows: NDArray[np.int64], source: Source | None, faults: _Faults
) -> tuple[StoreReader | None, NDArray[np.int64]]:
    """The store to compare with, and which of some rows are written in it."""
    if store is None:
        return None, rows[:0]
    if source is not None and source.fingerprint != store.attributes.fingerprint:
        same = source.model_copy(update={"fingerprint": store.attributes.fingerprint, "spec": store.spec})
        faults.add("store-mismatch", METADATA_FILE, "; ".join(source.differences(same)))
        return None, rows[:0]
    reader = StoreReader(store)
    lacking = [name for name in source.annotations if name not in reader.groups] if source else []
    for name in lacking:
        faults.add(
            "store-mismatch",
            METADATA_FILE,
            f"{store.location} has no annotation {name}{reader.explain_absent(name)}",
        )
    if lacking:
        return None, rows[:0]
    arrays = (column.name for column in source.arrays) if source else ()
    is_written = np.zeros(len(rows), dtype=bool)
    for part in reader.written_rows(FRAMES, *LABEL_COLUMNS, *arrays):
        is_written |= (rows >= part.start) & (rows < part.stop)
    for row in rows[~is_written].tolist():
        faults.add(
            "store-missing",
            f"{VIDEO_FOLDER}/sample_{row:04d}.pt",
            f"row {row} is not written in {store.location}",
        )
    return reader, rows[is_written]


def _find_classes(metadata: ExportRecord | None) -> tuple[str, ...]:
    """Names of the classes, in the order of their labels."""
    if metadata is None:
        return DEFAULT_CLASSES
    if metadata.spec is not None:
        return metadata.spec.dataset.classes
    named = metadata.class_distribution
    return DEFAULT_CLASSES if set(named) <= set(DEFAULT_CLASSES) else tuple(named)


@dataclass(frozen=True)
class _Stored:
    """What the store holds of a sample; the arrays until the next one is read."""

    frames: NDArray[np.uint8]
    label: Label
    annotations: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _CheckBatch:
    """Check the files of some samples."""

    root: Path
    videos: _Files
    labels: _Files
    annotations: _Files
    classes: tuple[str, ...]
    source: Source | None
    reader: StoreReader | None
    compared: NDArray[np.int64]

    def __call__(self, batch: Batch) -> _Checked:
        """Check a batch."""
        checked = _Checked()
        for row, expected in self._expect(batch):
            if row in self.labels.names:
                self._inspect_label(row, checked, None if expected is None else expected.label)
            if row in self.videos.names:
                self._inspect_video(row, checked, None if expected is None else expected.frames)
            if row in self.annotations.names:
                self._inspect_annotations(row, checked, {} if expected is None else expected.annotations)
        return checked

    def _expect(self, batch: Batch) -> Iterator[tuple[int, _Stored | None]]:
        """The rows of a batch, with what the store holds of those that are compared with it."""
        rows = [row for part in batch.parts for row in part.rows]
        compared = np.intersect1d(rows, self.compared)
        if self.reader is None or not len(compared):
            yield from ((row, None) for row in rows)
            return
        cameras = self.source.cameras if self.source else None
        frames = np.empty(self.reader.select(cameras=cameras).shape, np.uint8)
        annotations = make_arrays(self.source) if self.source else {}
        reads = (
            self.reader.read_each(compared, out, cameras=cameras, column=name)
            for name, out in {FRAMES: frames, **annotations}.items()
        )
        stored = zip(read_labels(self.reader, compared, cameras=cameras), *reads, strict=True)
        for row in rows:
            yield row, _Stored(frames, next(stored)[0], annotations) if row in compared else None

    def _inspect_video(self, row: int, checked: _Checked, expected: NDArray[np.uint8] | None) -> None:
        """Check a tensor file, and compare it with what the store holds."""
        path = self.videos.path(row)
        try:
            tensor = open_tensor(self.root / path)
            values = tensor.values[""]
            checked.tensors.append((row, values.shape, values.dtype.name))
            checked.video_bytes += (self.root / path).stat().st_size
            tensor.check()
        except BadTensorError as error:
            checked.add(f"video-{error.code}", path, str(error))
            return
        except OSError as error:
            checked.add("video-unreadable", path, error.strerror or str(error))
            return
        if expected is None:
            return
        wanted = expected if values.dtype == np.uint8 else expected / np.float32(255.0)
        if values.shape != wanted.shape:
            checked.add("content-video", path, f"found shape {values.shape}, the store has {wanted.shape}")
        elif not np.array_equal(values, wanted):
            differing = np.count_nonzero(values != wanted)
            checked.add(
                "content-video", path, f"{differing:,} of {wanted.size:,} values differ from the store"
            )

    def _inspect_annotations(self, row: int, checked: _Checked, expected: Mapping[str, NDArray[Any]]) -> None:
        """Check a file of annotations, and compare it with what the store holds."""
        path = self.annotations.path(row)
        try:
            tensors = open_tensors(self.root / path)
            tensors.check()
        except BadTensorError as error:
            checked.add(f"annotation-{error.code}", path, str(error))
            return
        except OSError as error:
            checked.add("annotation-unreadable", path, error.strerror or str(error))
            return
        if self.source is None:
            return
        found = {name: (values.shape, values.dtype.name) for name, values in tensors.values.items()}
        shapes = self.source.array_shapes
        wanted = {column.name: (shapes[column.name], column.dtype) for column in self.source.arrays}
        if found.keys() != wanted.keys():
            checked.add(
                "annotation-shape",
                path,
                f"found {', '.join(found) or 'nothing'}, expected {', '.join(wanted)}",
            )
            return
        for name, (shape, dtype) in wanted.items():
            if found[name] != (shape, dtype):
                detail = f"{name}: found {found[name][1]} of shape {found[name][0]}, expected {dtype} of shape {shape}"
                checked.add("annotation-shape", path, detail)
            elif name in expected:
                # NaN equals nothing, but its bits
                differing = np.count_nonzero(_bits(tensors.values[name]) != _bits(expected[name]))
                if differing:
                    total = expected[name].size
                    detail = f"{name}: {differing:,} of {total:,} values differ from the store"
                    checked.add("content-annotation", path, detail)

    def _inspect_label(self, row: int, checked: _Checked, expected: Label | None) -> None:
        """Check a label, and compare it with what the store holds."""
        path = self.labels.path(row)
        try:
            label = Label.model_validate_json((self.root / path).read_bytes())
        except OSError as error:
            checked.add("label-unreadable", path, error.strerror or str(error))
            return
        except ValidationError as error:
            for detail in describe_invalid(error):
                is_json = error.errors()[0]["type"] != "json_invalid"
                checked.add("label-invalid" if is_json else "label-unreadable", path, detail)
            return
        checked.labels.append(label)
        for detail in self._contradictions(label):
            checked.add("label-mismatch", path, detail)
        if expected is not None:
            for name in _differing(label, expected):
                checked.add("content-label", path, f"{name} differs from the store")

    def _contradictions(self, label: Label) -> Iterator[str]:
        """What in a label does not fit the rest of it or the metadata."""
        if label.class_label >= len(self.classes):
            yield f"class_label: found {label.class_label}, expected 0…{len(self.classes) - 1}"
        elif label.class_name not in (None, self.classes[label.class_label]):
            expected = self.classes[label.class_label]
            yield f"class_name: found {label.class_name!r}, expected {expected!r} with class_label {label.class_label}"
        if self.source is not None:
            if self.source.split not in (None, label.split):
                yield f"split: found {label.split!r}, expected {self.source.split!r} as in {METADATA_FILE}"
            frames = self.source.tensor_shape[1]
            if label.positions is None or len(label.positions) != frames:
                yield f"positions: found {len(label.positions or ())}, expected {frames}, one for each frame"
            yield from _find_in_world(label, self.source)


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """Elements as unsigned integers of the same size."""
    return values.view(f"u{values.dtype.itemsize}")


def _find_in_world(label: Label, source: Source) -> Iterator[str]:
    """What in a label does not fit the spec: what only some stores have, and the shape of it."""
    spec, (cameras, frames) = source.spec, source.tensor_shape[:2]
    columns = list_columns(spec)
    for name, column in OPTIONAL.items():
        has, wants = getattr(label, name) is not None, column in columns
        if has != wants:
            yield f"{name}: found {'some' if has else 'none'}, expected {'some' if wants else 'none'} by the spec"
    if label.extrinsics is not None:
        moving = (frames,) if spec.camera.is_moving else ()
        shape, expected = np.shape(label.extrinsics), (cameras, *moving, 3, 4)
        if shape != expected:
            yield f"extrinsics: found shape {shape}, expected {expected}"
    if label.bodies is None or not spec.bodies.are_labelled:
        return
    numbers = [body.body for body in label.bodies]
    if numbers != sorted({0, *numbers}) or numbers[-1] >= spec.bodies.count:
        yield f"bodies: found {numbers}, expected some of 0…{spec.bodies.count - 1} in this order, and 0 among them"
    for body in label.bodies:
        yield from (f"bodies: body {body.body}: {fault}" for fault in _find_in_body(body, cameras, frames))
        if body.body == 0 and label.positions != body.positions:
            yield "bodies: body 0: found other positions than those of the target"


def _find_in_body(body: BodyLabel, cameras: int, frames: int) -> Iterator[str]:
    """What in the label of a body contradicts itself."""
    first, last = body.first_frame, body.last_frame
    if (body.role == ROLES[0]) != (body.body == 0):
        yield f"found role {body.role!r}, expected the target to be body 0"
    if not first <= last <= frames:
        yield f"found frames {first} to {last}, expected some of 1…{frames}"
    if len(body.positions) != frames or np.shape(body.visible_pixels) != (cameras, frames):
        yield f"found positions or visible_pixels of other sizes, expected {cameras} cameras × {frames} frames"
        return
    is_there = np.array([first <= frame <= last for frame in range(1, frames + 1)])
    if [point is not None for point in body.positions] != is_there.tolist():
        yield f"found positions at other frames than those at which it is there, {first} to {last}"
    if np.array(body.visible_pixels)[:, ~is_there].any():
        yield f"found visible pixels at other frames than those at which it is there, {first} to {last}"


def _differing(label: Label, expected: Label) -> Iterator[str]:
    """Fields of a label that differ from the store's, in the precision of the store."""
    for name in Label.model_fields:
        found, wanted = getattr(label, name), getattr(expected, name)
        if found is None or found == wanted or name in REWORDED:
            continue
        number = np.float64 if name in EXACT else np.float32
        if not _is_same(found, wanted, number):
            yield name


def _is_same(found: Any, wanted: Any, number: type[np.floating[Any]]) -> bool:
    """Whether two parts of labels are the same, in the precision of a type of numbers."""
    if isinstance(found, BaseModel) and isinstance(wanted, BaseModel):
        return _is_same(dict(found), dict(wanted), number)
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(
            _is_same(found[name], wanted[name], number) for name in found
        )
    if isinstance(found, tuple) and isinstance(wanted, tuple):
        return len(found) == len(wanted) and all(
            _is_same(one, other, number) for one, other in zip(found, wanted, strict=True)
        )
    if isinstance(found, float) and isinstance(wanted, float):
        return bool(number(found) == number(wanted))
    return bool(found == wanted)


def _find_in_tensors(
    tensors: list[tuple[int, tuple[int, ...], str]], source: Source | None, videos: _Files, faults: _Faults
) -> tuple[tuple[int, ...] | None, str | None]:
    """Compare shape and type of all tensors with the metadata, or with those of most; returns these."""
    if not tensors:
        return None, None
    shape = Counter(shape for _, shape, _ in tensors).most_common(1)[0][0]
    dtype = Counter(dtype for _, _, dtype in tensors).most_common(1)[0][0]
    wanted_shape = source.tensor_shape if source else shape
    wanted_dtype = source.tensor_dtype if source else dtype
    for row, found, _ in tensors:
        if len(found) != len(_DIMENSIONS):
            faults.add("video-shape", videos.path(row), f"found {found}, expected ({', '.join(_DIMENSIONS)})")
        elif found != wanted_shape:
            faults.add("video-shape", videos.path(row), f"found {found}, expected {tuple(wanted_shape)}")
    for row, _, name in tensors:
        if name != wanted_dtype:
            faults.add("video-dtype", videos.path(row), f"found {name}, expected {wanted_dtype}")
    return shape, dtype


def _count_classes(counts: Counter[int], names: tuple[str, ...]) -> dict[str, int]:
    """Counts of labels by the names of their classes."""
    others = {str(label): counts[label] for label in sorted(counts) if label >= len(names)}
    return {name: counts[label] for label, name in enumerate(names)} | others


def _find_in_metadata(
    metadata: ExportRecord | None,
    videos: int,
    classes: dict[str, int],
    split_counts: Counter[str],
    faults: _Faults,
) -> None:
    """Compare the metadata with the files."""
    if metadata is None:
        return
    pairs = [
        ("total_samples", str(metadata.total_samples), str(videos)),
        ("class_distribution", _list_counts(metadata.class_distribution), _list_counts(classes)),
    ]
    if metadata.split_distribution is not None:
        said, found = _list_counts(metadata.split_distribution), _list_counts(split_counts)
        pairs.append(("split_distribution", said, found))
    for name, said, found in pairs:
        if said != found:
            faults.add("metadata-mismatch", METADATA_FILE, f"{name}: found {said}, the files have {found}")


def _list_counts(counts: Mapping[str, int]) -> str:
    """Names with their counts, without those that are 0, in an order that does not depend on the mapping's."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count) or "nothing"


def _find_in_balance(counts: dict[str, int], source: Source | None, faults: _Faults) -> None:
    """Find classes that are too rare or too frequent."""
    total = sum(counts.values())
    if not total:
        return
    weights = source.spec.dataset.class_weights if source else (1,) * len(counts)
    shares = [count / weight for count, weight in zip(counts.values(), weights, strict=True)]
    # any range of rows is balanced within two samples per class, or twice its weight
    most = 2.0 * len(source.row_ranges) if source else max(2.0, IMBALANCE_MAX * total / len(counts))
    if max(shares) - min(shares) > most:
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        by_weight = ", each divided by its weight," if set(weights) != {1} else ""
        detail = f"found {listed}; expected counts that{by_weight} differ by at most {most:.0f}"
        faults.add("class-balance", LABEL_FOLDER, detail)
