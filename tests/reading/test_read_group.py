"""Annotations are read as frames are: the same rows, cameras and frames, checks and errors, from a store or drawn."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.faults import flip_bit

import trajstore
from trajstore.errors import CorruptDataError, IncompleteStoreError, RowRangeError, SpecError
from trajstore.reading.generator import SampleGenerator
from trajstore.reading.store import StoreReader, open_reader
from trajstore.scene.scene import make_scene
from trajstore.spec import ANNOTATIONS
from trajstore.store.groups.annotations import ARRAYS

NAMES = {name: [array.name for array in arrays] for name, arrays in ARRAYS.items()}
DIMS = {array.name: array.dims.split() for arrays in ARRAYS.values() for array in arrays}

Arrays = dict[str, np.ndarray]

choices = st.fixed_dictionaries(
    {
        "rows": st.lists(st.integers(-44, 43), max_size=8),
        "cameras": st.none() | st.lists(st.integers(0, 1), min_size=1, max_size=3),
        "frames": st.none() | st.lists(st.integers(1, 4), min_size=1, max_size=6),
        "threads": st.integers(1, 3),
    }
)
names = st.sampled_from(ANNOTATIONS)


@pytest.fixture(scope="module")
def reader(annotated_store: Path) -> StoreReader:
    return open_reader(annotated_store)


@pytest.fixture(scope="module")
def generator(reader: StoreReader) -> SampleGenerator:
    """Of a spec that asks for no annotations."""
    return SampleGenerator(reader.spec.replace(groups=[]))


@pytest.fixture(scope="module")
def drawn(reader: StoreReader) -> Arrays:
    """What the scene says of all rows."""
    scene, every = make_scene(reader.spec, range(44)), slice(None)
    rows = [scene.annotate(row, list(DIMS), every, every) for row in range(44)]
    return {name: np.stack([row[name] for row in rows]) for name in DIMS}


@pytest.fixture(scope="module")
def split_up(tmp_path_factory: pytest.TempPathFactory, reader: StoreReader) -> StoreReader:
    """A store whose pictures are of two chunks for each camera."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trajstore.store.groups.video.CHUNK_BYTES_MAX", 2 * 12 * 16 * 16)
        path = tmp_path_factory.mktemp("split") / "split.zarr"
        trajstore.build(path, reader.spec)
        split = open_reader(path)
        assert split.layout.column("amodal").chunk_shape == (1, 1, 1, 2, 16, 16)
        assert split.layout.column("normals").chunk_shape == (1, 1, 2, 3, 16, 16)
    return split


@pytest.fixture
def copy(annotated_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(annotated_store, tmp_path / "copy.zarr"))


def select(values: np.ndarray, dims: list[str], choice: dict[str, Any]) -> np.ndarray:
    """The same selection by NumPy, along the dimensions that there are."""
    values = values[np.array(choice["rows"], int)]
    for dim, first in (("camera", 0), ("frame", 1)):
        chosen = choice[f"{dim}s"]
        if dim in dims and chosen is not None:
            values = values.take([number - first for number in chosen], axis=1 + dims.index(dim))
    return values


def assert_equal(found: Arrays, name: str, drawn: Arrays, choice: dict[str, Any]) -> None:
    assert list(found) == NAMES[name]
    for array, values in found.items():
        assert values.dtype == drawn[array].dtype
        np.testing.assert_array_equal(values, select(drawn[array], DIMS[array], choice), err_msg=array)


@given(name=names, choice=choices)
def test_reads_what_the_scene_says(
    reader: StoreReader, drawn: Arrays, name: str, choice: dict[str, Any]
) -> None:
    found = reader.read_group(name, **choice)
    assert_equal(found, name, drawn, choice)
    out = {array: np.full(values.shape, 1, values.dtype) for array, values in found.items()}
    given = reader.read_group(name, out=out, **choice)
    assert all(given[array] is out[array] for array in out)
    assert_equal(given, name, drawn, choice)


@given(name=names, choice=choices)
def test_reads_samples_of_several_chunks(
    split_up: StoreReader, drawn: Arrays, name: str, choice: dict[str, Any]
) -> None:
    assert_equal(split_up.read_group(name, **choice), name, drawn, choice)


@settings(max_examples=25)
@given(name=names, choice=choices)
def test_draws_what_is_stored_without_a_store(
    generator: SampleGenerator, drawn: Arrays, name: str, choice: dict[str, Any]
) -> None:
    assert_equal(generator.read_group(name, **choice), name, drawn, choice)


def test_frames_are_a_group_and_an_array_is_one_of_itself(reader: StoreReader) -> None:
    rows, choice = [7, 3], {"cameras": [1], "frames": [2, 3]}
    (video,) = reader.read_group("video", rows, **choice).values()
    np.testing.assert_array_equal(video, reader.read(rows, **choice))
    found = reader.read_group("backward_flow", rows, **choice)
    assert list(found) == ["backward_flow"]
    flow = reader.read_group("flow", rows, **choice)["backward_flow"]
    np.testing.assert_array_equal(found["backward_flow"], flow)
    np.testing.assert_array_equal(reader.read(rows, column="backward_flow", **choice), flow)


