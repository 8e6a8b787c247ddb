"""Exports of any format as arrays and labels, for tests, and what all formats must keep to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import trajstore
from support.export_faults import contents, export_and_die, grow_disk, small_disk
from trajstore.errors import NotEnoughSpaceError
from trajstore.exporters.interface import BadFileError, Decoded
from trajstore.exporters.plan import ExportPlan, plan_export
from trajstore.exporters.records import read_labels


def decode_all(store: Path, folder: Path, **how: Any) -> Iterator[Decoded]:
    """All samples of a complete export, as its format decodes them."""
    plan = plan_export(store, folder, **how)
    assert plan.is_done
    for part in plan.parts:
        yield from plan.format.decode(folder, part, plan.source)


def measure_psnr(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of 8-bit frames, dB."""
    return float(10 * np.log10(255**2 / np.square(found.astype(float) - expected).mean()))


def assert_equals_store(store: Path, folder: Path, *, psnr: float = np.inf, **how: Any) -> None:
    """Fail unless an export holds the store's samples: bit for bit, or as similar as that."""
    reader, rows, cameras = trajstore.open_reader(store), [], how.get("cameras")
    for sample in decode_all(store, folder, **how):
        expected = reader.read([sample.row], cameras=cameras)[0]
        if sample.frames.dtype == np.float32:
            expected = expected / np.float32(255)
        if np.isinf(psnr):
            np.testing.assert_array_equal(sample.frames, expected, strict=True)
        else:
            assert measure_psnr(sample.frames, expected) >= psnr
        assert [sample.label] == list(read_labels(reader, np.array([sample.row]), cameras=cameras))
        for name, values in sample.annotations.items():
            wanted = np.empty_like(values)
            list(reader.read_each(np.array([sample.row]), wanted, cameras=cameras, column=name))
            np.testing.assert_array_equal(values.view("u1"), wanted.view("u1"))
        rows.append(sample.row)
    assert sorted(rows) == list(range(reader.spec.dataset.samples))


def assert_is_resumed(store: Path, tmp_path: Path, *, pattern: str, at: int, **how: Any) -> None:
    """Fail unless an export that was killed, and one that grew, have the bytes of one in one go."""
    options = [f"--format={how['format']}", *(f"--{name}={value}" for name, value in how["options"].items())]
    trajstore.export(store, tmp_path / "whole", **how)
    reference = contents(tmp_path / "whole")
    export_and_die(store, tmp_path / "killed", *options, method="replace", pattern=pattern, at=at)
    assert not (tmp_path / "killed/metadata.json").exists()
    trajstore.export(store, tmp_path / "killed", **how)
    assert contents(tmp_path / "killed") == reference
    trajstore.export(store, tmp_path / "grown", rows="0:20", **how)
    report = trajstore.export(store, tmp_path / "grown", **how)
    assert report.new_samples
    assert contents(tmp_path / "grown") == reference
    assert trajstore.export(store, tmp_path / "grown", **how).new_samples == 0


def assert_goes_on_after_full_disk(store: Path, folder: Path, *, size: str, **how: Any) -> None:
    """Fail unless an export to a disk that becomes full says so, and goes on when there is room."""
    with small_disk(folder, size):
        with pytest.raises(NotEnoughSpaceError):
            trajstore.export(store, folder / "out", force=True, **how)
        assert not (folder / "out/metadata.json").exists()
        grow_disk(folder, "64m")
        trajstore.export(store, folder / "out", **how)
        assert_equals_store(store, folder / "out", **how)


def _decode_parts(plan: ExportPlan, folder: Path) -> None:
    """Decode all parts of an export from a folder."""
    for part in plan.parts:
        for _ in plan.format.decode(folder, part, plan.source):
            pass


def assert_damage_is_found(store: Path, folder: Path, copy: Path, *, names: list[str], **how: Any) -> None:
    """Fail unless files that are missing, empty, cut off or something else are told, and nothing else is raised."""
    for name in names:
        data = (folder / name).read_bytes()
        for bad in (None, b"", data[: len(data) // 2], b"\x93NUMPY" + bytes(600), b"[" * 100_000):
            shutil.copytree(folder, copy)
            if bad is None:
                (copy / name).unlink()
            else:
                (copy / name).write_bytes(bad)
            plan = plan_export(store, folder, **how)
            with pytest.raises(BadFileError) as caught:
                _decode_parts(plan, copy)
            assert caught.value.path.startswith(name)
            assert caught.value.code in ("missing", "unreadable", "shape", "invalid")
            assert "\n" not in str(caught.value)
            shutil.rmtree(copy)
