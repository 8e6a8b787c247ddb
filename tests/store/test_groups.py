"""A column group is data: a third one, registered in a few lines, is built, resumed, checked, mended, grown, read."""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from support.faults import assert_flags_are_true, assert_same_bytes, flip_bit, swap, tree
from support.stores import open_store

import trajstore
from trajstore.reading.generator import SampleGenerator
from trajstore.spec import DatasetSpec
from trajstore.store.columns import Column, ColumnGroup
from trajstore.store.layout import GROUPS

FIELDS = {"samples": 44, "frames": 4, "height": 16, "width": 16, "cameras": 2, "samples_per_shard": 8}
ROWS = 10


def draw_mean_color(scene: Any, column: Column, rows: slice, part: tuple[slice, ...], out: Any) -> Any:
    clip = np.empty((2, 4, 3, 16, 16), np.uint8)
    for place, index in enumerate(range(rows.start, rows.stop)):
        scene.draw(index, slice(None), slice(None), clip)
        out[place] = clip.mean(axis=(3, 4), dtype=np.float32)[part]
    return out


def define_chunked(spec: DatasetSpec) -> ColumnGroup:
    """Mean colour of each frame, all rows of a task in one chunk."""
    shape = (spec.video.cameras, spec.video.frames, 3)
    column = Column(
        "mean_color",
        ("sample", "camera", "frame", "channel"),
        (spec.dataset.samples, *shape),
        (ROWS, *shape),
        "float32",
        float("nan"),
    )
    return ColumnGroup("means", (column,), spec.dataset.samples, ROWS, draw_mean_color, "means_chunk")


def define_sharded(spec: DatasetSpec) -> ColumnGroup:
    """The same, each camera of a row compressed on its own."""
    shape = (spec.video.cameras, spec.video.frames, 3)
    column = Column(
        "mean_color",
        ("sample", "camera", "frame", "channel"),
        (spec.dataset.samples, *shape),
        (1, 1, *shape[1:]),
        "float32",
        float("nan"),
        shard_shape=(ROWS, *shape),
    )
    return ColumnGroup("means", (column,), spec.dataset.samples, ROWS, draw_mean_color, "means_shard")


@pytest.fixture(params=[define_chunked, define_sharded])
def define(request: pytest.FixtureRequest) -> Iterator[Callable[[DatasetSpec], ColumnGroup]]:
    """A third group, registered for the length of a test."""
    GROUPS.append(request.param)
    yield request.param
    GROUPS.remove(request.param)


@pytest.fixture
def reference(define: object, tmp_path: Path) -> Path:
    path = tmp_path / "reference.zarr"
    report = trajstore.build(path, **FIELDS)
    assert report.summary.written == {"labels": 44, "video": 44, "means": 44}
    return path


def test_it_is_counted_and_read(reference: Path) -> None:
    summary = trajstore.info(reference)
    assert summary.is_complete
    assert summary.stored_bytes["means"] == sum(
        file.stat().st_size for file in (reference / "mean_color").iterdir()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_zarr(reference) as dataset:
            expected = dataset.video.values.mean(axis=(4, 5), dtype=np.float32)
            np.testing.assert_array_equal(dataset.mean_color.values, expected)
            assert dataset.means_written.values.tolist() == [True] * 5
    rows = [43, 3, 20]
    with trajstore.open_reader(reference) as reader:
        assert reader.written_rows("mean_color") == (range(44),)
        is_sharded = reader.layout.column("mean_color").shard_shape is not None
        for samples in (reader, SampleGenerator(reader.spec)):
            read = (
                partial(samples.read, column="mean_color")
                if is_sharded
                else partial(samples.column, "mean_color")
            )
            np.testing.assert_array_equal(read(rows), expected[rows])
            if is_sharded:
                part = read(rows, cameras=[1], frames=[2, 4])
                np.testing.assert_array_equal(part, expected[rows][:, 1:, 1::2])
    assert trajstore.verify(reference, deep=True).findings == ()
    assert trajstore.open(reference).mean_color.sel(channel="red").shape == (44, 2, 4)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_killed_and_resumed(
    define: Callable[..., object], reference: Path, tmp_path: Path, seed: int
) -> None:
    """After any of the build's writes, of its metadata, data and flags."""
    path = tmp_path / "a.zarr"
    writes = len(tree(reference)) // 2
    program = (
        "import os, signal, sys; sys.path[:0] = sys.argv[4:]\n"
        "import test_groups, trajstore\n"
        "from trajstore.storage import folder\n"
        "test_groups.GROUPS.append(getattr(test_groups, sys.argv[1]))\n"
        "publish, left = folder.publish, [int(sys.argv[2])]\n"
        "def publish_or_die(*arguments, **options):\n"
        "    publish(*arguments, **options)\n"
        "    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "folder.publish = publish_or_die\n"
        "trajstore.build(sys.argv[3], workers=1, **test_groups.FIELDS)\n"
    )
    moment = random.Random(seed).randint(writes // 2, writes)
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    command = [sys.executable, "-c", program, define.__name__, str(moment), str(path), *folders]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == -9, result.stderr
    if (path / "zarr.json").exists():
        assert_flags_are_true(path, reference)
        assert trajstore.verify(path).is_sound
    trajstore.build(path, **FIELDS)
    assert_same_bytes(path, reference)


@pytest.mark.parametrize("damage", ["flipped bit", "exchanged", "lost", "flag lost"])
def test_damage_is_found_and_mended(reference: Path, tmp_path: Path, damage: str) -> None:
    file, other = sorted((reference / "mean_color").glob("c.*"))[:2]
    before = tmp_path / "before.zarr"
    before.mkdir()
    for path in reference.rglob("*"):
        target = before / path.relative_to(reference)
        target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    expected = {f"mean_color/{file.name}"}
    if damage == "flipped bit":
        flip_bit(file, 99)
    elif damage == "exchanged":
        swap(file, other)
        expected.add(f"mean_color/{other.name}")
    elif damage == "lost":
        file.unlink()
    else:
        (reference / "means_written" / "c.0").unlink()
        expected = {"means_written/c.0"}
    assert {finding.key for finding in trajstore.verify(reference).damage} == expected
    trajstore.repair(reference)
    assert_same_bytes(reference, before)


def test_it_grows(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.zarr"
    trajstore.build(path, **FIELDS | {"samples": 33})
    assert trajstore.extend(path, 44).summary.written["means"] == 44
    assert_same_bytes(path, reference)


def test_a_half_built_one_opens(define: object, tmp_path: Path) -> None:
    path = tmp_path / "half.zarr"
    trajstore.build(path, part="1/2", **FIELDS)
    written = open_store(path).count_written()
    assert 0 < written["means"] < 44
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_zarr(path) as dataset:
            assert np.isnan(dataset.mean_color.values[written["means"] :]).all()
    assert trajstore.verify(path).is_sound
