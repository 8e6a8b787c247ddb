"""Check an exported folder, whoever wrote it: files, frames, labels, annotations, metadata, and all against a store."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from math import inf, log10
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import ExportError, TrajstoreError
from trajstore.executors.run import RunOptions, run_tasks
from trajstore.exporters.check_labels import find_contradictions, find_differences, name_class
from trajstore.exporters.faults import FAULTS, Fault, Faults
from trajstore.exporters.found import Found, identify, scan
from trajstore.exporters.interface import BadFileError, Decoded, Part
from trajstore.exporters.plan import METADATA_FILE, UNFINISHED_FILE
from trajstore.exporters.pt import make_arrays
from trajstore.exporters.pt_names import ANNOTATION_FOLDER, LABEL_FOLDER, TRAJ, VIDEO_FOLDER
from trajstore.exporters.records import LABEL_COLUMNS, ExportRecord, Label, Source, read_labels
from trajstore.exporters.traj import TrajLabel, make_traj_label
from trajstore.exporters.write import Batch, make_batches
from trajstore.progress import Tally, advance
from trajstore.reading.store import StoreReader
from trajstore.scene.order import SPLIT_NAMES
from trajstore.show import Shown
from trajstore.store.handle import StoreHandle
from trajstore.store.layout import FRAMES
from trajstore.text import escape
from trajstore.trajectories import DEFAULT_CLASSES

BATCH_ROWS: Final = 32

IMBALANCE_MAX: Final = 0.1
"""In a folder that trajstore did not write, how far a class may be from its share."""

PSNR_MIN: Final = 30.0
"""Frames that a lossy format holds less well than that, dB, are others than the store's."""

_DIMENSIONS: Final = ("cameras", "frames", "channels", "height", "width")
_KINDS: Final = {
    VIDEO_FOLDER: "video",
    "frames": "video",
    LABEL_FOLDER: "label",
    ANNOTATION_FOLDER: "annotation",
}


@dataclass(frozen=True, repr=False)
class ValidationReport(Shown):
    """What validation found.

    Attributes
    ----------
    location : str
        The folder.
    format, layout : str
        What it is; the layout is empty where the format has but one.
    against : str or None
        The store that contents were compared with.
    samples : int
        Samples that there should be.
    videos, labels, annotations : int
        Samples whose files of frames, of labels and of annotations are there.
    tensor_shape : tuple of int or None
        Of the frames of a sample, (cameras, frames, 3, height, width); None if none could be read.
    tensor_dtype : str or None
        Of the frames.
    psnr : float or None
        The worst peak signal-to-noise ratio of a sample against the store, dB; None of formats that lose nothing, of
        frames that all are equal, and without a store.
    classes, splits : dict
        Labels of each class and split, by name.
    video_bytes : int
        Bytes of the files that hold frames.
    by_trajstore : bool
        Whether the metadata says what the folder was made from.
    fault_counts : dict
        How many faults there are of each code.
    faults : tuple of Fault
        The first of them, by code and path.
    seconds : float
        Wall time.
    """

    _shown = (
        "location is_valid format layout against samples videos labels annotations tensor_shape "
        "tensor_dtype psnr classes splits fault_counts seconds"
    )

    location: str
    format: str
    layout: str
    against: str | None
    samples: int
    videos: int
    labels: int
    annotations: int
    tensor_shape: tuple[int, ...] | None
    tensor_dtype: str | None
    psnr: float | None
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


@dataclass
class _Checked:
    """What some samples hold."""

    faults: list[Fault] = field(default_factory=list)
    tensors: list[tuple[str, str, tuple[int, ...], str]] = field(default_factory=list)
    """Path and row of frames, their shape and type."""
    classes: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    psnr: float = inf

    def add(self, code: str, path: str, detail: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(code, path, detail))


