"""Validation finds every fault that it knows, runs nothing it finds, and reads folders of other programs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from support.export_faults import TINY, run_command

import trajstore
from trajstore.errors import ExportError, InterruptedBuildError, StoreError
from trajstore.exporters.faults import FAULTS
from trajstore.exporters.records import ExportRecord, Label

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validate") / "tiny.zarr"
    trajstore.build(path, **TINY)
    return path


@pytest.fixture(scope="module")
def reference(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validate") / "reference"
    trajstore.export(store, path)
    return path


@pytest.fixture
def folder(reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reference, tmp_path / "folder"))


@pytest.fixture(scope="module")
def annotated(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store with annotations."""
    path = Path(shutil.copytree(store, tmp_path_factory.mktemp("validate") / "annotated.zarr"))
    trajstore.annotate(path, "segmentation", "depth_map")
    return path


@pytest.fixture(scope="module")
def annotated_reference(annotated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validate") / "annotated"
    trajstore.export(annotated, path)
    return path


@pytest.fixture
def annotated_folder(annotated_reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(annotated_reference, tmp_path / "folder"))


@pytest.fixture
def foreign(store: Path, tmp_path: Path) -> Path:
    """The plain layout with the required keys only, as any program may write it."""
    folder = tmp_path / "foreign"
    (folder / "videos").mkdir(parents=True)
    (folder / "labels").mkdir()
    group: Any = zarr.open_group(store, mode="r")
    for row in range(12):
        torch.save(torch.from_numpy(group["video"][row]), folder / f"videos/sample_{row:04d}.pt")
        label = {
            "class_label": int(group["class_label"][row]),
            "future_position": group["future_position"][row].tolist(),
        }
        (folder / f"labels/sample_{row:04d}.json").write_text(json.dumps(label))
    metadata = {
        "total_samples": 12,
        "class_distribution": {"Linear": 3, "Circular": 3, "Helical": 3, "Parabolic": 3},
        "generation_time_seconds": 448.0,
        "timestamp": "2024-05-01 12:00:00",
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def video(folder: Path, row: int) -> Path:
    return folder / f"videos/sample_{row:04d}.pt"


def annotation(folder: Path, row: int) -> Path:
    return folder / f"annotations/sample_{row:04d}.pt"


def change_arrays(path: Path, **arrays: Any) -> None:
    """Change tensors of a file of annotations; None removes one."""
    found = torch.load(path, weights_only=True) | arrays
    torch.save({name: tensor for name, tensor in found.items() if tensor is not None}, path)


def label(folder: Path, row: int) -> Path:
    return folder / f"labels/sample_{row:04d}.json"


def change(path: Path, **fields: Any) -> None:
    """Change fields of a JSON file; None removes one."""
    data = json.loads(path.read_bytes()) | fields
    path.write_text(json.dumps({name: value for name, value in data.items() if value is not None}))


def save(path: Path, tensor: Any) -> None:
    torch.save(tensor, path)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class Malicious:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


SHAPE = (2, 4, 3, 16, 16)

Plant = Callable[[Path], object]
PLANTED: list[tuple[str, Plant, dict[str, int]]] = [
    ("unfinished", lambda f: (f / "unfinished.json").write_text("{}"), {"unfinished": 1}),
    ("metadata is missing", lambda f: (f / "metadata.json").unlink(), {"metadata-missing": 1}),
    ("metadata is no JSON", lambda f: (f / "metadata.json").write_text("{"), {"metadata-invalid": 1}),
    (
        "metadata lacks a key",
        lambda f: change(f / "metadata.json", total_samples=None),
        {"metadata-invalid": 1},
    ),
    ("metadata counts others", lambda f: change(f / "metadata.json", total_samples=43), {"metadata-mismatch": 1}),
    (
        "metadata counts classes wrongly",
        lambda f: change(f / "metadata.json", class_distribution={"Linear": 44}),
        {"metadata-mismatch": 1},
    ),
    ("a video is missing", lambda f: video(f, 7).unlink(), {"video-missing": 1, "metadata-mismatch": 1}),
    ("a label is missing", lambda f: label(f, 7).unlink(), {"label-missing": 1, "metadata-mismatch": 2}),
    (
        "a video too many",
        lambda f: shutil.copy(video(f, 0), video(f, 44)),
        {"surplus": 1},
    ),
    ("a label too many", lambda f: shutil.copy(label(f, 0), label(f, 44)), {"surplus": 1}),
    ("the same row twice", lambda f: shutil.copy(video(f, 0), f / "videos/sample_00000.pt"), {"surplus": 1}),
    ("a strange file", lambda f: (f / "notes.txt").write_text(""), {"surplus": 1}),
    ("a temporary file", lambda f: (f / "videos/sample_0001.pt.x~1~2.partial").write_text(""), {"surplus": 1}),
    ("a folder for a video", lambda f: (video(f, 1).unlink(), video(f, 1).mkdir()),
     {"surplus": 1, "video-missing": 1, "metadata-mismatch": 1}),
    ("a truncated video", lambda f: os.truncate(video(f, 5), 5000), {"video-unreadable": 1}),
    ("an empty video", lambda f: os.truncate(video(f, 5), 0), {"video-unreadable": 1}),
    ("text for a video", lambda f: video(f, 5).write_text("hello"), {"video-unreadable": 1}),
    ("no tensor", lambda f: save(video(f, 5), {"frames": 1}), {"video-unreadable": 1}),
    ("malicious", lambda f: save(video(f, 5), Malicious(f.parent / "trace")), {"video-unsafe": 1}),
    (
        "malicious without an archive",
        lambda f: video(f, 5).write_bytes(pickle.dumps(Malicious(f.parent / "trace"), protocol=2)),
        {"video-unsafe": 1},
    ),
    ("another shape", lambda f: save(video(f, 5), torch.zeros(SHAPE[1:], dtype=torch.uint8)), {"video-shape": 1}),
    ("another size", lambda f: save(video(f, 5), torch.zeros((2, 4, 3, 16, 8), dtype=torch.uint8)),
     {"video-shape": 1}),
    ("the other dtype", lambda f: save(video(f, 5), torch.zeros(SHAPE)), {"video-dtype": 1}),
    ("an unknown dtype", lambda f: save(video(f, 5), torch.zeros(SHAPE).double()), {"video-dtype": 1}),
    ("a view", lambda f: save(video(f, 5), torch.zeros((2, *SHAPE), dtype=torch.uint8)[0]), {"video-storage": 1}),
    ("a bit of the frames", lambda f: flip(video(f, 5), 4000), {"video-checksum": 1}),
    ("a bit of the pickle", lambda f: flip(video(f, 5), 100), {"video-checksum": 1}),
    ("a label that is no JSON", lambda f: label(f, 9).write_text("class 3"),
     {"label-unreadable": 1, "metadata-mismatch": 2}),
    ("an empty label", lambda f: label(f, 9).write_text(""), {"label-unreadable": 1, "metadata-mismatch": 2}),
    ("NaN in a label", lambda f: label(f, 9).write_text('{"class_label": 0, "future_position": [NaN, 0, 0]}'),
     {"label-invalid": 1, "metadata-mismatch": 2}),
    ("an unknown class", lambda f: change(label(f, 9), class_label=4, class_name=None),
     {"label-mismatch": 1, "metadata-mismatch": 1}),
    ("an impossible class", lambda f: change(label(f, 9), class_label=127),
     {"label-invalid": 1, "metadata-mismatch": 2}),
    ("bodies that the spec does not ask for", lambda f: change(label(f, 9), bodies=[]), {"label-mismatch": 1}),
    ("a short position", lambda f: change(label(f, 9), future_position=[1.0, 2.0]),
     {"label-invalid": 1, "metadata-mismatch": 2}),
    ("a class by its name", lambda f: change(label(f, 9), class_label="Linear"),
     {"label-invalid": 1, "metadata-mismatch": 2}),
    ("another name", lambda f: change(label(f, 9), class_name="Spiral"), {"label-mismatch": 1}),
    ("positions of other frames", lambda f: change(label(f, 9), positions=[[0.0, 0.0, 0.0]]), {"label-mismatch": 1}),
    (
        "one class only",
        lambda f: [change(label(f, row), class_label=0, class_name="Linear") for row in range(44)],
        {"class-balance": 1, "metadata-mismatch": 1},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "expected"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED]
)
def test_each_planted_fault_is_found_and_no_other(
    folder: Path, plant: Plant, expected: dict[str, int]
) -> None:
    plant(folder)
    report = trajstore.validate(folder)
    assert report.fault_counts == expected
    assert report.fault_count == len(report.faults) == sum(expected.values())
    assert not report.is_valid
    assert not (folder.parent / "trace").exists()
    assert all(fault.detail and "\n" not in fault.detail for fault in report.faults)


SEEN = SHAPE[:2] + SHAPE[3:]
ANNOTATED: list[tuple[str, Plant, dict[str, int]]] = [
    ("missing", lambda f: annotation(f, 7).unlink(), {"annotation-missing": 1}),
    ("too many", lambda f: shutil.copy(annotation(f, 0), annotation(f, 44)), {"surplus": 1}),
    ("truncated", lambda f: os.truncate(annotation(f, 5), 5000), {"annotation-unreadable": 1}),
    ("a tensor", lambda f: shutil.copy(video(f, 5), annotation(f, 5)), {"annotation-unreadable": 1}),
    ("numbers", lambda f: save(annotation(f, 5), {"segmentation": 1}), {"annotation-unreadable": 1}),
    ("malicious", lambda f: save(annotation(f, 5), Malicious(f.parent / "trace")), {"annotation-unsafe": 1}),
    ("one array less", lambda f: change_arrays(annotation(f, 5), depth_map=None), {"annotation-shape": 1}),
    (
        "one array more",
        lambda f: change_arrays(annotation(f, 5), normals=torch.zeros(1)),
        {"annotation-shape": 1},
    ),
    (
        "other shapes and types",
        lambda f: change_arrays(
            annotation(f, 5), segmentation=torch.zeros(SEEN), depth_map=torch.zeros(SEEN[1:])
        ),
        {"annotation-shape": 2},
    ),
    (
        "an unknown type",
        lambda f: change_arrays(annotation(f, 5), depth_map=torch.zeros(SEEN).double()),
        {"annotation-dtype": 1},
    ),
    (
        "a view",
        lambda f: change_arrays(annotation(f, 5), depth_map=torch.zeros((2, *SEEN))[0]),
        {"annotation-storage": 1},
    ),
    ("a bit of an array", lambda f: flip(annotation(f, 5), 4000), {"annotation-checksum": 1}),
    ("a bit of another array", lambda f: flip(annotation(f, 5), 9000), {"annotation-checksum": 1}),
]


@pytest.mark.parametrize(
    ("plant", "expected"), [case[1:] for case in ANNOTATED], ids=[case[0] for case in ANNOTATED]
)
def test_each_planted_fault_of_annotations_is_found_and_no_other(
    annotated_folder: Path, plant: Plant, expected: dict[str, int]
) -> None:
    test_each_planted_fault_is_found_and_no_other(annotated_folder, plant, expected)


def test_annotations_are_compared_with_a_store(annotated: Path, annotated_folder: Path) -> None:
    report = trajstore.validate(annotated_folder, annotated)
    assert (report.is_valid, report.annotations) == (True, 44)
    arrays = torch.load(annotation(annotated_folder, 2), weights_only=True)
    arrays["segmentation"][0, 0, 3, 4] += 1
    save(annotation(annotated_folder, 2), arrays)
    report = trajstore.validate(annotated_folder, annotated)
    assert report.fault_counts == {"content-annotation": 1}
    assert report.faults[0].detail == "segmentation: 1 of 2,048 values differ from the store"


AGAINST: list[tuple[str, Plant, dict[str, int]]] = [
    ("another tensor", lambda f: shutil.copy(video(f, 1), video(f, 2)), {"content-video": 1}),
    (
        "another position",
        lambda f: change(label(f, 2), future_position=[0.1, 0.2, 0.3]),
        {"content-label": 1},
    ),
    ("another split", lambda f: [change(label(f, 2), split=None)], {"metadata-mismatch": 1}),
]


@pytest.mark.parametrize(
    ("plant", "expected"), [case[1:] for case in AGAINST], ids=[case[0] for case in AGAINST]
)
def test_contents_are_compared_with_a_store(
    store: Path, folder: Path, plant: Plant, expected: dict[str, int]
) -> None:
    assert trajstore.validate(folder, store).is_valid
    plant(folder)
    assert trajstore.validate(folder, store).fault_counts == expected


def test_another_store_and_missing_rows_are_faults(store: Path, folder: Path, tmp_path: Path) -> None:
    trajstore.build(tmp_path / "other.zarr", **TINY | {"seed": 1})
    report = trajstore.validate(folder, tmp_path / "other.zarr")
    assert report.fault_counts == {"store-mismatch": 1}
    assert "dataset.seed: 0 stored, 1 given" in report.faults[0].detail
    partial = Path(shutil.copytree(store, tmp_path / "partial.zarr"))
    (partial / "video_written/c.1").unlink()
    assert trajstore.validate(folder, partial).fault_counts == {"store-missing": 8}


def test_every_fault_that_is_known_is_planted() -> None:
    planted = {code for _, _, expected in (*PLANTED, *ANNOTATED, *AGAINST) for code in expected}
    elsewhere = {"store-mismatch", "store-missing", "content-annotation"}
    of_shards = {"file-missing", "file-unreadable", "file-invalid"}  # test_validate_formats.py
    assert planted | elsewhere | of_shards == set(FAULTS)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("split", "rows"), [(None, None), ("train", None), (None, "3:30"), ("test", "9:44")])
def test_what_is_exported_is_valid(
    store: Path, tmp_path: Path, dtype: str, split: str | None, rows: str | None
) -> None:
    done = trajstore.export(store, tmp_path / "out", dtype=dtype, split=split, rows=rows)
    report = trajstore.validate(tmp_path / "out", store)
    assert report.is_valid, report.faults
    assert report.samples == report.videos == report.labels == done.metadata.total_samples
    assert (report.tensor_shape, report.tensor_dtype) == (SHAPE, dtype)


def test_a_folder_of_another_program_is_read(store: Path, foreign: Path) -> None:
    report = trajstore.validate(foreign, store)
    assert report.is_valid, report.faults
    assert not report.by_trajstore
    assert report.classes == {"Linear": 3, "Circular": 3, "Helical": 3, "Parabolic": 3}


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (lambda f: video(f, 3).unlink(), {"video-missing": 1, "metadata-mismatch": 1}),
        (lambda f: (video(f, 3).unlink(), label(f, 3).unlink()),
         {"video-missing": 1, "label-missing": 1, "metadata-mismatch": 2}),
        (lambda f: save(video(f, 3), torch.zeros(SHAPE)), {"video-dtype": 1}),
        (lambda f: save(video(f, 3), torch.zeros((2, 5, 3, 16, 16), dtype=torch.uint8)), {"video-shape": 1}),
        (lambda f: change(f / "metadata.json", timestamp=None), {"metadata-invalid": 1}),
        (lambda f: [change(label(f, row), class_label=0) for row in range(12)],
         {"class-balance": 1, "metadata-mismatch": 1}),
    ],
)  # fmt: skip
def test_faults_of_another_program_are_found(foreign: Path, plant: Plant, expected: dict[str, int]) -> None:
    plant(foreign)
    assert trajstore.validate(foreign).fault_counts == expected


