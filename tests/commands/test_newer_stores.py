"""A store that a newer trajstore has written is called that, by every command, and not a byte of it is changed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support.faults import run, tree, truncate
from support.future import VERSION, make_future, run_in_future

import trajstore
from trajstore.errors import FormatVersionError, NewerStoreError, StoreError
from trajstore.spec import DatasetSpec
from trajstore.store.attributes import NAMESPACE

SAYS_WHO = rf"it was written by trajstore {VERSION}, installed is {re.escape(version('trajstore'))}; upgrade trajstore$"

COMMANDS: dict[str, Callable[[Path, DatasetSpec], object]] = {
    "build": lambda path, _: trajstore.build(path),
    "build with a spec": lambda path, spec: trajstore.build(path, spec, part="1/2"),
    "extend": lambda path, _: trajstore.extend(path, 60),
    "info": lambda path, _: trajstore.info(path),
    "verify": lambda path, _: trajstore.verify(path, deep=True),
    "repair": lambda path, _: trajstore.repair(path),
    "repair with a spec": lambda path, spec: trajstore.repair(path, spec=spec),
    "open": lambda path, _: trajstore.open(path),
    "open_reader": lambda path, _: trajstore.open_reader(path),
    "export": lambda path, _: trajstore.export(path, path.parent / "export"),
    "preview": lambda path, _: trajstore.preview(path, output=path.parent / "sheet.png"),
}

OTHERS = [
    pytest.param(name, marks=pytest.mark.torch if name in ("export", "preview") else ())
    for name in COMMANDS  # where there is no PyTorch, nothing that draws is installed either
]


def change(store: Path, alter: Callable[[dict[str, Any]], object], *, written_by: str | None) -> None:
    """Change the attributes as if another version had written them last."""
    root = json.loads((store / "zarr.json").read_text())
    ours = root["attributes"][NAMESPACE]
    alter(ours)
    if written_by is not None:
        ours["history"][-1]["versions"]["trajstore"] = written_by
    (store / "zarr.json").write_text(json.dumps(root, indent=2))


@pytest.fixture(scope="module")
def written_by_future(tmp_path_factory: pytest.TempPathFactory, tiny_fields: dict[str, Any]) -> Path:
    """A store that a future trajstore has built, with a field that this one does not know."""
    folder = tmp_path_factory.mktemp("future")
    script = "import sys, json, trajstore; trajstore.build(sys.argv[1], **json.loads(sys.argv[2])); print(1)"
    fields = json.dumps(tiny_fields | {"wobble": 0.5})
    run_in_future(make_future(folder / "installed"), script, folder / "a.zarr", fields)
    return folder / "a.zarr"


@pytest.mark.parametrize("command", OTHERS)
def test_every_command_refuses_and_changes_nothing(
    command: str, written_by_future: Path, tiny_spec: DatasetSpec, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(written_by_future, tmp_path / "a.zarr"))
    before = tree(tmp_path)
    with pytest.raises(NewerStoreError, match=SAYS_WHO) as error:
        COMMANDS[command](store, tiny_spec)
    assert str(error.value).startswith(
        f"{store}/zarr.json: attribute trajstore.spec.scene.wobble: unknown field"
    )
    assert "damage" not in str(error.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("arguments", [("info",), ("verify",), ("repair",), ("build",), ("repair", "--spec")])
def test_the_command_line_says_it_in_one_line(
    arguments: tuple[str, ...], written_by_future: Path, tiny_spec: DatasetSpec, tmp_path: Path
) -> None:
    command, *options = arguments
    spec = tmp_path / "spec.json"
    spec.write_text(tiny_spec.model_dump_json())
    before = tree(written_by_future)
    result = run(command, written_by_future, *options, *([spec] if options else []))
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert result.err.endswith("upgrade trajstore\n")
    assert tree(written_by_future) == before


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "attribute": (lambda ours: ours.update(groups=["flow"]), r"trajstore\.groups: unknown field"),
    "section": (lambda ours: ours["spec"].update(weather={}), r"trajstore\.spec\.weather: unknown field"),
    "class": (
        lambda ours: ours["spec"]["dataset"].update(classes=["Spiral"]),
        r"trajstore\.spec\.dataset\.classes: unknown class 'Spiral'",
    ),
    "event": (
        lambda ours: ours["history"].append(ours["history"][0] | {"event": "painted"}),
        r"trajstore\.history\.2\.event: found 'painted'",
    ),
    "note of an event": (
        lambda ours: ours["history"][1].update(host="a"),
        r"trajstore\.history\.1\.host: unknown field",
    ),
    "format": (lambda ours: ours.update(format_version=7), "found store format 7, expected 1"),
}


@pytest.mark.parametrize("written_by", ["0.8.0.dev3", "0.10.0", "1.0"])
@pytest.mark.parametrize("what", CHANGES)
def test_what_this_version_does_not_know_is_named(
    what: str, written_by: str, tiny_copy: Path, tiny_spec: DatasetSpec
) -> None:
    alter, found = CHANGES[what]
    change(tiny_copy, alter, written_by=written_by)
    before = tree(tiny_copy)
    for spec in (None, tiny_spec):
        with pytest.raises(NewerStoreError, match=rf"{found}.*written by trajstore {written_by}, installed"):
            trajstore.repair(tiny_copy, spec=spec)
    with pytest.raises(NewerStoreError):
        trajstore.build(tiny_copy)
    assert tree(tiny_copy) == before


def test_a_newer_format_is_never_mended_whoever_the_history_names(
    tiny_copy: Path, tiny_spec: DatasetSpec
) -> None:
    change(tiny_copy, lambda ours: ours.update(format_version=2), written_by=None)
    before = tree(tiny_copy)
    for name in COMMANDS.keys() - {"export", "preview"}:
        with pytest.raises(
            NewerStoreError, match=r"format 2, expected 1; upgrade trajstore; or, .*zarr\.json"
        ):
            COMMANDS[name](tiny_copy, tiny_spec)
    assert tree(tiny_copy) == before


@pytest.mark.parametrize("version", [0, "q", None])
def test_another_format_that_is_not_newer_is_mended_with_the_spec(
    version: object, tiny_copy: Path, tiny_spec: DatasetSpec
) -> None:
    change(tiny_copy, lambda ours: ours.update(format_version=version), written_by=None)
    with pytest.raises(FormatVersionError) as error:
        trajstore.repair(tiny_copy)
    assert not isinstance(error.value, NewerStoreError)
    trajstore.repair(tiny_copy, spec=tiny_spec)
    assert trajstore.verify(tiny_copy).findings == ()


def test_a_torn_root_of_a_newer_version_is_left_to_it(tiny_copy: Path, tiny_spec: DatasetSpec) -> None:
    change(tiny_copy, CHANGES["attribute"][0], written_by="0.9.0")
    root = tiny_copy / "zarr.json"
    truncate(root, root.stat().st_size // 2)
    before = tree(tiny_copy)
    for spec in (None, tiny_spec):
        with pytest.raises(NewerStoreError, match=r"damaged, and it was written by trajstore 0\.9\.0"):
            trajstore.repair(tiny_copy, spec=spec)
    assert tree(tiny_copy) == before


@pytest.mark.parametrize("written_by", ["0.1.0", "0.0.9", "0.1", "unknown"])
def test_an_unknown_field_without_a_newer_version_is_damage(
    written_by: str, tiny_copy: Path, tiny_spec: DatasetSpec
) -> None:
    change(tiny_copy, lambda ours: ours["spec"].update(sEed=ours["spec"].pop("scene")), written_by=written_by)
    with pytest.raises(StoreError, match=r"spec\.sEed: unknown field.* damaged") as error:
        trajstore.info(tiny_copy)
    assert not isinstance(error.value, FormatVersionError)
    trajstore.repair(tiny_copy, spec=tiny_spec)
    assert trajstore.verify(tiny_copy).findings == ()


def test_what_a_newer_version_writes_without_anything_new_is_used(tiny_copy: Path) -> None:
    change(tiny_copy, lambda _: None, written_by="0.9.0")
    assert trajstore.verify(tiny_copy).findings == ()
    assert trajstore.build(tiny_copy).new_samples == 0