def inspect_folder(
    root: Path, against: StoreHandle | None, options: RunOptions, *, max_faults: int
) -> ValidationReport:
    """Look at all of an export, compare it with a store where one is given, and list every fault."""
    started = time.monotonic()
    faults = Faults(max_faults)
    found = identify(root, faults)
    sizes = scan(root, found, faults)
    _find_missing(found, sizes, faults)
    reader, compared = _open_against(against, found, faults)
    classes = _find_classes(found)
    check = _CheckBatch(found, frozenset(sizes), classes, reader, compared)
    samples = sum(len(part.rows) for part in found.parts)
    total = _Checked()
    tally = Tally("check", options.report, total=samples, done=0, raw_bytes_each=0)

    def finished(batch: Batch, value: _Checked | None) -> None:
        if value is not None:
            for fault in value.faults:
                faults.add(fault.code, fault.path, fault.detail)
            total.tensors += value.tensors
            total.classes += value.classes
            total.splits += value.splits
            total.psnr = min(total.psnr, value.psnr)
        tally.add(batch.samples, stored_bytes=0)

    per_shard = reader.rows_per_shard if reader else BATCH_ROWS
    batches = make_batches(found.parts, rows_per_shard=per_shard, rows_max=BATCH_ROWS)
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

    shape, dtype = _find_in_tensors(total.tensors, found.source, faults)
    there = {kind: _count_there(found, sizes, kind) for kind in ("video", "label", "annotation")}
    counts = {name: total.classes[name] for name in classes} | dict(sorted(total.classes.items()))
    if found.metadata is not None and found.is_known:
        _find_in_metadata(found.metadata, there["video"], counts, total.splits, faults)
    _find_in_balance(counts, classes, found.source, faults)
    return ValidationReport(
        location=str(root),
        format=found.format,
        layout=found.layout,
        against=None if against is None else str(against.location),
        samples=samples,
        videos=there["video"],
        labels=there["label"],
        annotations=there["annotation"],
        tensor_shape=shape,
        tensor_dtype=dtype,
        psnr=total.psnr if total.psnr < inf else None,
        classes=counts,
        splits={name: total.splits[name] for name in SPLIT_NAMES if total.splits[name]},
        video_bytes=sum(size for name, size in sizes.items() if _find_kind(name) in ("video", "file")),
        by_trajstore=found.source is not None,
        fault_counts={code: faults.counts[code] for code in FAULTS if faults.counts[code]},
        faults=faults.listed(),
        seconds=time.monotonic() - started,
    )


def check_is_export(root: Path) -> None:
    """Refuse what is no folder, or has nothing of an export."""
    place = escape(str(root))
    if not root.is_dir():
        found = "a file" if os.path.lexists(root) else "nothing"
        message = (
            f"{place}: found {found}, expected a folder; export one with: trajstore export STORE {place}"
        )
        raise ExportError(message)
    if not os.access(root, os.R_OK | os.X_OK):
        message = f"{place}: no permission to read it; change its permissions"
        raise ExportError(message)
    known = (VIDEO_FOLDER, LABEL_FOLDER, ANNOTATION_FOLDER, METADATA_FILE, UNFINISHED_FILE)
    if not any(os.path.lexists(root / name) for name in known):
        message = f"{place}: found no videos, labels or {METADATA_FILE}, expected an export; name its folder"
        raise ExportError(message)


def _find_kind(name: str) -> str:
    """What a file holds: frames, labels, annotations, or whatever there is of some samples."""
    return _KINDS.get(name.partition("/")[0], "file")


def _choose_code(error: BadFileError) -> str:
    """The code of what is wrong with a file."""
    codes = (f"{_find_kind(error.path)}-{error.code}", f"video-{error.code}", f"label-{error.code}")
    return next((code for code in codes if code in FAULTS), "file-unreadable")


def _own_files(part: Part, found: Found) -> list[str]:
    """The files of a part that are in a complete export; all of it where its parts were put together."""
    return [name for name in part.files if name in found.files] or sorted(found.files)


def _find_missing(found: Found, sizes: Mapping[str, int], faults: Faults) -> None:
    """Note the files that are not there."""
    for name in sorted(found.files - sizes.keys()):
        faults.add(f"{_find_kind(name)}-missing", name, "found nothing")


def _count_there(found: Found, sizes: Mapping[str, int], kind: str) -> int:
    """Samples whose files of a kind are all there."""
    if kind == "annotation" and not (found.source is None or found.source.annotations):
        return 0
    count = 0
    for part in found.parts:
        files = [name for name in _own_files(part, found) if _find_kind(name) in (kind, "file")]
        if files and all(name in sizes for name in files):
            count += len(part.rows)
    return count


def _open_against(
    store: StoreHandle | None, found: Found, faults: Faults
) -> tuple[StoreReader | None, NDArray[np.int64]]:
    """The store to compare with, and which of the rows are written in it."""
    rows = np.array([row for part in found.parts for row in part.rows], np.int64)
    source = found.source
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
    missing = {*rows[~is_written].tolist()}
    for sample in found.parts if missing else ():
        for row in sample.rows:
            if row in missing:
                detail = f"row {row} is not written in {store.location}"
                faults.add("store-missing", _own_files(sample, found)[0], detail)
    return reader, rows[is_written]