def test_a_claim_of_impossibly_many_rows_is_a_fault(folder: Path) -> None:
    change(folder / "metadata.json", total_samples=10**15, row_ranges=[[0, 10**15]])
    report = trajstore.validate(folder)
    assert report.fault_counts == {"metadata-mismatch": 2}
    assert "found 1,000,000,000,000,000 rows, which is more than files of" in report.faults[0].detail


def test_long_lists_are_capped_and_counted(folder: Path) -> None:
    for row in range(20):
        label(folder, row).write_text("")
    report = trajstore.validate(folder, max_faults=5)
    assert report.fault_counts == {"label-unreadable": 20, "metadata-mismatch": 2}
    assert len(report.faults) == 5


def test_stopping_is_an_interruption(folder: Path) -> None:
    with pytest.raises(InterruptedBuildError) as caught:
        trajstore.validate(folder, should_stop=lambda: 2)
    assert caught.value.exit_code == 130


def test_what_is_no_export_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, text in (("file", "found a file"), ("none", "found nothing"), ("empty", "found no videos")):
        with pytest.raises(ExportError, match=text):
            trajstore.validate(tmp_path / name)
    with pytest.raises(StoreError, match="expected a trajstore store"):
        trajstore.validate(folder, tmp_path / "none.zarr")


