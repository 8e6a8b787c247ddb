"""A card is read by Hugging Face's, Croissant's and coreutils' own tools; a copy is proved by its checksums."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
import yaml
from support.export_faults import run_command, small_disk
from support.stores import create_store

import trajstore
from trajstore.errors import (
    ExportError,
    IncompleteStoreError,
    InterruptedBuildError,
    MissingExtraError,
    NotEnoughSpaceError,
    OutputError,
    SpecError,
)
from trajstore.exporters import FORMATS
from trajstore.exporters.records import CARD_FILES
from trajstore.sharing.checksums import render_checksums
from trajstore.sharing.licenses import SPDX
from trajstore.sharing.shortcuts import ROWS_MIN, measure_shortcut
from trajstore.spec import DatasetSpec

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def store_card(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and its card, as they are published: the card's files beside the store."""
    root = tmp_path_factory.mktemp("published")
    shutil.copytree(tiny_store, root / "tiny.zarr")
    trajstore.card(root / "tiny.zarr", root, license="cc-by-4.0", name="Tiny | motions")
    return root


EXPORTS: list[dict[str, Any]] = [
    *({"format": name} for name in FORMATS),
    {"format": "pt", "options": {"layout": "traj"}, "cameras": [0]},
    {"format": "videofolder", "options": {"video": "mkv"}},
    {"format": "hdf5", "options": {"compression": "zstd"}, "dtype": "float32"},
]