def _find_classes(found: Found) -> tuple[str, ...]:
    """Names of the classes, in the order of their labels; none where labels name whatever they like."""
    metadata = found.metadata
    if metadata is None:
        return () if found.layout == TRAJ else DEFAULT_CLASSES
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
    """Check the samples of some parts."""

    found: Found
    there: frozenset[str]
    classes: tuple[str, ...]
    reader: StoreReader | None
    compared: NDArray[np.int64]

    def __call__(self, batch: Batch) -> _Checked:
        """Check a batch."""
        checked = _Checked()
        rows = [row for part in batch.parts for row in part.rows]
        # a store is read in ascending order, in which the rows of one part are
        runs = [rows] if rows == sorted(rows) else [[*part.rows] for part in batch.parts]
        stored = chain.from_iterable(map(self._read_stored, runs))
        for part in batch.parts:
            samples = self._decode(part, checked)
            sample, bad = next(samples, (None, frozenset[str]()))
            for row in part.rows:
                expected = next(stored)
                if sample is not None and sample.row == row:
                    _CheckSample(self, part, sample, bad, checked).check(expected)
                    sample, bad = next(samples, (None, frozenset[str]()))
                advance()
            if sample is not None:
                detail = (
                    f"found row {sample.row}, expected rows {part.rows[0]} to {part.rows[-1]} in this order"
                )
                checked.add("file-invalid", _own_files(part, self.found)[0], detail)
        return checked

    def _decode(self, part: Part, checked: _Checked) -> Iterator[tuple[Decoded, frozenset[str]]]:
        """The samples of a part, and the kinds of files of each that are bad: these are noted."""
        bad: set[str] = set()
        decoded = 0
        try:
            for one in self.found.decode(part):
                if isinstance(one, Decoded):
                    yield one, frozenset(bad)
                    decoded += 1
                    bad.clear()
                else:
                    self._note(one, checked)
                    bad.add(_find_kind(one.path))
        except BadFileError as error:
            self._note(error, checked)
        except TrajstoreError:
            raise
        except Exception as error:  # noqa: BLE001 - damaged bytes make other people's readers raise almost anything
            detail = f"cannot be read ({type(error).__name__}: {str(error)[:150]})"
            self._note(BadFileError(detail, path=_own_files(part, self.found)[0], code="unreadable"), checked)
        else:
            if decoded < len(part.rows):
                detail = f"found {decoded} samples, expected {len(part.rows)}"
                checked.add("file-invalid", _own_files(part, self.found)[0], detail)

    def _note(self, error: BadFileError, checked: _Checked) -> None:
        """Note what is wrong with a file, unless it is missing, which is noted already."""
        if error.path in self.there or error.path not in self.found.files:
            checked.add(_choose_code(error), error.path, str(error))

    def _read_stored(self, rows: list[int]) -> Iterator[_Stored | None]:
        """What the store holds of some rows; None of those that are not compared with it."""
        is_compared = np.isin(rows, self.compared)
        compared = np.array(rows)[is_compared]
        if self.reader is None or not len(compared):
            yield from (None for _ in rows)
            return
        source = self.found.source
        cameras = source.cameras if source else None
        frames = np.empty(self.reader.select(cameras=cameras).shape, np.uint8)
        annotations = make_arrays(source) if source else {}
        reads = (
            self.reader.read_each(compared, out, cameras=cameras, column=name)
            for name, out in {FRAMES: frames, **annotations}.items()
        )
        labels = read_labels(self.reader, compared, cameras=cameras, extra=source.columns if source else ())
        stored = zip(labels, *reads, strict=True)
        for is_next in is_compared:
            yield _Stored(frames, next(stored)[0], annotations) if is_next else None