def test_the_command_prints_a_table_or_json(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "validate", folder, "-q") == 0
    assert "valid, 44 samples" in capsys.readouterr().out
    os.truncate(video(folder, 5), 5000)
    label(folder, 6).write_text("")
    assert run_command(monkeypatch, "validate", folder, "-q", "--json") == 4
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert data["fault_counts"] == {"metadata-mismatch": 2, "video-unreadable": 1, "label-unreadable": 1}
    assert printed.err.count("\n") == 1
    assert run_command(monkeypatch, "validate", folder, "-q", "--max-faults", "1") == 4
    table = capsys.readouterr().out
    assert "4 faults" in table
    assert "3 more" in table


def test_exported_files_are_as_their_schemas_say(folder: Path, foreign: Path) -> None:
    schemas = {
        name: json.loads((SCHEMAS / f"{name}.schema.json").read_bytes()) for name in ("label", "metadata")
    }
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    for place in (folder, foreign):
        Draft202012Validator(schemas["metadata"]).validate(json.loads((place / "metadata.json").read_bytes()))
        for path in (place / "labels").iterdir():
            Draft202012Validator(schemas["label"]).validate(json.loads(path.read_bytes()))


@pytest.fixture(scope="module")
def world_reference(world_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validate") / "world"
    trajstore.export(world_store, path)
    return path


@pytest.fixture
def world(world_reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world_reference, tmp_path / "world"))


