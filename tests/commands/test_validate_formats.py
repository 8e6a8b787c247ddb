"""Validation needs nothing of a format but its protocol: shards of several samples, columns, frames that lose bits."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajstore
from trajstore.exporters import FORMATS
from trajstore.exporters.interface import BadFileError, Decoded, Encoder, Export, Format, Part
from trajstore.exporters.pt import make_arrays
from trajstore.exporters.records import LABEL_COLUMNS, Label, Source

SHARD_ROWS = 5


class _Encoder(Encoder):
    def __init__(self, source: Source, step: int) -> None:
        self.frames = np.empty(source.tensor_shape, np.uint8)
        self.annotations: Mapping[str, NDArray[Any]] = make_arrays(source)
        self.step = step

    def encode(self, part: Part, labels: Iterator[Label]) -> Iterator[tuple[str, bytes]]:
        for row, label in zip(part.rows, labels, strict=False):
            yield part.files[0], pack(row, self.frames // self.step * self.step, label, self.annotations)


def pack(row: int, frames: NDArray[np.uint8], label: Label, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A record: its size, then an archive of arrays."""
    stream = io.BytesIO()
    split = ("train", "val", "test").index(label.split or "train")
    numbers = {
        "class_label": np.int8(label.class_label),
        "split": np.int8(split),
        "position": np.float32(label.positions),
        "future_position": np.float32(label.future_position),
    }
    found = {f"a_{name}": values for name, values in arrays.items()}
    np.savez(stream, row=row, frames=frames, label=label.to_json(), **found, **numbers)
    return len(stream.getvalue()).to_bytes(8, "little") + stream.getvalue()


class Shards(Format):
    """Several samples a file, of labels or of columns; frames lose bits if the step is more than 1."""

    summary = "for tests"
    options: Mapping[str, tuple[str, ...]] = {}
    extra = "none"
    holds_annotations = True
    is_assembled = False

    def __init__(self, *, step: int = 1, has_columns: bool = False) -> None:
        self.step, self.has_columns = step, has_columns

    def list_dtypes(self, _: Mapping[str, str]) -> tuple[str, ...]:
        return ("uint8",)

    def list_packages(self, _: Mapping[str, str]) -> tuple[str, ...]:
        return ()

    def is_exact(self, _: Mapping[str, str]) -> bool:
        return self.step == 1

    def plan(self, rows: NDArray[np.int64], splits: NDArray[np.int8], _: Source) -> list[Part]:
        return [
            Part(tuple(chosen[at : at + SHARD_ROWS].tolist()), (f"{split}-{at:03d}.bin",))
            for split in range(3)
            for chosen in [rows[splits == split]]
            for at in range(0, len(chosen), SHARD_ROWS)
        ]

    def list_results(self, parts: Sequence[Part], _: Source) -> Iterator[str]:
        yield from (name for part in parts for name in part.files)
        yield "index.txt"

    def make_encoder(self, source: Source) -> _Encoder:
        return _Encoder(source, self.step)

    def finish(self, export: Export) -> None:
        (export.folder / "index.txt").write_text("")

    def decode(self, folder: Path, part: Part, source: Source) -> Iterator[Decoded]:
        name = part.files[0]
        try:
            data = (folder / name).read_bytes()
        except OSError:
            raise BadFileError("found nothing", path=name, code="missing") from None
        while data:
            size = int.from_bytes(data[:8], "little")
            record, data = data[8 : 8 + size], data[8 + size :]
            if len(record) < size:
                raise BadFileError("cut off", path=name, code="unreadable")
            held = np.load(io.BytesIO(record))
            label = None if self.has_columns else Label.model_validate_json(bytes(held["label"]))
            columns = {name: held[name] for name in LABEL_COLUMNS} if self.has_columns else {}
            arrays = {key[2:]: held[key] for key in held.files if key.startswith("a_")}
            yield Decoded(int(held["row"]), held["frames"], label, columns, arrays)


def records(path: Path) -> list[bytes]:
    """The records of a shard."""
    data, found = path.read_bytes(), []
    while data:
        size = 8 + int.from_bytes(data[:8], "little")
        found.append(data[:size])
        data = data[size:]
    return found


