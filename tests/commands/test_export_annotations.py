"""Annotations are exported as frames and labels are: all that the store has, resumed to the same bytes, and checked."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.export_faults import TINY, contents, export_and_die, make_source, run_command

import trajstore
from trajstore.errors import IncompleteStoreError, SpecError, SpecMismatchError
from trajstore.exporters.plan import plan_export
from trajstore.exporters.write import Batch, WriteBatch, begin_export
from trajstore.reading.store import open_reader
from trajstore.spec import ANNOTATIONS, Annotation

GROUPS: tuple[Annotation, ...] = ("segmentation", "flow")
ARRAYS = ("segmentation", "forward_flow", "backward_flow")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "tiny.zarr"
    trajstore.build(path, **TINY, groups=list(GROUPS))
    return path


@pytest.fixture(scope="module")
def reference(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "reference"
    trajstore.export(store, path)
    return path


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store, tmp_path / "copy.zarr"))


@pytest.fixture
def folder(reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reference, tmp_path / "out"))


def annotations(folder: Path, row: int) -> Path:
    return folder / f"annotations/sample_{row:04d}.pt"


def load(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return found


def test_a_file_holds_the_arrays_of_a_sample(annotated_store: Path, tmp_path: Path) -> None:
    done = trajstore.export(annotated_store, tmp_path / "out", rows="5:19")
    assert done.metadata.annotations == ANNOTATIONS
    reader = open_reader(annotated_store)
    names = sorted(path.name for path in (tmp_path / "out/annotations").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "out/videos").iterdir())
    assert len(names) == done.new_samples
    for name in names:
        found, row = load(tmp_path / "out/annotations" / name), int(name[7:11])
        expected = {}
        for group in ANNOTATIONS:
            expected |= reader.read_group(group, [row])
        assert list(found) == list(expected)
        for array, tensor in found.items():
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            assert tensor.numpy().dtype == expected[array].dtype
            np.testing.assert_array_equal(tensor, expected[array][0], err_msg=array)
    report = trajstore.validate(tmp_path / "out", annotated_store)
    assert report.is_valid, report.faults
    assert report.annotations == len(names)


def test_room_is_estimated(annotated_store: Path, tmp_path: Path) -> None:
    estimate = plan_export(annotated_store, tmp_path / "out").estimate(1)
    trajstore.export(annotated_store, tmp_path / "out")
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob("*/*")]
    assert sum(sizes) <= estimate.bytes <= 1.2 * sum(sizes)
    assert estimate.files == len(sizes) + 1


def test_videos_and_labels_are_those_of_an_export_without(
    store: Path, reference: Path, tmp_path: Path
) -> None:
    trajstore.export(store, tmp_path / "out", annotations=[])
    plain = contents(tmp_path / "out")
    assert not (tmp_path / "out/annotations").exists()
    assert {name: plain[name] for name in plain if name != "metadata.json"} == {
        name: data
        for name, data in contents(reference).items()
        if not name.startswith(("annotations", "metadata"))
    }
    assert trajstore.validate(tmp_path / "out", store).is_valid


@pytest.mark.parametrize(
    ("pattern", "at"), [("annotations/*.pt", 1), ("annotations/*.pt", 20), ("labels/*.json", 30)]
)
def test_an_export_that_was_killed_is_resumed_to_the_same_bytes(
    store: Path, reference: Path, tmp_path: Path, pattern: str, at: int
) -> None:
    folder = tmp_path / "out"
    export_and_die(store, folder, method="replace", pattern=pattern, at=at)
    assert not (folder / "metadata.json").exists()
    expected = contents(reference)
    found = {name: data for name, data in contents(folder).items() if name.startswith(tuple("avl"))}
    there = {name for name in found if not name.endswith(".partial")}
    assert all(found[name] == expected[name] for name in there)
    kept = {folder / name: (folder / name).stat().st_ino for name in there}
    trajstore.export(store, folder)
    assert {path: path.stat().st_ino for path in kept} == kept  # nothing that was there is written again
    assert contents(folder) == expected


def test_a_task_that_is_sent_elsewhere_writes_the_same_bytes(
    store: Path, reference: Path, tmp_path: Path
) -> None:
    plan = plan_export(store, tmp_path / "out")
    begin_export(plan)
    sent = pickle.dumps(WriteBatch(plan.reader, plan.folder, plan.source))
    assert pickle.loads(sent)(Batch([plan.parts[6], plan.parts[9]]))[0] == 2
    for row in (6, 9):
        assert annotations(tmp_path / "out", row).read_bytes() == annotations(reference, row).read_bytes()


def test_what_is_gone_or_torn_is_written_again(store: Path, reference: Path, folder: Path) -> None:
    annotations(folder, 20).unlink()
    assert trajstore.export(store, folder).new_samples == 1
    (folder / "metadata.json").rename(folder / "unfinished.json")
    torn = annotations(folder, 3)
    torn.write_bytes(bytes(torn.stat().st_size))
    os.truncate(annotations(folder, 9), 1000)
    assert trajstore.export(store, folder).new_samples == 2
    assert contents(folder) == contents(reference)
    assert trajstore.export(store, folder).new_samples == 0


def test_an_export_is_given_more_annotations_and_never_fewer(
    store: Path, reference: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    for names, has in (((), False), (("segmentation",), True), (None, True)):
        assert trajstore.export(store, folder, annotations=names).new_samples == 44
        assert (folder / "annotations").exists() == has
        assert trajstore.validate(folder, store).is_valid
    assert contents(folder) == contents(reference)
    message = "annotations: 'segmentation, flow' stored, 'segmentation' given"
    with pytest.raises(SpecMismatchError, match=message):
        trajstore.export(store, folder, annotations=["segmentation"])
    assert contents(folder) == contents(reference)


def test_annotations_that_are_not_written_are_refused_or_left_out(
    copy: Path, reference: Path, tmp_path: Path
) -> None:
    for shard in (1, 3):
        (copy / f"flow_written/c.{shard}").unlink()
    with pytest.raises(IncompleteStoreError, match=r"16 of 44 rows are not written yet \(8:16, 24:32\)"):
        trajstore.export(copy, tmp_path / "out")
    assert trajstore.export(copy, tmp_path / "some", annotations=["segmentation"]).new_samples == 44
    assert trajstore.export(copy, tmp_path / "out", allow_partial=True).new_samples == 28
    assert trajstore.validate(tmp_path / "out", copy).is_valid
    trajstore.build(copy)
    trajstore.export(copy, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(reference)


def test_unknown_and_absent_annotations_name_the_command(
    store: Path, tiny_store: Path, tmp_path: Path
) -> None:
    known = f"expected one of segmentation, flow; add it with: trajstore annotate {store} normals"
    with pytest.raises(SpecError, match=f"annotations: found 'normals', {known}$"):
        trajstore.export(store, tmp_path / "out", annotations=["flow", "normals"])
    with pytest.raises(SpecError, match=r"annotations: found 'masks', the store has none$"):
        trajstore.export(tiny_store, tmp_path / "out", annotations=["masks"])
    assert not (tmp_path / "out").exists()


def test_the_command_chooses(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, stored in (("none", []), ("flow", ["flow"]), ("flow, segmentation", list(GROUPS))):
        folder = tmp_path / option
        arguments = ("export", store, folder, "--rows", "0:2", "-q", "--annotations", option)
        assert run_command(monkeypatch, *arguments) == 0
        assert json.loads((folder / "metadata.json").read_bytes())["annotations"] == stored
        assert (", ".join(stored) or "classes") in capsys.readouterr().out
    for names, option in ((None, ""), ((), "--annotations none"), (["flow"], "--annotations flow")):
        command = plan_export(store, tmp_path / "new", annotations=names).command()
        assert command.endswith(f"new --format pt {option}".rstrip())


def test_a_store_that_lacks_annotations_cannot_prove_an_export(
    folder: Path, tiny_store: Path, copy: Path
) -> None:
    report = trajstore.validate(folder, tiny_store)
    assert report.fault_counts == {"store-mismatch": 2}
    assert f"trajstore annotate {tiny_store} flow" in report.faults[1].detail
    (copy / "flow_written/c.1").unlink()
    assert trajstore.validate(folder, copy).fault_counts == {"store-missing": 8}


def test_a_file_of_annotations_is_no_part_of_a_folder_that_does_not_name_them(folder: Path) -> None:
    metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_bytes())
    (folder / "metadata.json").write_text(json.dumps(metadata | {"annotations": []}))
    assert trajstore.validate(folder).fault_counts == {"surplus": 1}
    (folder / "metadata.json").unlink()  # nobody knows
    annotations(folder, 4).write_text("hello")
    annotations(folder, 5).unlink()
    counts = {"metadata-missing": 1, "annotation-missing": 1, "annotation-unreadable": 1}
    assert trajstore.validate(folder).fault_counts == counts


def test_sources_know_their_arrays(annotated_store: Path) -> None:
    spec = open_reader(annotated_store).spec
    assert make_source(spec).arrays == ()
    assert [column.name for column in make_source(spec, annotations=GROUPS).arrays] == list(ARRAYS)