def edit(path: Path, *place: Any, value: Any) -> None:
    """Put a value into a JSON file, or take one away."""
    data = json.loads(path.read_bytes())
    *way, last = place
    part = data
    for step in way:
        part = part[step]
    if value is None:
        del part[last]
    else:
        part[last] = value
    path.write_text(json.dumps(data))


def test_an_export_of_a_world_is_valid_and_as_the_schema_says(world_store: Path, world: Path) -> None:
    report = trajstore.validate(world, world_store)
    assert report.is_valid, report.faults
    assert list(report.classes)[-1] == "support.worlds:STAIRS"
    schema = Draft202012Validator(json.loads((SCHEMAS / "label.schema.json").read_bytes()))
    for path in (world / "labels").iterdir():
        schema.validate(json.loads(path.read_bytes()))


LATE = -1  # the last body of a label is a transient, which is absent at some frame
IN_WORLD: list[tuple[str, tuple[Any, ...], Any, str]] = [
    ("no bodies", ("bodies",), None, "bodies: found none, expected some by the spec"),
    ("no cameras", ("extrinsics",), None, "extrinsics: found none"),
    ("no motion", ("motion",), None, "motion: found none"),
    ("cameras that stand still", ("extrinsics",), [[[0.0] * 4] * 3] * 2, "found shape (2, 3, 4)"),
    ("no target", ("bodies", 0), None, "and 0 among them"),
    ("a body twice", ("bodies", 1, "body"), 0, "bodies: found [0, 0"),
    ("a body too many", ("bodies", LATE, "body"), 5, "expected some of 0…4"),
    ("another role", ("bodies", 0, "role"), "transient", "body 0: found role 'transient'"),
    ("a second target", ("bodies", 1, "role"), "target", "body 1: found role 'target'"),
    ("a late end", ("bodies", 0, "last_frame"), 9, "found frames 1 to 9, expected some of 1…4"),
    ("a frame less", ("bodies", 1, "positions", 3), None, "expected 2 cameras × 4 frames"),
    ("a camera less", ("bodies", 1, "visible_pixels", 1), None, "expected 2 cameras × 4 frames"),
    (
        "seen where it is not",
        ("bodies", LATE, "visible_pixels"),
        [[1] * 4] * 2,
        "found visible pixels at other",
    ),
    (
        "there where it is not",
        ("bodies", LATE, "positions"),
        [[0.0] * 3] * 4,
        "found positions at other frames",
    ),
    ("another target", ("bodies", 0, "positions", 0), [0.0] * 3, "body 0: found other positions"),
]