@dataclass(frozen=True)
class _CheckSample:
    """Check a sample, and compare it with what the store holds."""

    batch: _CheckBatch
    part: Part
    sample: Decoded
    bad: frozenset[str]
    checked: _Checked

    def check(self, expected: _Stored | None) -> None:
        """Check all of it."""
        if self.sample.label is not None:
            self._check_label(self.sample.label, expected)
        elif self.sample.columns or "label" not in self.bad:
            self._check_columns(self.sample.columns, expected)
        if self.sample.frames is not None:
            self._check_frames(self.sample.frames, expected)
        if self.batch.found.source is not None and "annotation" not in self.bad:
            self._check_annotations(self.batch.found.source, {} if expected is None else expected.annotations)

    def _add(self, code: str, kind: str, detail: str) -> None:
        """Note a fault in the file that holds something, and of which row if it holds several."""
        prefix = f"row {self.sample.row}: " if len(self.part.rows) > 1 else ""
        self.checked.add(code, self._find_file(kind), f"{prefix}{detail}")

    def _find_file(self, kind: str) -> str:
        """The file of the sample that holds something."""
        files = _own_files(self.part, self.batch.found)
        return next((name for name in files if _find_kind(name) == kind), files[0])

    def _check_label(self, label: Label | TrajLabel, expected: _Stored | None) -> None:
        """Check a label."""
        found, classes = self.batch.found, self.batch.classes
        self.checked.classes[name_class(label, classes)] += 1
        if label.split is not None:
            self.checked.splits[label.split] += 1
        for detail in find_contradictions(label, classes, found.source):
            self._add("label-mismatch", "label", detail)
        if expected is None:
            return
        wanted: Label | TrajLabel = expected.label
        if isinstance(label, TrajLabel):
            if found.source is None:  # where its cameras stand is known of exports only
                label = label.model_copy(update={"camera_positions": ()})
            reader = self.batch.reader
            assert reader is not None
            wanted = make_traj_label(
                expected.label, reader.spec, found.source.cameras if found.source else None
            )
        for name in find_differences(label, wanted):
            self._add("content-label", "label", f"{name} differs from the store")

    def _check_columns(self, columns: Mapping[str, NDArray[Any]], expected: _Stored | None) -> None:
        """Check the columns of a format that has no labels."""
        lacking = [name for name in LABEL_COLUMNS if name not in columns]
        if lacking:
            self._add("label-invalid", "label", f"found no {', '.join(lacking)}, expected some")
            return
        found, classes = self.batch.found, self.batch.classes
        label, split = int(columns["class_label"]), int(columns["split"])
        self.checked.classes[classes[label] if 0 <= label < len(classes) else str(label)] += 1
        if not 0 <= label < len(classes):
            self._add("label-mismatch", "label", f"class_label: found {label}, expected 0…{len(classes) - 1}")
        wanted_class = found.source.class_name if found.source else None
        if wanted_class is not None and 0 <= label < len(classes) and classes[label] != wanted_class:
            detail = (
                f"class_label: found that of {classes[label]}, expected {wanted_class} as in {METADATA_FILE}"
            )
            self._add("label-mismatch", "label", detail)
        name = SPLIT_NAMES[split] if 0 <= split < len(SPLIT_NAMES) else str(split)
        self.checked.splits[name] += 1
        if found.source is not None and found.source.split not in (None, name):
            detail = f"split: found {name!r}, expected {found.source.split!r} as in {METADATA_FILE}"
            self._add("label-mismatch", "label", detail)
        reader = self.batch.reader
        if expected is None or reader is None:
            return
        row, cameras = np.array([self.sample.row]), found.source.cameras if found.source else None
        for name, values in columns.items():
            if name not in reader.columns:
                continue
            wanted, dims = reader.read_column(name, row), reader.layout.column(name).dims
            if cameras is not None and "camera" in dims:
                wanted = wanted.take(cameras, dims.index("camera"))
            if not _is_same(values, wanted[0]):
                self._add("content-label", "label", f"{name} differs from the store")

    def _check_frames(self, values: NDArray[Any], expected: _Stored | None) -> None:
        """Check frames."""
        rows = f"row {self.sample.row}: " if len(self.part.rows) > 1 else ""
        self.checked.tensors.append((self._find_file("video"), rows, values.shape, values.dtype.name))
        if expected is None:
            return
        wanted = expected.frames if values.dtype == np.uint8 else expected.frames / np.float32(255.0)
        if values.shape != wanted.shape:
            detail = f"found shape {values.shape}, the store has {wanted.shape}"
            self._add("content-video", "video", detail)
        elif np.array_equal(values, wanted):
            return
        elif self.batch.found.is_exact:
            differing = np.count_nonzero(values != wanted)
            detail = f"{differing:,} of {wanted.size:,} values differ from the store"
            self._add("content-video", "video", detail)
        else:
            psnr = _find_psnr(values, wanted)
            self.checked.psnr = min(self.checked.psnr, psnr)
            if psnr < PSNR_MIN:
                detail = f"{psnr:.1f} dB against the store, expected at least {PSNR_MIN:.0f} dB"
                self._add("content-video", "video", detail)

    def _check_annotations(self, source: Source, expected: Mapping[str, NDArray[Any]]) -> None:
        """Check annotations."""
        arrays, shapes = self.sample.annotations, source.array_shapes
        wanted = {column.name: (shapes[column.name], column.dtype) for column in source.arrays}
        if arrays.keys() != wanted.keys():
            detail = f"found {', '.join(arrays) or 'nothing'}, expected {', '.join(wanted)}"
            self._add("annotation-shape", "annotation", detail)
            return
        for name, (shape, dtype) in wanted.items():
            values = arrays[name]
            if (values.shape, values.dtype.name) != (shape, dtype):
                detail = (
                    f"{name}: found {values.dtype.name} of shape {values.shape}, "
                    f"expected {dtype} of shape {shape}"
                )
                self._add("annotation-shape", "annotation", detail)
            elif name in expected and not _is_same(values, expected[name]):
                differing = np.count_nonzero(_bits(values) != _bits(expected[name]))
                detail = f"{name}: {differing:,} of {values.size:,} values differ from the store"
                self._add("content-annotation", "annotation", detail)


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """Elements as unsigned integers of the same size: NaN equals nothing, but its bits."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _is_same(values: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Whether two arrays have the same shape, type and bits."""
    values = np.asarray(values)
    return (values.shape, values.dtype) == (
        wanted.shape,
        wanted.dtype,
    ) and values.tobytes() == wanted.tobytes()