def edit(path: Path, **values: Any) -> None:
    """Change what the first record of a shard holds."""
    first, *others = records(path)
    held = dict(np.load(io.BytesIO(first[8:])))
    stream = io.BytesIO()
    np.savez(stream, **(held | values))
    path.write_bytes(len(stream.getvalue()).to_bytes(8, "little") + stream.getvalue() + b"".join(others))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds the format, of some kind."""
    return lambda **how: monkeypatch.setitem(FORMATS, "shards", Shards(**how))


@pytest.fixture(params=[False, True], ids=["labels", "columns"])
def folder(
    use: Callable[..., None], request: pytest.FixtureRequest, tiny_store: Path, tmp_path: Path
) -> Path:
    use(has_columns=request.param)
    trajstore.export(tiny_store, tmp_path / "out", format="shards")
    return tmp_path / "out"


def test_a_format_is_known_by_its_metadata(folder: Path, tiny_store: Path) -> None:
    report = trajstore.validate(folder, tiny_store)
    assert report.is_valid, report.faults
    assert (report.format, report.layout, report.psnr) == ("shards", "", None)
    assert (report.samples, report.videos, report.labels, report.annotations) == (44, 44, 44, 0)
    assert report.classes == {"Linear": 11, "Circular": 11, "Helical": 11, "Parabolic": 11}
    assert sum(report.splits.values()) == 44
    assert report.tensor_shape == (2, 4, 3, 16, 16)


def test_splits_and_rows_are_planned_as_they_were_exported(
    use: Callable[..., None], tiny_store: Path, tmp_path: Path
) -> None:
    use()
    done = trajstore.export(tiny_store, tmp_path / "out", format="shards", split="val", rows="3:40")
    report = trajstore.validate(tmp_path / "out", tiny_store)
    assert report.is_valid, report.faults
    assert report.samples == done.metadata.total_samples > 0


PLANTED: list[tuple[str, Callable[[Path], Any], dict[str, int]]] = [
    ("missing", lambda f: (f / "0-005.bin").unlink(), {"file-missing": 1, "metadata-mismatch": 3}),
    ("a result is missing", lambda f: (f / "index.txt").unlink(), {"file-missing": 1}),
    ("too many", lambda f: (f / "3-000.bin").write_bytes(b""), {"surplus": 1}),
    ("a strange folder", lambda f: (f / "more/and/more").mkdir(parents=True), {"surplus": 1}),
    ("cut off", lambda f: (f / "0-005.bin").write_bytes((f / "0-005.bin").read_bytes()[:-9]),
     {"file-unreadable": 1, "metadata-mismatch": 2}),
    ("what no reader expects", lambda f: (f / "0-005.bin").write_bytes(b"\1" + bytes(7) + b"x"),
     {"file-unreadable": 1, "metadata-mismatch": 2}),
    ("a sample less", lambda f: (f / "0-005.bin").write_bytes(b"".join(records(f / "0-005.bin")[:-1])),
     {"file-invalid": 1, "metadata-mismatch": 2}),
    ("another order", lambda f: (f / "0-005.bin").write_bytes(b"".join(records(f / "0-005.bin")[::-1])),
     {"file-invalid": 1}),
    ("another shape", lambda f: edit(f / "0-005.bin", frames=np.zeros((2, 4, 3, 16, 8), np.uint8)),
     {"video-shape": 1}),
    ("another type", lambda f: edit(f / "0-005.bin", frames=np.zeros((2, 4, 3, 16, 16), np.int8)),
     {"video-dtype": 1}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "expected"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED]
)
def test_faults_of_any_format_are_found(
    folder: Path, plant: Callable[[Path], Any], expected: dict[str, int]
) -> None:
    plant(folder)
    counts = trajstore.validate(folder).fault_counts
    if "file-invalid" in expected:  # which of the samples count depends on what the reader still yields
        assert counts.keys() >= {"file-invalid"}
    else:
        assert counts == expected


def test_contents_of_any_format_are_compared_with_a_store(folder: Path, tiny_store: Path) -> None:
    first = records(folder / "0-000.bin")[0]
    held = dict(np.load(io.BytesIO(first[8:])))
    label = json.loads(bytes(held["label"])) | {"future_position": [0.5, 0.5, 0.5]}
    edit(
        folder / "0-000.bin",
        frames=held["frames"] ^ 1,
        label=json.dumps(label).encode(),
        future_position=np.float32([0.5] * 3),
    )
    report = trajstore.validate(folder, tiny_store)
    assert report.fault_counts == {"content-video": 1, "content-label": 1}
    assert [fault.detail for fault in report.faults] == [
        f"row {held['row']}: 6,144 of 6,144 values differ from the store",
        f"row {held['row']}: future_position differs from the store",
    ]


def test_annotations_of_any_format_are_compared(
    use: Callable[..., None], annotated_store: Path, tmp_path: Path
) -> None:
    use()
    trajstore.export(
        annotated_store, tmp_path / "out", format="shards", rows="0:12", annotations=["segmentation"]
    )
    report = trajstore.validate(tmp_path / "out", annotated_store)
    assert (report.is_valid, report.annotations) == (True, 12), report.faults
    name = next(path for path in sorted((tmp_path / "out").iterdir()) if path.suffix == ".bin")
    held = dict(np.load(io.BytesIO(records(name)[0][8:])))
    edit(name, a_segmentation=held["a_segmentation"] + np.uint8(1))
    assert trajstore.validate(tmp_path / "out", annotated_store).fault_counts == {"content-annotation": 1}
    edit(name, a_segmentation=held["a_segmentation"][0])
    assert trajstore.validate(tmp_path / "out").fault_counts == {"annotation-shape": 1}


def test_of_a_lossy_format_the_worst_psnr_is_told(
    use: Callable[..., None], tiny_store: Path, tmp_path: Path
) -> None:
    use(step=4)
    trajstore.export(tiny_store, tmp_path / "out", format="shards")
    report = trajstore.validate(tmp_path / "out", tiny_store)
    assert report.is_valid, report.faults
    assert report.psnr is not None
    # errors of 0 … 3: 3 everywhere would be 38.6 dB
    assert 38.5 < report.psnr < 60.0
    _, second, *_ = records(tmp_path / "out/0-000.bin")
    other = np.load(io.BytesIO(second[8:]))["frames"]
    edit(tmp_path / "out/0-000.bin", frames=other)
    report = trajstore.validate(tmp_path / "out", tiny_store)
    assert report.fault_counts == {"content-video": 1}
    assert "dB against the store, expected at least 30 dB" in report.faults[0].detail


def test_of_an_export_that_is_not_finished_nothing_is_said_but_that(folder: Path) -> None:
    record = json.loads((folder / "metadata.json").read_bytes())
    (folder / "metadata.json").unlink()
    (folder / "unfinished.json").write_text(
        json.dumps({name: value for name, value in record.items() if name in Source.model_fields})
    )
    report = trajstore.validate(folder)
    assert (report.format, report.fault_counts) == ("shards", {"unfinished": 1, "metadata-missing": 1})