@pytest.mark.parametrize(
    ("place", "value", "text"), [case[1:] for case in IN_WORLD], ids=[case[0] for case in IN_WORLD]
)
def test_labels_that_do_not_fit_the_spec_are_faults_without_a_store(
    world: Path, place: tuple[Any, ...], value: Any, text: str
) -> None:
    edit(label(world, 3), *place, value=value)
    report = trajstore.validate(world)
    assert set(report.fault_counts) == {"label-mismatch"}
    assert any(text in fault.detail for fault in report.faults), report.faults


@pytest.mark.parametrize(
    "place",
    [
        ("bodies", 1, "shape"),
        ("bodies", 1, "radius"),
        ("bodies", 1, "color", 2),
        ("bodies", 1, "positions", 2, 1),
        ("bodies", 1, "visible_pixels", 0, 2),
        ("extrinsics", 1, 2, 0, 3),
        ("motion", "speed"),
        ("motion", "parameters"),
    ],
    ids=str,
)
def test_any_part_of_a_label_is_compared_with_a_store(
    world_store: Path, world: Path, place: tuple[Any, ...]
) -> None:
    found = json.loads(label(world, 3).read_bytes())
    for step in place:
        found = found[step]
    # a float that float32 still tells apart, or that only float64 does where a store has that
    step = 1e-12 if place[0] == "extrinsics" else 1e-3
    others = {
        str: "cone",
        int: 77,
        float: found + step if isinstance(found, float) else None,
        dict: {"turns": 0.5},
    }
    others = {kind: "cube" if found == value else value for kind, value in others.items()}
    edit(label(world, 3), *place, value=others[type(found)])
    report = trajstore.validate(world, world_store)
    assert report.fault_counts == {"content-label": 1}
    assert report.faults[0].detail == f"{place[0]} differs from the store"