def test_rows_come_one_after_the_other(reader: StoreReader, drawn: Arrays) -> None:
    out = np.empty(drawn["amodal"].shape[1:], bool)
    for row in reader.read_each([2, 7, 8, 43], out, column="amodal"):
        np.testing.assert_array_equal(out, drawn["amodal"][row])


def test_what_is_not_there_names_the_command(tiny_copy: Path) -> None:
    trajstore.annotate(tiny_copy, "segmentation")
    reader = open_reader(tiny_copy)
    absent = rf"found '{{}}', expected one of video, segmentation; add it with: trajstore annotate {tiny_copy} {{}}$"
    for name, group in (("depth_map", "depth_map"), ("flow", "flow"), ("occluded", "tracks")):
        with pytest.raises(SpecError, match="group: " + absent.format(name, group)):
            reader.read_group(name, [0])
        if name != group:
            with pytest.raises(SpecError, match="column: " + absent.format(name, group)):
                reader.read([0], column=name)
    for name in ("box", "labels", "masks"):
        with pytest.raises(SpecError, match=f"group: found '{name}', expected one of video, segmentation$"):
            reader.read_group(name, [0])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("flow", {"cameras": [2]}, "no camera 2"),
        ("flow", {"frames": [0]}, "no frame 0"),
        ("tracks", {"frames": [5]}, "no frame 5"),
        ("flow", {"out": {}}, "out: found nothing, expected forward_flow, backward_flow"),
        ("segmentation", {"out": {"video": np.zeros(1)}}, "out: found video, expected segmentation"),
        (
            "segmentation",
            {"out": {"segmentation": np.empty((1, 2, 4, 16, 16), bool)}},
            r"out: found bool of shape .*, expected uint8 of shape \(1, 2, 4, 16, 16\)",
        ),
    ],
)
def test_refuses_what_does_not_fit(
    reader: StoreReader, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        reader.read_group(name, [0], **arguments)


def test_single_arrays_without_frames_are_not_asked_for_some(reader: StoreReader) -> None:
    with pytest.raises(SpecError, match="column query_points has no dimension 'frame'; leave it out"):
        reader.read([0], column="query_points", frames=[1])


def test_row_out_of_range(reader: StoreReader, generator: SampleGenerator) -> None:
    for samples in (reader, generator):
        with pytest.raises(RowRangeError, match="row 44 is out of range"):
            samples.read_group("amodal", [0, 44])


def test_unwritten_rows_are_an_error_until_they_are_written(copy: Path, drawn: Arrays) -> None:
    flag = copy / "flow_written/c.2"
    content = flag.read_bytes()
    flag.unlink()
    reader = open_reader(copy)
    for written in (reader.written_rows(), reader.written_rows("video", "backward_flow")):
        assert written == (range(16), range(24, 44))
    assert reader.written_rows("video", "segmentation") == (range(44),)
    with pytest.raises(
        IncompleteStoreError, match=r"rows 16 … 23 of the flow .* trajstore build .*copy\.zarr$"
    ):
        reader.read_group("flow", [0, 23])
    assert_equal(
        reader.read_group("segmentation", [23]),
        "segmentation",
        drawn,
        {"rows": [23], "cameras": None, "frames": None},
    )
    flag.write_bytes(content)
    np.testing.assert_array_equal(
        reader.read_group("flow", [16])["forward_flow"][0], drawn["forward_flow"][16]
    )


@settings(max_examples=30)
@given(name=names, offset=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_read_as_an_annotation(
    tmp_path_factory: pytest.TempPathFactory,
    annotated_store: Path,
    drawn: Arrays,
    name: str,
    offset: int,
    bit: int,
) -> None:
    array = NAMES[name][-1]
    copy = tmp_path_factory.mktemp("flipped") / "copy.zarr"
    shutil.copytree(annotated_store, copy)
    (file,) = (copy / array).glob("c.1.*")
    flip_bit(file, offset % file.stat().st_size, bit)
    reader = open_reader(copy)
    messages = []
    for row in range(8, 16):
        try:
            found = reader.read_group(array, [row])[array]
        except CorruptDataError as error:
            messages.append(str(error))
        else:
            np.testing.assert_array_equal(found[0], drawn[array][row])
    assert messages
    assert all(file.name in message and f"trajstore repair {copy}" in message for message in messages)
    shutil.rmtree(copy)


def test_readers_and_generators_pickle_small(
    reader: StoreReader, generator: SampleGenerator, drawn: Arrays
) -> None:
    for samples in (reader, generator):
        samples.read_group("normals", range(44))
        data = pickle.dumps(samples)
        assert len(data) < 20_000
        found = pickle.loads(data).read_group("normals", [5])["normals"]
        np.testing.assert_array_equal(found[0], drawn["normals"][5])


def test_reading_annotations_loads_neither_zarr_nor_numba(annotated_store: Path) -> None:
    program = (
        f"import sys, trajstore\n"
        f"trajstore.open_reader({str(annotated_store)!r}).read_group('segmentation', [0])\n"
        "print({'zarr', 'numba', 'xarray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
