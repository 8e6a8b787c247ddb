"""The plan of a store: tasks cover rows once, chunks stay small, files have the names of Zarr's specification."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trajstore.errors import SpecError
from trajstore.scene.cameras import place_cameras
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.store.columns import Column
from trajstore.store.groups.labels import LABEL_BYTES_MAX, LABEL_ROWS
from trajstore.store.groups.video import CHUNK_BYTES_MAX, check_storage, settle_storage
from trajstore.store.layout import plan_layout

MEBIBYTE = 2**20


def plan_video(**fields: Any) -> Column:
    """The video column of a spec."""
    (column,) = plan_layout(DatasetSpec.from_fields(**fields)).group("video").columns
    return column


@given(st.integers(1, 3 * LABEL_ROWS), st.integers(20, 5_000))
@example(5, 1)
@example(LABEL_ROWS, 250)
@example(LABEL_ROWS + 1, LABEL_ROWS)
def test_tasks_cover_each_row_once_and_in_order(samples: int, samples_per_shard: int):
    layout = plan_layout(DatasetSpec.from_fields(samples=samples, samples_per_shard=samples_per_shard))
    for group, rows_per_task in zip(layout.groups, (LABEL_ROWS, samples_per_shard), strict=True):
        tasks = list(group.tasks())
        assert [task.index for task in tasks] == list(range(len(group)))
        assert {task.group for task in tasks} == {group.name}
        assert tasks[0].rows.start == 0
        assert all(a.rows.stop == b.rows.start for a, b in pairwise(tasks))
        assert tasks[-1].rows.stop == samples
        assert {len(task.rows) for task in tasks[:-1]} <= {rows_per_task}
        assert 1 <= len(tasks[-1].rows) <= rows_per_task
        assert group.flags.shape == (len(tasks),)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 250),
        ({"samples": 1}, 21),
        ({"samples": 1000}, 25),
        ({"samples": 10**6}, 1066),
        ({"samples": 64, "cameras": 8, "frames": 128, "height": 256, "width": 256}, 2),
        ({"samples": 10**4, "cameras": 8, "frames": 128, "height": 256, "width": 256}, 8),
        ({"samples": 40, "height": 2048, "width": 2048}, 1),
        ({"distractors": 7}, 133),
        ({"noise": 2.0}, 21),
        ({"samples_per_shard": 3}, 3),
    ],
    ids=str,
)
def test_shards_follow_from_the_bytes_of_a_row(fields: dict[str, Any], rows: int):
    assert plan_layout(DatasetSpec.from_fields(**fields)).group("video").rows_per_task == rows


def test_shards_that_no_memory_can_hold_are_refused():
    spec = DatasetSpec.from_fields(height=512, width=512, samples_per_shard=10_000)
    expected = (
        r"^storage\.samples_per_shard: found 10000, which makes shards of about 20\.1 GB, expected at most"
    )
    with pytest.raises(SpecError, match=expected):
        check_storage(spec)
    check_storage(spec.replace(samples=100))  # which are all in one


def test_what_a_spec_says_of_its_files_is_kept():
    fields = {"samples_per_shard": 7, "encoder": "zstd", "chunk": "sample", "compression_level": 3}
    spec = DatasetSpec.from_fields(**fields)
    assert settle_storage(spec).storage == spec.storage
    assert settle_storage(DatasetSpec()) == settle_storage(settle_storage(DatasetSpec()))
    assert settle_storage(DatasetSpec.from_fields(compression_level=3)).storage.encoder == "zstd"
    with pytest.raises(SpecError, match=r"compression_level: found 3, expected -1: the encoder 'motion'"):
        check_storage(DatasetSpec.from_fields(compression_level=3, encoder="motion"))


@given(st.integers(1, 50_000), st.integers(1, 50_000))
def test_whole_tasks_stay_when_a_store_grows(samples: int, more: int):
    spec = settle_storage(DatasetSpec.from_fields(samples=samples))
    small, large = plan_layout(spec), plan_layout(spec.replace(samples=samples + more))
    for before, after in zip(small.groups, large.groups, strict=True):
        tasks = list(before.tasks())
        assert tasks[:-1] == [after.task(index) for index in range(len(tasks) - 1)]
        for a, b in zip(before.columns, after.columns, strict=True):
            assert (a.name, a.shape[1:], a.file_shape, a.chunk_shape) == (
                b.name,
                b.shape[1:],
                b.file_shape,
                b.chunk_shape,
            )


def test_labels_are_filled_before_the_frames():
    assert [group.name for group in plan_layout(DatasetSpec()).groups] == ["labels", "video"]


def test_the_default_video_has_one_chunk_a_camera_and_250_samples_a_shard():
    column = plan_video()
    assert column.shape == (10_000, 4, 32, 3, 64, 64)
    assert column.chunk_shape == (1, 1, 32, 3, 64, 64)
    assert column.file_shape == (250, 4, 32, 3, 64, 64)
    assert column.chunk_counts == (250, 4, 1, 1, 1, 1)
    assert column.dtype == "uint8"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # a frame of 1024 × 1024 is 3 MiB, one of 512 × 512 a quarter of it
        ({"cameras": 1, "frames": 2, "height": 1024, "width": 1024}, (1, 1, 2)),
        ({"cameras": 2, "frames": 2, "height": 1024, "width": 1024}, (1, 1, 2)),
        ({"cameras": 8, "frames": 32, "height": 256, "width": 256}, (1, 1, 32)),
        ({"cameras": 2, "frames": 32, "height": 512, "width": 512}, (1, 1, 8)),
        ({"cameras": 2, "frames": 31, "height": 512, "width": 512}, (1, 1, 1)),
        ({"cameras": 2, "frames": 30, "height": 512, "width": 512}, (1, 1, 10)),
        ({"cameras": 1, "frames": 4, "height": 4096, "width": 4096}, (1, 1, 1)),
    ],
    ids=str,
)
def test_large_samples_are_split_by_camera_then_by_frames(fields: dict[str, int], expected: tuple[int, ...]):
    assert plan_video(**fields).chunk_shape[:3] == expected
    assert plan_video(**fields, chunk="sample").chunk_shape[:3] == expected


def test_the_limit_of_a_chunk_is_eight_mebibytes_inclusive():
    assert CHUNK_BYTES_MAX == 8 * MEBIBYTE
    fields = {"cameras": 2, "frames": 1, "height": 1024, "chunk": "sample"}
    below = plan_video(**fields, width=1365)  # 6 · 1024 · 1365 bytes, 2 KiB less than 8 MiB
    above = plan_video(**fields, width=1366)
    assert below.chunk_shape[1] == 2
    assert above.chunk_shape[1] == 1


@given(
    st.integers(1, 9),
    st.integers(1, 70),
    st.sampled_from([16, 64, 333, 1024, 2048]),
    st.sampled_from([16, 100, 512, 2048]),
    st.sampled_from(["camera", "sample"]),
)
def test_chunks_tile_shards_and_stay_small(cameras: int, frames: int, height: int, width: int, chunk: str):
    column = plan_video(cameras=cameras, frames=frames, height=height, width=width, chunk=chunk)
    tiled = tuple(a * b for a, b in zip(column.chunk_counts, column.chunk_shape, strict=True))
    assert tiled == column.file_shape
    frame_bytes = 3 * height * width
    assert prod(column.chunk_shape) <= max(CHUNK_BYTES_MAX, frame_bytes)
    # no larger split by frames would do
    chunk_cameras, chunk_frames = column.chunk_shape[1:3]
    if chunk == "camera":
        assert chunk_cameras == 1
    elif chunk_cameras < cameras:
        assert cameras * frames * frame_bytes > CHUNK_BYTES_MAX
    if chunk_frames < frames:
        larger = [n for n in range(chunk_frames + 1, frames + 1) if frames % n == 0]
        assert all(n * frame_bytes > CHUNK_BYTES_MAX for n in larger)


def test_names_of_files():
    layout = plan_layout(DatasetSpec())
    columns = {column.name: column for column in layout.columns}
    assert columns["video"].key(3) == "video/c.3.0.0.0.0.0"
    assert columns["position"].key(1) == "position/c.1.0.0"
    assert columns["class_label"].key(0) == "class_label/c.0"
    assert columns["video_written"].key(39) == "video_written/c.39"


def test_names_of_all_files_differ():
    layout = plan_layout(DatasetSpec.from_fields(samples=20_000))
    keys = [
        column.key(index)
        for group in layout.groups
        for column in (*group.columns, group.flags)
        for index in range(len(group))
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("fields", [{}, {"cameras": 1, "frames": 1, "height": 20, "width": 30}], ids=str)
def test_columns_are_those_that_a_scene_describes(fields: dict[str, int]):
    spec = DatasetSpec.from_fields(**fields)
    layout = plan_layout(spec)
    described = make_scene(spec, range(4)).columns
    planned = {column.name: (column.shape[1:], column.dtype) for column in layout.group("labels").columns}
    assert planned == {name: (values.shape[1:], values.dtype.name) for name, values in described.items()}
    rig = place_cameras(spec)
    static = {column.name: (column.shape, column.dtype) for column in layout.static}
    assert static == {
        name: (rig.static(name).shape, rig.static(name).dtype.name) for name in ("intrinsics", "extrinsics")
    }


def test_bytes_of_a_row_are_those_of_its_values():
    spec = DatasetSpec()
    described = make_scene(spec, range(4)).columns
    layout = plan_layout(spec)
    assert layout.group("labels").row_bytes == sum(values.nbytes for values in described.values()) // 4
    assert layout.group("video").row_bytes == 4 * 32 * 3 * 64 * 64


def test_what_is_not_written_cannot_be_taken_for_a_value():
    columns = {column.name: column for column in plan_layout(DatasetSpec()).columns}
    for column in columns.values():
        if column.dtype.startswith("float"):
            assert np.isnan(column.fill_value)
        assert len(column.dims) == len(column.shape) == len(column.chunk_shape)
    assert columns["class_label"].fill_value == columns["split"].fill_value == -1
    assert columns["video_written"].fill_value is False
    assert columns["labels_written"].fill_value is False


def test_flags_have_meanings_in_the_order_of_the_labels():
    spec = DatasetSpec.from_fields(classes=["Helical", "Linear"])
    columns = {column.name: column for column in plan_layout(spec).columns}
    assert columns["class_label"].attributes["flag_meanings"] == "Helical Linear"
    assert columns["class_label"].attributes["flag_values"] == [0, 1]
    assert columns["split"].attributes["flag_meanings"] == "train val test"
    assert columns["split"].attributes["flag_values"] == [0, 1, 2]


def test_a_frame_is_named_the_way_users_count_it():
    columns = {c.name: c for c in plan_layout(DatasetSpec.from_fields(frames=12, horizon=3)).columns}
    assert "frame 15, 3 after the last seen frame 12" in columns["future_position"].attributes["comment"]
    for name in ("video", "position", "pixel", "depth", "box"):
        assert "array index = frame - 1" in columns[name].attributes["comment"]


def test_label_tasks_stay_small_whatever_the_video_is():
    for fields in ({}, {"frames": 1000}, {"cameras": 64, "frames": 500}, {"horizon": 100_000}):
        spec = DatasetSpec.from_fields(**fields)
        labels = plan_layout(spec).group("labels")
        path_bytes = 24 * (spec.video.frames + spec.video.horizon)
        assert labels.rows_per_task * (labels.row_bytes + path_bytes) <= 1.1 * LABEL_BYTES_MAX
        assert all(column.chunk_shape[0] == labels.rows_per_task for column in labels.columns)
    assert plan_layout(DatasetSpec()).group("labels").rows_per_task == LABEL_ROWS


@pytest.mark.parametrize("fields", [{}, {"distractors": 2, "orbit": 90.0, "noise": 1.0}], ids=str)
def test_layouts_of_equal_specs_are_equal_so_that_metadata_is_rendered_once(fields: dict[str, Any]):
    one, other = (plan_layout(DatasetSpec.from_fields(**fields)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