def test_labels_in_the_precision_of_the_store_are_the_same(world_store: Path, world: Path) -> None:
    data = json.loads(label(world, 3).read_bytes())
    for body in data["bodies"]:
        body["radius"] = float(f"{body['radius']:.9g}")
    data["positions"] = [[float(f"{x:.9g}") for x in point] for point in data["positions"]]
    data["bodies"][0]["positions"] = data["positions"]
    assert data["positions"] != json.loads(label(world, 3).read_bytes())["positions"]
    label(world, 3).write_text(json.dumps(data))
    assert trajstore.validate(world, world_store).is_valid


def test_classes_are_balanced_by_their_weights(world_store: Path, tmp_path: Path) -> None:
    trajstore.export(world_store, tmp_path / "out", rows="0:40")
    report = trajstore.validate(tmp_path / "out")
    assert (report.is_valid, report.classes["Circular"], report.classes["Linear"]) == (True, 8, 4)
    for row in range(40):
        change(label(tmp_path / "out", row), class_label=1, class_name="Circular")
    (fault,) = [
        fault for fault in trajstore.validate(tmp_path / "out").faults if fault.code == "class-balance"
    ]
    assert "each divided by its weight, differ by at most 2" in fault.detail


def test_labels_of_version_0_1_are_valid(store: Path, folder: Path) -> None:
    for row in range(44):
        change(label(folder, row), caption=None)
    assert trajstore.validate(folder, store).is_valid


GOOD_LABEL = {"class_label": 1, "future_position": [0.5, 0, -0.25]}


@pytest.mark.parametrize(
    "fields",
    [
        {"class_label": -1}, {"class_label": 127}, {"class_label": True}, {"class_label": 1.5}, {"class_label": "1"},
        {"future_position": [0.0, 0.0]}, {"future_position": [0.0] * 4}, {"future_position": "xyz"},
        {"future_position": None}, {"positions": [[0.0]]}, {"split": "training"}, {"caption": 3},
        {"extrinsics": [[[1.0, 0.0, 0.0]] * 3]}, {"bodies": [{"body": 0}]}, {"motion": {"speed": -1.0}}, {},
    ],
)  # fmt: skip
def test_schema_and_model_of_a_label_agree(fields: dict[str, Any]) -> None:
    schema = Draft202012Validator(json.loads((SCHEMAS / "label.schema.json").read_bytes()))
    text = json.dumps(GOOD_LABEL | fields)
    if not fields:
        assert Label.model_validate_json(text).class_label == 1
    else:
        with pytest.raises(ValidationError):
            Label.model_validate_json(text)
    assert schema.is_valid(json.loads(text)) == (not fields)


def test_metadata_of_other_programs_have_no_source(foreign: Path, folder: Path) -> None:
    assert ExportRecord.model_validate_json((foreign / "metadata.json").read_bytes()).source is None
    source = ExportRecord.model_validate_json((folder / "metadata.json").read_bytes()).source
    assert source is not None
    assert np.prod(source.tensor_shape) == np.prod(SHAPE)