@pytest.fixture(
    scope="module",
    params=EXPORTS,
    ids=lambda how: "-".join([how["format"], *how.get("options", {}).values()]),
)
def export_card(
    request: pytest.FixtureRequest, tiny_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An export of each format with its card."""
    folder = tmp_path_factory.mktemp("export") / "folder"
    trajstore.export(tiny_store, folder, split="train", **request.param)
    trajstore.card(folder)
    return folder


def read_front(folder: Path) -> dict[str, Any]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\n")
    front: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return front


def check_croissant(folder: Path) -> mlcroissant.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    return dataset


def sum_checks(folder: Path, checksums: Path) -> bool:
    command = ["sha256sum", "--strict", "--quiet", "-c", str(checksums.resolve())]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_store(store_card: Path, tiny_spec: DatasetSpec) -> None:
    front = read_front(store_card)
    assert front["license"] == "cc-by-4.0"
    assert (front["pretty_name"], front["size_categories"]) == ("Tiny | motions", ["n<1K"])
    assert "configs" not in front
    assert front["viewer"] is False
    text = (store_card / "README.md").read_text(encoding="utf-8")
    assert tiny_spec.fingerprint in text
    assert "reads no Zarr" in text
    for column in trajstore.open_reader(store_card / "tiny.zarr").columns:
        assert f"| `{column}` |" in text
    dataset = check_croissant(store_card)
    assert dataset.metadata.data_biases
    assert [record["classes/name"] for record in dataset.records("classes")] == [*tiny_spec.dataset.classes]
    assert sum_checks(store_card / "tiny.zarr", store_card / "checksums.sha256")
    assert (store_card / "preview.png").read_bytes().startswith(b"\x89PNG")
    assert trajstore.verify(store_card / "tiny.zarr").findings == ()


def test_the_spec_makes_it_again(store_card: Path, tmp_path: Path) -> None:
    spec = DatasetSpec.from_file(store_card / "spec.toml")
    text = (store_card / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert tomllib.loads(block) == tomllib.loads((store_card / "spec.toml").read_text(encoding="utf-8"))
    assert "trajstore build tiny.zarr --spec spec.toml" in text
    trajstore.build(tmp_path / "again.zarr", spec)
    digests = {
        line.split("  ")[1]: line.split("  ")[0]
        for line in (store_card / "checksums.sha256").read_text(encoding="utf-8").splitlines()
    }
    report = trajstore.verify_copy(tmp_path / "again.zarr", store_card / "checksums.sha256")
    assert set(report.changed) <= {"zarr.json"}  # its history has other times
    assert not report.missing
    assert len(digests) == report.files


@pytest.mark.parametrize("world", ["world_store", "annotated_store"])
def test_specs_with_everything_are_read_back(
    world: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = request.getfixturevalue(world)
    trajstore.card(store, tmp_path / "card")
    assert DatasetSpec.from_file(tmp_path / "card/spec.toml") == trajstore.open_reader(store).spec
    check_croissant(tmp_path / "card")


def test_the_code_of_a_stores_card_runs(store_card: Path) -> None:
    blocks = BLOCK.findall((store_card / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 3
    program = "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=store_card, capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(store_card / ".hf")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_export(export_card: Path, tiny_store: Path) -> None:
    metadata = json.loads((export_card / "metadata.json").read_text(encoding="utf-8"))
    text = (export_card / "README.md").read_text(encoding="utf-8")
    assert f"{metadata['total_samples']} synthetic clips" in text
    assert f"--format {metadata['format']}" in text
    assert read_front(export_card)["license"] == "unknown"
    check_croissant(export_card)
    assert sum_checks(export_card, export_card / "checksums.sha256")
    assert trajstore.verify_copy(export_card, export_card / "checksums.sha256").is_same
    if (metadata["format"], metadata["options"]) == ("pt", {}):
        records = check_croissant(export_card).records("samples")
        found = sorted(record["samples/class_label"] for record in records)
        rows = trajstore.open_reader(tiny_store)
        expected = rows.column("class_label")[rows.column("split") == 0]
        assert found == sorted(expected.tolist())


def test_what_the_configs_name_is_loaded(export_card: Path, tmp_path: Path) -> None:
    import datasets

    front = read_front(export_card)
    if "configs" not in front:
        assert front["viewer"] is False
        return
    total = json.loads((export_card / "metadata.json").read_text(encoding="utf-8"))["total_samples"]
    loaded = datasets.load_dataset(str(export_card), cache_dir=str(tmp_path))
    (config,) = front["configs"]
    assert set(loaded) == {entry["split"] for entry in config["data_files"]}
    assert sum(len(split) for split in loaded.values()) == total


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_its_lines_of_python_run(export_card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.chdir(export_card)
    text = (export_card / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def test_the_same_card_again(store_card: Path, tiny_store: Path, tmp_path: Path) -> None:
    reports = [trajstore.card(tiny_store, tmp_path / name, name="x") for name in "ab"]
    assert reports[0].files == (*CARD_FILES[:3], "spec.toml", "preview.png")
    for name in reports[0].files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    trajstore.card(tiny_store, tmp_path / "a", name="x")  # replaces its own


def test_the_default_folder_of_a_store(tiny_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert run_command(monkeypatch, "card", tiny_copy, "-q") == 0
    assert "none chosen" in capsys.readouterr().out
    assert files(tiny_copy.with_name("copy.zarr.card")) == sorted(CARD_FILES)


def test_a_shortcut_is_found_where_there_is_one() -> None:
    spec = DatasetSpec.from_fields(samples=1200, frames=32, height=16, width=16, cameras=1)
    from trajstore.reading.generator import SampleGenerator

    found = measure_shortcut(SampleGenerator(spec))
    assert found is not None
    assert found.chance == pytest.approx(0.25, abs=0.02)
    assert found.position > found.chance + 0.1
    assert (found.learned, found.guessed, found.frame) == (840, 180, 16)
    assert measure_shortcut(SampleGenerator(spec.replace(samples=ROWS_MIN))) is None


# ------------------------------------------------------------------------------------------------ copies


def test_a_copy_that_differs(tiny_copy: Path, store_card: Path, monkeypatch: Any, capsys: Any) -> None:
    checksums = store_card / "checksums.sha256"
    assert run_command(monkeypatch, "verify", tiny_copy, "--against", checksums, "-q") == 0
    (tiny_copy / "box/c.0.0.0.0").unlink()
    (tiny_copy / "radius/c.0").write_bytes(b"other")
    (tiny_copy / "video/more").write_bytes(b"")
    os.mkfifo(tiny_copy / "pipe")
    capsys.readouterr()
    assert run_command(monkeypatch, "verify", tiny_copy, "--against", checksums, "-q", "--json") == 4
    printed = json.loads(capsys.readouterr().out)
    assert printed["missing"] == ["box/c.0.0.0.0"]
    assert printed["changed"] == ["radius/c.0"]
    assert printed["surplus"] == ["pipe", "video/more"]
    assert printed["is_same"] is False
    assert run_command(monkeypatch, "verify", tiny_copy, "--against", checksums, "-q") == 4
    captured = capsys.readouterr()
    assert "missing  box/c.0.0.0.0" in captured.out
    assert len(captured.err.splitlines()) == 1


def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    os.mkfifo(tmp_path / "copy/pipe")
    (tmp_path / "copy/zero").symlink_to("/dev/zero")
    (tmp_path / "sums").write_bytes(render_checksums({"pipe": "0" * 64, "zero": "1" * 64}))
    report = trajstore.verify_copy(tmp_path / "copy", tmp_path / "sums")
    assert report.unreadable == ("pipe", "zero")


@pytest.mark.parametrize(
    "line",
    ["../secret", "/etc/passwd", "a/../../b", "a//b", "a/", "./../b", ".", "\\n/../x"],
)
def test_names_that_lead_out_are_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "sums"
    path.write_text(f"{'0' * 64}  fine\n{'0' * 64}  {line}\n")
    if line.startswith("\\"):
        path.write_text(f"\\{'0' * 64}  {line}\n")
    with pytest.raises(SpecError, match="inside of the folder"):
        trajstore.verify_copy(tmp_path, path)


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"hello\n", b"0" * 10**6, b"\0" * 100, b"0" * 64 + b"  a\0b\n", b"0" * 63 + b"g  a\n"],
)
def test_what_is_no_file_of_checksums(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = tmp_path / "sums"
    path.write_bytes(data)
    for against in (path, tmp_path, tmp_path / "none"):
        assert run_command(monkeypatch, "verify", tmp_path, "--against", against) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "expected" in line
        assert len(line) < 500


def test_odd_names_are_written_as_sha256sum_does(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = ["a\\b", "new\nline", "sp ace", " lead", "ünïcode", "*star"]
    for name in names:
        (folder / name).write_text(name)
    theirs = subprocess.run(["sha256sum", "--", *names], cwd=folder, capture_output=True, check=True).stdout
    (tmp_path / "sums").write_bytes(theirs)
    assert trajstore.verify_copy(folder, tmp_path / "sums").is_same
    digests = {
        name: line[-len(line.lstrip(b"\\")) :][:64].decode()
        for name, line in zip(names, theirs.splitlines(), strict=True)
    }
    assert render_checksums(digests) == theirs


# ---------------------------------------------------------------------------------------------- bad input


def test_licenses(tiny_store: Path, tmp_path: Path) -> None:
    for name in ("CC-BY-4.0", "my own", "", "cc\nby"):
        with pytest.raises(SpecError, match="expected an identifier of Hugging Face"):
            trajstore.card(tiny_store, tmp_path / "card", license=name)
    assert not (tmp_path / "card").exists()
    assert all(name == name.lower() for name in SPDX)
    trajstore.card(tiny_store, tmp_path / "card", license="other")
    assert read_front(tmp_path / "card")["license_link"] == "LICENSE"
    check_croissant(tmp_path / "card")


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 101, "\x1b[0m"])
def test_names(name: str, tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="name: found"):
        trajstore.card(tiny_store, tmp_path / "card", name=name)


def test_an_unfinished_store(tmp_path: Path, tiny_spec: DatasetSpec, monkeypatch: Any, capsys: Any) -> None:
    create_store(tmp_path / "a.zarr", tiny_spec)
    with pytest.raises(IncompleteStoreError, match="trajstore build"):
        trajstore.card(tmp_path / "a.zarr")
    assert run_command(monkeypatch, "card", tmp_path / "a.zarr") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_exports_that_are_not_whole(tiny_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    trajstore.export(tiny_store, folder, rows="0:8")
    label = folder / "labels/sample_0003.json"
    label.rename(tmp_path / "kept")
    with pytest.raises(ExportError, match=r"labels/sample_0003\.json"):
        trajstore.card(folder)
    (tmp_path / "kept").rename(label)
    record = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps({**record, "spec": None}))
    with pytest.raises(ExportError, match="trajstore wrote"):
        trajstore.card(folder)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(ExportError, match="damaged"):
        trajstore.card(folder)
    (folder / "metadata.json").rename(folder / "unfinished.json")
    with pytest.raises(ExportError, match="interrupted"):
        trajstore.card(folder)
    assert not set(CARD_FILES) & set(files(folder))


def test_targets_that_cannot_be_used(tiny_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/spec.toml").write_text("[dataset]\n")
    for output, text in (
        (tiny_copy / "card", "must hold nothing else"),
        (tmp_path / "file", "found a file"),
        (tmp_path / "none/card", "does not exist"),
        (tmp_path / "mine", "did not write"),
    ):
        with pytest.raises(OutputError, match=text):
            trajstore.card(tiny_copy, output)
    assert (tmp_path / "mine/spec.toml").read_text() == "[dataset]\n"
    with pytest.raises(SpecError, match="-o FOLDER"):
        trajstore.card(
            trajstore.build("memory://card", samples=8, frames=2, height=8, width=8).summary.location
        )


def test_a_store_in_a_bucket(tmp_path: Path) -> None:
    place = "memory://given-away"
    trajstore.build(place, samples=8, frames=2, height=8, width=8)
    trajstore.card(place, tmp_path / "card")
    assert trajstore.verify_copy(place, tmp_path / "card/checksums.sha256").is_same
    assert "given-away" in (tmp_path / "card/README.md").read_text(encoding="utf-8")


def test_a_full_disk(tiny_store: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k"):
        with pytest.raises(NotEnoughSpaceError, match="no card was written"):
            trajstore.card(tiny_store, tmp_path / "disk/card")
        assert files(tmp_path / "disk/card") == []


def test_an_interruption(tiny_store: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedBuildError) as stopped:
        trajstore.card(tiny_store, tmp_path / "card", should_stop=lambda: 2)
    assert stopped.value.exit_code == 130
    assert not (tmp_path / "card").exists()


def test_missing_packages(tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trajstore.commands.card as cards
    import trajstore.pictures.outputs as outputs

    monkeypatch.setattr(cards, "find_spec", lambda name: None)
    report = trajstore.card(tiny_store, tmp_path / "card")
    assert report.notes
    assert "preview.png" not in (tmp_path / "card/README.md").read_text(encoding="utf-8")
    assert "preview.png" not in report.files
    monkeypatch.setattr(outputs, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[card\]'"):
        trajstore.card(tiny_store, tmp_path / "card")


def test_progress_counts_files_and_then_steps(tiny_store: Path, tmp_path: Path) -> None:
    events: list[Any] = []
    report = trajstore.card(tiny_store, tmp_path / "card", progress=events.append)
    steps = [event for event in events if event.phase == "describe"]
    assert [(event.unit, event.done, event.total) for event in steps] == [
        ("steps", done, 3) for done in range(4)
    ]
    assert not any("rate" in event.figures() for event in steps)
    events = [event for event in events if event not in steps]
    assert (events[-1].unit, events[-1].done, events[-1].total) == (
        "files",
        report.checked_files,
        report.checked_files,
    )
    assert np.all(np.diff([event.done for event in events]) >= 0)