def _find_psnr(values: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio of frames that are not equal to those of the store, dB."""
    peak = 255.0 if values.dtype == np.uint8 else 1.0
    error = float(np.mean(np.square(values.astype(np.float32) - wanted.astype(np.float32)), dtype=np.float64))
    return 10.0 * log10(peak * peak / error) if error else inf


def _find_in_tensors(
    tensors: list[tuple[str, str, tuple[int, ...], str]], source: Source | None, faults: Faults
) -> tuple[tuple[int, ...] | None, str | None]:
    """Compare shape and type of all frames with the metadata, or with those of most; returns these."""
    if not tensors:
        return None, None
    shape = Counter(shape for _, _, shape, _ in tensors).most_common(1)[0][0]
    dtype = Counter(dtype for *_, dtype in tensors).most_common(1)[0][0]
    wanted_shape = source.tensor_shape if source else shape
    wanted_dtype = source.tensor_dtype if source else dtype
    for path, row, found, name in tensors:
        if len(found) != len(_DIMENSIONS):
            faults.add("video-shape", path, f"{row}found {found}, expected ({', '.join(_DIMENSIONS)})")
        elif found != wanted_shape:
            faults.add("video-shape", path, f"{row}found {found}, expected {tuple(wanted_shape)}")
        if name != wanted_dtype:
            faults.add("video-dtype", path, f"{row}found {name}, expected {wanted_dtype}")
    return shape, dtype


def _find_in_metadata(
    metadata: ExportRecord,
    samples: int,
    classes: Mapping[str, int],
    splits: Mapping[str, int],
    faults: Faults,
) -> None:
    """Compare the metadata with the files."""
    pairs = [
        ("total_samples", str(metadata.total_samples), str(samples)),
        ("class_distribution", _list_counts(metadata.class_distribution), _list_counts(classes)),
    ]
    if metadata.split_distribution is not None:
        pairs.append(("split_distribution", _list_counts(metadata.split_distribution), _list_counts(splits)))
    for name, said, found in pairs:
        if said != found:
            faults.add("metadata-mismatch", METADATA_FILE, f"{name}: found {said}, the files have {found}")


def _list_counts(counts: Mapping[str, int]) -> str:
    """Names with their counts, without those that are 0, in an order that does not depend on the mapping's."""
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count) or "nothing"


def _find_in_balance(
    counts: Mapping[str, int], classes: tuple[str, ...], source: Source | None, faults: Faults
) -> None:
    """Find classes that are too rare or too frequent."""
    if source is not None and source.class_name is not None:  # the others are not there
        return
    known = {name: counts[name] for name in classes or counts}
    total = sum(known.values())
    if not total:
        return
    weights = source.spec.dataset.class_weights if source else (1,) * len(known)
    shares = [count / weight for count, weight in zip(known.values(), weights, strict=True)]
    # any range of rows is balanced within two samples per class, or twice its weight
    most = 2.0 * len(source.row_ranges) if source else max(2.0, IMBALANCE_MAX * total / len(known))
    if max(shares) - min(shares) > most:
        listed = ", ".join(f"{name} {count:,}" for name, count in known.items())
        by_weight = ", each divided by its weight," if set(weights) != {1} else ""
        detail = f"found {listed}; expected counts that{by_weight} differ by at most {most:.0f}"
        faults.add("class-balance", LABEL_FOLDER, detail)
