from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import re
import shutil
import threading
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faults import flip_bit, truncate
from support.stores import storage_at

import trajstore
from trajstore.errors import (
    CorruptDataError,
    IncompleteStoreError,
    NotAStoreError,
    RowRangeError,
    SpecError,
    StoreError,
)
from trajstore.exporters.plan import METADATA_FILE, UNFINISHED_FILE
from trajstore.reading.store import StoreReader, open_reader
from trajstore.spec import DatasetSpec
from trajstore.storage.bucket import Bucket
from trajstore.storage.location import Location

SHARD = "video/c.{}.0.0.0.0.0"
FLAG = "video_written/c.{}"


@pytest.fixture(scope="module")
def reader(tiny_store: Path) -> StoreReader:
    return open_reader(tiny_store)


@pytest.fixture(scope="module")
def dataset(tiny_store: Path) -> xarray.Dataset:
    return xarray.open_zarr(tiny_store, chunks=None).load()


@pytest.fixture(scope="module")
def split_up(tmp_path_factory: pytest.TempPathFactory, tiny_fields: dict[str, Any]) -> StoreReader:
    """A store whose samples are of four chunks each: two cameras times two pairs of frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trajstore.store.groups.video.CHUNK_BYTES_MAX", 1600)
        path = tmp_path_factory.mktemp("split") / "split.zarr"
        trajstore.build(path, **tiny_fields)
        reader = open_reader(path)
        (video,) = reader.layout.group("video").columns
        assert video.chunk_shape[:3] == (1, 1, 2)
    return reader


def in_bucket(store: Path, name: str) -> Bucket:
    """A copy of a store in a bucket, which keeps nothing between requests."""
    bucket = Bucket(Location.parse(f"memory://{name}"))
    for key in storage_at(store).list_keys():
        bucket.write(key, (store / key).read_bytes())
    return bucket


choices = st.fixed_dictionaries(
    {
        "rows": st.lists(st.integers(-44, 43), max_size=12),
        "cameras": st.none() | st.lists(st.integers(0, 1), min_size=1, max_size=3),
        "frames": st.none() | st.lists(st.integers(1, 4), min_size=1, max_size=6),
        "threads": st.integers(1, 3),
    }
)


def select(dataset: xarray.Dataset, choice: dict[str, Any]) -> np.ndarray:
    """The same selection by NumPy, frames counted from 1."""
    frames = dataset.video.values[choice["rows"]] if choice["rows"] else dataset.video.values[:0]
    if choice["cameras"] is not None:
        frames = frames[:, choice["cameras"]]
    if choice["frames"] is not None:
        frames = frames[:, :, [frame - 1 for frame in choice["frames"]]]
    return frames


@given(choice=choices)
def test_reads_what_xarray_reads(reader: StoreReader, dataset: xarray.Dataset, choice: dict[str, Any]):
    expected = select(dataset, choice)
    np.testing.assert_array_equal(reader.read(**choice), expected)
    out = np.full(expected.shape, 77, np.uint8)
    assert reader.read(out=out, **choice) is out
    np.testing.assert_array_equal(out, expected)


@given(choice=choices)
def test_reads_samples_of_several_chunks(
    split_up: StoreReader, dataset: xarray.Dataset, choice: dict[str, Any]
):
    np.testing.assert_array_equal(split_up.read(**choice), select(dataset, choice))


@given(rows=st.none() | st.lists(st.integers(-44, 43), max_size=12))
def test_reads_the_labels_that_xarray_reads(
    reader: StoreReader, dataset: xarray.Dataset, rows: list[int] | None
):
    for name in reader.columns:
        expected = dataset[name].values
        expected = expected if rows is None else expected[np.array(rows, int)]
        found = reader.column(name, rows)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_successive_rows_are_those_of_their_numbers(reader: StoreReader):
    for rows in (range(44), range(3, 9), range(5, 5), range(9, 3, -2), range(-3, 2)):
        np.testing.assert_array_equal(reader.column("box", rows), reader.column("box", list(rows)))
    with pytest.raises(RowRangeError, match="row 44 is out of range"):
        reader.column("box", range(40, 45))


def test_samples_are_read_one_after_the_other_into_one_array(reader: StoreReader, dataset: xarray.Dataset):
    out = np.empty(dataset.video.shape[1:], np.uint8)
    seen = []
    for row in reader.read_each([2, 7, 8, 43], out):
        np.testing.assert_array_equal(out, dataset.video.values[row])
        seen.append(row)
    assert seen == [2, 7, 8, 43]


def test_what_lies_before_a_damaged_sample_is_read(tiny_copy: Path, dataset: xarray.Dataset):
    reader = open_reader(tiny_copy)
    file = tiny_copy / SHARD.format(1)
    index = np.frombuffer(file.read_bytes()[-260:-4], "<u8").reshape(8, 2, 2)
    flip_bit(file, int(index[5, 1, 0]) + 3)
    out = np.empty(dataset.video.shape[1:], np.uint8)
    seen = []
    with pytest.raises(CorruptDataError, match=r"row 13 in video/c\.1\."):
        seen.extend(reader.read_each(range(6, 16), out))
    for row in reader.read_each(range(6, 13), out):
        np.testing.assert_array_equal(out, dataset.video.values[row])


def test_columns_that_are_not_stored_that_way_are_refused(reader: StoreReader):
    with pytest.raises(SpecError, match="column: found 'box', expected one of video"):
        reader.read([0], column="box")


def test_is_a_sequence_of_samples(reader: StoreReader, dataset: xarray.Dataset):
    assert len(reader) == 44
    np.testing.assert_array_equal(np.stack(list(reader)), dataset.video.values)
    for row in (-1, np.int64(3), np.uint8(3), np.array(3)):
        np.testing.assert_array_equal(reader[row], dataset.video.values[row])


@pytest.mark.parametrize("rows", [slice(4), slice(-3, None), slice(9, 2, -3), slice(40, 99), slice(5, 5)])
def test_slices_are_those_of_an_array(reader: StoreReader, dataset: xarray.Dataset, rows: slice):
    np.testing.assert_array_equal(reader[rows], dataset.video.values[rows], strict=True)


@pytest.mark.parametrize("row", [[3, 1], np.array([3, 1]), "3", 3.0, None, (0, 1)])
def test_what_is_no_row_is_refused_with_a_way_to_read_several(reader: StoreReader, row: Any):
    with pytest.raises(
        SpecError, match=r"row: found a \w+, expected an integer or a slice; .*read\(\[3, 1\]\)"
    ):
        reader[row]


def test_split_rows_are_those_of_the_column(reader: StoreReader, dataset: xarray.Dataset):
    for number, name in enumerate(("train", "val", "test")):
        np.testing.assert_array_equal(reader.split_rows(name), np.flatnonzero(dataset.split.values == number))
    np.testing.assert_array_equal(reader.split_rows(None), np.arange(44))


def test_labels_of_several_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_fields: dict[str, Any]
):
    monkeypatch.setattr("trajstore.store.groups.labels.LABEL_ROWS", 10)
    trajstore.build(tmp_path / "s.zarr", **tiny_fields | {"samples": 45})
    rows = [44, 0, 9, 10, 10, 39, 40]
    expected = xarray.open_zarr(tmp_path / "s.zarr", chunks=None).box.values
    reader = open_reader(tmp_path / "s.zarr")
    np.testing.assert_array_equal(reader.column("box", rows), expected[rows])
    np.testing.assert_array_equal(reader.column("box"), expected)


@pytest.mark.parametrize("row", [44, -45, 10**12])
def test_row_out_of_range(reader: StoreReader, row: int):
    for read in (lambda: reader[row], lambda: reader.read([0, row]), lambda: reader.column("split", [row])):
        with pytest.raises(RowRangeError, match=rf"row {row} is out of range, expected 0 … 43$") as caught:
            read()
        assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [0.5]}, "rows: found float64"),
        ({"rows": [[0]]}, r"rows: found int64 of shape \(1, 1\)"),
        (
            {"rows": [0], "cameras": [2]},
            r"no camera 2, expected some of 0 … 1 \(cameras are counted from 0\)",
        ),
        ({"rows": [0], "cameras": [-1]}, "no camera -1"),
        ({"rows": [0], "cameras": []}, "no camera at all"),
        ({"rows": [0], "cameras": ["left"]}, "cameras: found"),
        ({"rows": [0], "frames": [0]}, r"no frame 0, expected some of 1 … 4 \(frames are counted from 1\)"),
        ({"rows": [0], "frames": [5]}, "no frame 5"),
        (
            {"rows": [0], "out": np.empty((1, 2, 4, 3, 16, 15), np.uint8)},
            r"expected uint8 of shape \(1, 2, 4",
        ),
        ({"rows": [0], "out": np.empty((1, 2, 4, 3, 16, 16), np.int8)}, "found int8"),
        ({"rows": [0], "out": np.empty((1, 2, 4, 3, 16, 32), np.uint8)[..., ::2]}, "not C-contiguous"),
    ],
)
def test_refuses_what_does_not_fit(reader: StoreReader, arguments: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message):
        reader.read(**arguments)


def test_refuses_unknown_columns_splits_and_threads(reader: StoreReader, tiny_store: Path):
    with pytest.raises(SpecError, match="found 'video', expected one of class_label"):
        reader.column("video")
    with pytest.raises(SpecError, match="found 'training', expected one of train, val, test"):
        reader.split_rows("training")
    with pytest.raises(SpecError, match="threads: found 0"):
        open_reader(tiny_store, threads=0)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("nothing", "found nothing, expected a trajstore store; make one with: trajstore build .*nothing"),
        ("empty", "found no zarr.json, .*; make one with: trajstore build .*empty"),
        ("export", "found an export, .* check it with: trajstore validate .*export"),
        ("unfinished", "found an export, .* check it with: trajstore validate .*unfinished"),
        (
            "spec.toml",
            "found a file, .* build a store from it with: trajstore build NAME.zarr --spec .*spec.toml",
        ),
        ("dataset.h5", r'found a file, .*: xarray.open_dataset\("dataset.h5", engine="h5netcdf"\)'),
        ("zarr.json", "found a file, expected a trajstore store; name the folder of a store"),
    ],
)
def test_refuses_what_is_no_store_and_says_what_to_do(tmp_path: Path, name: str, found: str):
    for folder in ("empty", "export", "unfinished"):
        (tmp_path / folder).mkdir()
    files = (
        f"export/{METADATA_FILE}",
        f"unfinished/{UNFINISHED_FILE}",
        "spec.toml",
        "dataset.h5",
        "zarr.json",
    )
    for file in files:
        (tmp_path / file).touch()
    for open_store in (trajstore.open, open_reader):
        with pytest.raises(NotAStoreError, match=found):
            open_store(tmp_path / name)


@pytest.mark.parametrize("path", [None, 3, b"a.zarr", {"samples": 3}, DatasetSpec()])
def test_refuses_what_is_no_path(path: Any):
    for open_store in (trajstore.open, open_reader):
        with pytest.raises(
            SpecError, match=rf"found a {type(path).__name__}, .*trajstore\.build\(path, spec\)"
        ):
            open_store(path)


def test_unwritten_rows_are_an_error_until_they_are_written(tiny_copy: Path, dataset: xarray.Dataset):
    flag = tiny_copy / FLAG.format(2)
    content = flag.read_bytes()
    flag.unlink()
    reader = open_reader(tiny_copy)
    assert reader.written_rows() == reader.written_rows("video", "split") == (range(16), range(24, 44))
    assert reader.written_rows("split") == (range(44),)
    for rows in ([16], [0, 23]):
        with pytest.raises(IncompleteStoreError, match=r"rows 16 … 23 .* trajstore build .*copy\.zarr$"):
            reader.read(rows)
    np.testing.assert_array_equal(reader.read([15, 24]), dataset.video.values[[15, 24]])
    flag.write_bytes(content)
    np.testing.assert_array_equal(reader[16], dataset.video.values[16])


def test_damaged_flag_means_not_written(tiny_copy: Path):
    flip_bit(tiny_copy / FLAG.format(0), 1)
    with pytest.raises(IncompleteStoreError):
        open_reader(tiny_copy)[0]


def test_unwritten_labels_are_an_error(tiny_copy: Path):
    (tiny_copy / "labels_written/c.0").unlink()
    with pytest.raises(IncompleteStoreError, match=r"rows 0 … 43 of the labels .* trajstore build"):
        open_reader(tiny_copy).column("split")


@settings(max_examples=30)
@given(offset=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_a_sample(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_store: Path,
    dataset: xarray.Dataset,
    offset: int,
    bit: int,
):
    path = tmp_path_factory.mktemp("flip") / "copy.zarr"
    shutil.copytree(tiny_store, path)
    file = path / SHARD.format(1)
    flip_bit(file, offset % file.stat().st_size, bit)
    reader = open_reader(path)
    messages: dict[int, str] = {}
    for row in range(8, 16):
        try:
            np.testing.assert_array_equal(reader[row], dataset.video.values[row])
        except CorruptDataError as error:
            messages[row] = str(error)
    assert len(messages) in (1, 8)
    for row, message in messages.items():
        assert re.search(f"row {row} in {SHARD.format(1)}: .*trajstore repair {path}", message)
    shutil.rmtree(path.parent)


def test_reader_goes_on_after_a_repair(tiny_store: Path, tiny_copy: Path, dataset: xarray.Dataset):
    file = tiny_copy / SHARD.format(1)
    flip_bit(file, 5)
    reader = open_reader(tiny_copy)
    reader[15]
    with pytest.raises(
        CorruptDataError, match=r"row 8 in video/c\.1\.0\.0\.0\.0\.0: the checksum of the chunk"
    ):
        reader[8]
    shutil.copy(tiny_store / SHARD.format(1), tiny_copy / "new")
    (tiny_copy / "new").replace(file)
    np.testing.assert_array_equal(reader[8], dataset.video.values[8])


def test_shard_that_is_replaced_by_one_with_other_offsets_is_read_anew(
    tiny_copy: Path, tiny_fields: dict[str, Any], dataset: xarray.Dataset, tmp_path: Path
):
    trajstore.build(tmp_path / "other.zarr", **tiny_fields, compression_level=9)
    bucket = in_bucket(tiny_copy, "replaced")
    reader = open_reader(bucket.location)
    reader[9]
    bucket.write(SHARD.format(1), (tmp_path / "other.zarr" / SHARD.format(1)).read_bytes())
    np.testing.assert_array_equal(reader.read(range(8, 16)), dataset.video.values[8:16])


@pytest.mark.parametrize("size", [0, 3, 100])
def test_truncated_shard(tiny_copy: Path, size: int):
    truncate(tiny_copy / SHARD.format(0), size)
    with pytest.raises(CorruptDataError, match=r"row 3 in .*trajstore repair"):
        open_reader(tiny_copy)[3]


def test_missing_files_that_are_flagged_as_written(tiny_copy: Path):
    (tiny_copy / SHARD.format(0)).unlink()
    (tiny_copy / "class_label/c.0").unlink()
    reader = open_reader(tiny_copy)
    with pytest.raises(CorruptDataError, match=r"row 7 in video.*file is missing.*trajstore repair"):
        reader[7]
    with pytest.raises(CorruptDataError, match=r"column class_label in class_label/c\.0.*file is missing"):
        reader.column("class_label")


def test_damaged_labels(tiny_copy: Path):
    flip_bit(tiny_copy / "box/c.0.0.0.0", 5)
    with pytest.raises(CorruptDataError, match=r"column box in box/c\.0\.0\.0\.0.*trajstore repair"):
        open_reader(tiny_copy).column("box")


def test_shard_that_does_not_hold_a_sample(tiny_copy: Path):
    # the shard of the last, shorter task has room for eight samples and holds four
    shutil.copy(tiny_copy / SHARD.format(5), tiny_copy / SHARD.format(0))
    with pytest.raises(CorruptDataError, match="the shard does not hold the sample"):
        open_reader(tiny_copy)[7]


def test_file_without_permission(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch):
    """As the system answers anybody but root."""
    reader, opened = open_reader(tiny_copy), os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path) == str(tiny_copy / SHARD.format(0)):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match="Permission denied"):
        reader[0]


def test_store_that_grows_while_open(
    tiny_copy: Path, tiny_fields: dict[str, Any], dataset: xarray.Dataset, tmp_path: Path
):
    reader = open_reader(tiny_copy)
    reader.read([0, 40, 43])
    trajstore.build(tmp_path / "grown.zarr", **tiny_fields | {"samples": 60})
    for file in sorted((tmp_path / "grown.zarr").rglob("*")):
        if file.is_file():
            (tiny_copy / file.relative_to(tmp_path / "grown.zarr")).parent.mkdir(exist_ok=True)
            file.replace(tiny_copy / file.relative_to(tmp_path / "grown.zarr"))
    assert len(reader) == 44
    np.testing.assert_array_equal(reader.read(range(44)), dataset.video.values)
    np.testing.assert_array_equal(reader.column("split"), dataset.split.values)
    with pytest.raises(RowRangeError, match=r"row 50 .* has grown to 60 samples since: open it again"):
        reader[50]
    assert open_reader(tiny_copy)[50].any()


def test_closed_reader_says_so(tiny_store: Path):
    with open_reader(tiny_store) as reader:
        reader[0]
    columns = (partial(reader.column, name) for name in ("split", "intrinsics"))
    for read in (lambda: reader[0], *columns, reader.written_rows):
        with pytest.raises(StoreError, match="the reader is closed"):
            read()


def test_cameras_are_those_of_the_store(reader: StoreReader, dataset: xarray.Dataset):
    intrinsics, extrinsics = reader.calibration()
    np.testing.assert_array_equal(intrinsics, dataset.intrinsics.values)
    np.testing.assert_array_equal(extrinsics, dataset.extrinsics.values)
    intrinsics[:] = extrinsics[:] = 0  # the caller's own
    np.testing.assert_array_equal(reader.calibration()[0], dataset.intrinsics.values)


def test_cameras_are_columns_that_repeat_without_a_copy(reader: StoreReader, dataset: xarray.Dataset):
    for name in ("intrinsics", "extrinsics"):
        for rows, count in ((None, 44), ([3, -1], 2), (range(5), 5), ([7], 1), ([], 0)):
            found = reader.column(name, rows)
            np.testing.assert_array_equal(found, np.repeat(dataset[name].values[None], count, axis=0))
            assert found.base is not None
        assert found.strides[0] == 0
        with pytest.raises(RowRangeError):
            reader.column(name, [44])
    assert reader.written_rows("intrinsics", "box") == reader.written_rows("intrinsics") == (range(44),)


def test_cameras_are_read_once(tiny_copy: Path):
    reader = open_reader(tiny_copy)
    expected = reader.column("extrinsics", [0])
    (tiny_copy / "extrinsics" / "c.0.0.0").unlink()
    np.testing.assert_array_equal(reader.column("extrinsics", [5]), expected)


def test_damaged_cameras_are_refused(tiny_copy: Path):
    flip_bit(tiny_copy / "extrinsics" / "c.0.0.0", 30)
    with pytest.raises(CorruptDataError, match=r"extrinsics/c\.0\.0\.0: the checksum .*trajstore repair"):
        open_reader(tiny_copy).calibration()


def test_shards_that_do_not_exist_are_not_written(reader: StoreReader):
    assert [reader.is_written(shard) for shard in (-1, 0, 5, 6)] == [False, True, True, False]


def test_pickles_small_and_without_open_files(tiny_store: Path, dataset: xarray.Dataset):
    reader = open_reader(tiny_store)
    reader.read(range(44))
    reader.column("box")
    data = pickle.dumps(reader)
    assert len(data) < 10_000
    np.testing.assert_array_equal(pickle.loads(data)[7], dataset.video.values[7])


def test_relative_path_survives_a_change_of_folder(tiny_store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tiny_store.parent)
    reader = open_reader(tiny_store.name)
    monkeypatch.chdir("/")
    assert reader[0].any()


def test_children_that_are_forked_while_threads_read(tiny_store: Path):
    reader = open_reader(tiny_store)
    expected = reader.read(range(44)).copy()
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            reader.read(range(0, 44, 7), threads=1)
            reader.column("class_label", [3])

    def check() -> None:
        os._exit(0 if (reader.read(range(44)) == expected).all() else 1)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with warnings.catch_warnings():
            # what Python 3.12 and later warn of is what is tested here
            warnings.simplefilter("ignore", DeprecationWarning)
            context = multiprocessing.get_context("fork")
            children = [context.Process(target=check) for _ in range(10)]
            for child in children:
                child.start()
        for child in children:
            child.join(60)
            child.kill()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [child.exitcode for child in children] == [0] * 10


@pytest.mark.parametrize("threads", [1, 3])
def test_asks_a_bucket_for_no_more_than_it_needs(
    threads: int, tiny_store: Path, dataset: xarray.Dataset, monkeypatch: pytest.MonkeyPatch
):
    requests: Counter[str] = Counter()

    def count(name: str) -> None:
        original = getattr(Bucket, name)

        def counted(self: Bucket, *arguments: Any) -> Any:
            requests[name] += 1
            return original(self, *arguments)

        monkeypatch.setattr(Bucket, name, counted)

    reader = open_reader(in_bucket(tiny_store, f"counted-{threads}").location, threads=threads)
    for name in ("read", "read_tail", "read_ranges"):
        count(name)
    rows = np.random.default_rng(0).permutation(16)
    for _ in range(2):
        np.testing.assert_array_equal(reader.read(rows), dataset.video.values[rows])
    if threads == 1:
        # of each of two shards its flag and its index, once, and all of its samples in one go each time
        assert requests == {"read": 2, "read_tail": 2, "read_ranges": 2 * 2}
    else:
        assert requests["read_ranges"] <= 2 * (threads + 1)


def test_coordinates_have_the_names_of_the_dimensions_that_there_are(
    world_store: Path, tiny_store: Path, tmp_path: Path
):
    half = Path(shutil.copytree(world_store, tmp_path / "half.zarr"))
    shutil.rmtree(half / "labels_written")
    shutil.copytree(world_store / "labels_written", half / "labels_written", ignore=lambda *_: ["c.0"])
    for column in trajstore.open_reader(half).columns:
        for path in (half / column).glob("c.*"):
            path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, world, unwritten = (trajstore.open(path).load() for path in (tiny_store, world_store, half))
    assert "body" not in plain.coords
    assert "quaternion" not in plain.coords
    for dataset in (world, unwritten):
        assert dataset.coords["body"].values.tolist() == [0, 1, 2, 3, 4]
        assert dataset.coords["quaternion"].values.tolist() == ["w", "x", "y", "z"]
    assert unwritten.labels_written.values.tolist() == [False]
    assert unwritten.visible_pixels.dtype == "int32"
    assert not unwritten.in_view.values.any()
    assert np.isnan(unwritten.body_position.values).all()
    assert (unwritten.body_role.values == -1).all()
    # unit quaternions, and shapes by their names
    w, x, y, z = (world.body_orientation.sel(body=0, quaternion=part) for part in "wxyz")
    np.testing.assert_allclose(w * w + x * x + y * y + z * z, 1.0, rtol=1e-6)
    named = dict(enumerate(world.body_shape.attrs["flag_meanings"].split()))
    assert {named[code] for code in world.body_shape.sel(body=0).values} <= {
        "sphere",
        "cube",
        "cylinder",
        "cone",
    }
    assert world.body_role.attrs["flag_meanings"] == "target distractor transient"


def test_captions_are_of_the_rows_that_are_asked_for(world_store: Path, tiny_store: Path):
    for path in (world_store, tiny_store):
        reader = trajstore.open_reader(path)
        every = reader.captions(range(44))
        assert every == [trajstore.caption(reader.spec, row) for row in range(44)]
        for rows in ([], [7], [3, 4, 5, 43, 0, 3], [-1, -44]):
            assert reader.captions(rows) == [every[row] for row in rows]
        with pytest.raises(RowRangeError, match="row 44 is out of range"):
            reader.captions([44])
