from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from support.faults import assert_same_bytes, flip_bit, tree, truncate
from support.stores import create_store, exists, open_store, plan_build

from trajstore.commands.build import build
from trajstore.commands.info import info
from trajstore.commands.verify import verify
from trajstore.errors import (
    CorruptDataError,
    FormatVersionError,
    NotAStoreError,
    StoreError,
    TrajstoreError,
)
from trajstore.spec import DatasetSpec
from trajstore.storage.folder import Folder
from trajstore.store.attributes import NAMESPACE
from trajstore.store.fill import describe_state
from trajstore.store.handle import finish_store
from trajstore.store.shard import FLAG_WRITTEN


def change_root(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    root = json.loads((path / "zarr.json").read_text())
    change(root)
    (path / "zarr.json").write_text(json.dumps(root))


def make_file(path: Path) -> None:
    path.write_text("somebody's")


def make_other_files(path: Path) -> None:
    (path / "photos").mkdir(parents=True)
    (path / "photos" / "cat.jpg").write_bytes(b"cat")


def make_other_group(path: Path) -> None:
    zarr.create_group(path, zarr_format=3, attributes={"title": "somebody's"})


def make_array(path: Path) -> None:
    zarr.create_array(path, shape=(4,), dtype="i4", zarr_format=3)


def make_not_json(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, ')


def make_not_utf8(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_bytes(b"\xff\xfe\x00")


def make_not_an_object(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text("[1, 2]")


def make_root_folder(path: Path) -> None:
    (path / "zarr.json").mkdir(parents=True)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def make_broken_attributes(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": 3}')


NOT_STORES: list[tuple[Callable[[Path], None], type[StoreError], str]] = [
    (make_file, NotAStoreError, "found a file"),
    (make_other_files, NotAStoreError, "photos/cat.jpg|no zarr.json"),
    (make_other_group, NotAStoreError, "without the attribute 'trajstore'"),
    (make_array, NotAStoreError, "no Zarr v3 group"),
    (make_not_json, StoreError, "not valid JSON"),
    (make_not_utf8, StoreError, "not valid JSON"),
    (make_not_an_object, NotAStoreError, "no Zarr v3 group"),
    (make_root_folder, StoreError, "no zarr.json"),
    (make_dangling_link, StoreError, "expected"),
    (make_broken_attributes, StoreError, "damaged"),
]


@pytest.mark.parametrize("use", [plan_build, build, info])
@pytest.mark.parametrize(
    ("make", "error", "message"), NOT_STORES, ids=[make.__name__ for make, *_ in NOT_STORES]
)
def test_what_is_no_store_is_refused_and_left_alone(
    tmp_path: Path,
    make: Callable[[Path], None],
    error: type[StoreError],
    message: str,
    use: Callable[[Path], object],
) -> None:
    path = tmp_path / "a.zarr"
    make(path)
    before = tree(tmp_path)
    with pytest.raises(error, match=message) as caught:
        use(path)
    assert str(path) in str(caught.value)
    assert tree(tmp_path) == before


def test_opening_nothing_says_how_to_make_a_store(tmp_path: Path) -> None:
    with pytest.raises(NotAStoreError, match="trajstore build"):
        open_store(tmp_path / "a.zarr")
    assert tree(tmp_path) == {".": None}


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_version_is_refused(tiny_copy: Path, version: object) -> None:
    change_root(tiny_copy, lambda root: root["attributes"][NAMESPACE].update(format_version=version))
    before = tree(tiny_copy)
    with pytest.raises(FormatVersionError, match=f"found store format {version!r}, expected 1"):
        open_store(tiny_copy)
    with pytest.raises(FormatVersionError):
        build(tiny_copy)
    assert tree(tiny_copy) == before


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda ours: ours.pop("fingerprint"), "fingerprint"),
        (lambda ours: ours["spec"]["video"].update(frames=0), "spec.video.frames"),
        (lambda ours: ours["spec"].update(colour="red"), "spec.colour"),
        (lambda ours: ours.update(history=3), "history"),
    ],
)
def test_damaged_attributes_are_named(
    tiny_copy: Path, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    change_root(tiny_copy, lambda root: change(root["attributes"][NAMESPACE]))
    before = tree(tiny_copy)
    with pytest.raises(StoreError, match=rf"trajstore\.{place}"):
        open_store(tiny_copy)
    assert tree(tiny_copy) == before


def test_every_truncation_of_the_root_is_an_error_of_ours(tiny_copy: Path) -> None:
    root = tiny_copy / "zarr.json"
    for size in range(0, root.stat().st_size, 97)[::-1]:
        truncate(root, size)
        with pytest.raises(TrajstoreError):
            open_store(tiny_copy)


def test_a_new_store_has_no_rows(tmp_path: Path, tiny_spec: DatasetSpec) -> None:
    path = tmp_path / "a.zarr"
    assert not exists(path)
    store = create_store(path, tiny_spec)
    assert exists(path)
    assert open_store(path).spec == tiny_spec == store.spec
    for group in store.layout.groups:
        assert not store.is_written(group).any()
        assert store.count_written()[group.name] == 0
    assert {entry.event for entry in store.attributes.history} == {"created"}


def test_what_an_interrupted_creation_left_is_completed(
    tmp_path: Path, tiny_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever subset of the keys is there: the root comes last, so there is no store before."""
    whole, write = tmp_path / "whole.zarr", Folder.write
    create_store(whole, tiny_spec)
    keys = [key for key in tree(whole) if (whole / key).is_file()]
    for limit in {*range(0, len(keys), 5), len(keys) - 2, len(keys) - 1}:
        path = tmp_path / f"{limit}.zarr"
        written: list[str] = []

        def write_some(
            self: Folder,
            key: str,
            data: bytes,
            written: list[str] = written,
            limit: int = limit,
            **options: Any,
        ) -> None:
            if len(written) == limit:
                raise KeyboardInterrupt
            written.append(key)
            write(self, key, data, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Folder, "write", write_some)
            if limit < len(keys) - 1:  # the last is the root, which is created and never replaced
                with pytest.raises(KeyboardInterrupt):
                    create_store(path, tiny_spec)
                assert not exists(path)
        create_store(path, tiny_spec)
        assert_same_bytes(path, whole)


def test_creation_refuses_a_folder_with_other_files(tmp_path: Path, tiny_spec: DatasetSpec) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(NotAStoreError, match=r"notes\.txt"):
        create_store(tmp_path, tiny_spec)
    assert tree(tmp_path) == {".": None, "notes.txt": b"mine"}


def test_creating_again_changes_nothing(tiny_store: Path, tiny_copy: Path, tiny_spec: DatasetSpec) -> None:
    """As two builders do that start at once: the slower finds the other's store, here with rows already."""
    for spec in (tiny_spec, tiny_spec.replace(samples=100, frames=7)):
        assert create_store(tiny_copy, spec).spec == tiny_spec
        assert_same_bytes(tiny_copy, tiny_store)


def test_of_two_creations_with_different_specs_the_first_wins(
    tmp_path: Path, tiny_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the second has overwritten some of its metadata by then."""
    path, other = tmp_path / "a.zarr", tiny_spec.replace(samples=100, frames=7)
    create_store(tmp_path / "reference.zarr", tiny_spec)
    write = Folder.write

    def create_other_first(self: Folder, key: str, data: bytes, **options: Any) -> None:
        monkeypatch.setattr(Folder, "write", write)
        create_store(path, tiny_spec)
        write(self, key, data, **options)

    monkeypatch.setattr(Folder, "write", create_other_first)
    assert create_store(path, other).spec == tiny_spec
    assert_same_bytes(path, tmp_path / "reference.zarr")


def test_members_are_consolidated_in_the_order_of_the_layout(tmp_path: Path, tiny_spec: DatasetSpec) -> None:
    path = tmp_path / "a.zarr"
    store = create_store(path, tiny_spec)
    root = json.loads((path / "zarr.json").read_text())
    members = root["consolidated_metadata"]["metadata"]
    assert list(members) == [column.name for column in store.layout.columns]
    for name, metadata in members.items():
        assert metadata == json.loads((path / name / "zarr.json").read_text())


def test_metadata_says_what_the_layout_says(tiny_store: Path) -> None:
    """Read by zarr itself."""
    group, layout = zarr.open_group(tiny_store, mode="r"), open_store(tiny_store).layout
    assert set(group.array_keys()) == {column.name for column in layout.columns}
    for column in layout.columns:
        array = group[column.name]
        assert isinstance(array, zarr.Array)
        assert (array.shape, array.chunks, array.shards) == (
            column.shape,
            column.chunk_shape,
            column.shard_shape,
        )
        assert array.dtype == np.dtype(column.dtype)
        assert array.metadata.dimension_names == column.dims
        np.testing.assert_array_equal(array.fill_value, column.fill_value)
        assert array.attrs.asdict() == dict(column.attributes)
        assert "_FillValue" not in array.attrs


def test_every_damage_to_a_flag_means_not_written(tiny_copy: Path) -> None:
    store = open_store(tiny_copy)
    video = store.layout.group("video")
    flag = tiny_copy / video.flags.key(2)
    assert flag.read_bytes() == FLAG_WRITTEN
    for position in range(8 * len(FLAG_WRITTEN)):
        flip_bit(flag, position // 8, position % 8)
        assert np.flatnonzero(~store.is_written(video)).tolist() == [2]
        flip_bit(flag, position // 8, position % 8)
    for size in reversed(range(len(FLAG_WRITTEN))):
        truncate(flag, size)
        assert np.flatnonzero(~store.is_written(video)).tolist() == [2]
    flag.unlink()
    assert np.flatnonzero(~store.is_written(video)).tolist() == [2]
    assert store.count_written()["video"] == 44 - 8


def test_strange_names_beside_flags_are_no_flags(tiny_copy: Path) -> None:
    store = open_store(tiny_copy)
    video = store.layout.group("video")
    (tiny_copy / video.flags.key(1)).unlink()
    for name in ("c.01", "c.6", "c.99", "c.-1", "c.x", "c.1.host~1~1.partial", "c.1.0", "c.¹"):
        (tiny_copy / video.flags.name / name).write_bytes(FLAG_WRITTEN)
    assert np.flatnonzero(~store.is_written(video)).tolist() == [1]


def test_flags_read_as_booleans(tiny_copy: Path) -> None:
    store = open_store(tiny_copy)
    for group in store.layout.groups:
        with xarray.open_zarr(tiny_copy) as dataset:
            assert dataset[group.flags.name].values.tolist() == [True] * len(group)
    (tiny_copy / store.layout.group("video").flags.key(5)).unlink()
    with xarray.open_zarr(tiny_copy) as dataset:
        assert dataset["video_written"].values.tolist() == [True] * 5 + [False]


def test_finishing_changes_the_history_alone(tiny_copy: Path, tiny_store: Path) -> None:
    def forget(root: dict[str, Any]) -> None:
        del root["attributes"][NAMESPACE]["history"][1:]
        root["attributes"]["license"] = "mine"

    change_root(tiny_copy, forget)
    store = open_store(tiny_copy)
    assert not any(map(store.was_finished, store.layout.groups))
    finished = finish_store(store)
    assert all(map(finished.was_finished, finished.layout.groups))
    assert open_store(tiny_copy).attributes == finished.attributes
    assert finished.attributes.history[:-1] == store.attributes.history
    root = json.loads((tiny_copy / "zarr.json").read_text())
    assert root["attributes"].pop("license") == "mine"
    (tiny_copy / "zarr.json").write_text(json.dumps(root, indent=2))
    assert_same_bytes(tiny_copy, tiny_store)


def test_stored_bytes_are_the_sizes_of_the_files(tiny_store: Path) -> None:
    sizes = open_store(tiny_store).storage.measure()
    assert sum(sizes.values()) == sum(path.stat().st_size for path in tiny_store.rglob("*") if path.is_file())
    assert sizes["video"] == sum(path.stat().st_size for path in (tiny_store / "video").iterdir())


@pytest.mark.parametrize("damage", ["bit", "size", "no file"])
def test_damaged_labels_are_an_error_of_ours(tiny_copy: Path, damage: str) -> None:
    chunk = tiny_copy / "class_label" / "c.0"
    if damage == "bit":
        flip_bit(chunk, 12)
    elif damage == "size":
        truncate(chunk, 10)
    else:
        chunk.unlink()
    with pytest.raises(CorruptDataError, match="class_label"):
        info(tiny_copy)


@pytest.mark.parametrize("damage", ["torn", "lost"])
def test_labels_are_counted_whatever_an_array_says_of_itself(
    tiny_copy: Path, tiny_store: Path, damage: str
) -> None:
    """What is where follows from the root; that the array's own metadata is damaged is for `verify` to find."""
    if damage == "torn":
        truncate(tiny_copy / "class_label" / "zarr.json", 100)
    else:
        (tiny_copy / "class_label" / "zarr.json").unlink()
    assert info(tiny_copy).classes == info(tiny_store).classes
    assert [finding.key for finding in verify(tiny_copy).damage] == ["class_label/zarr.json"]


def test_a_store_that_cannot_be_read_is_not_said_to_be_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    plan = plan_build(tmp_path / "a.zarr", DatasetSpec())
    assert describe_state(plan).startswith("no samples are written; continue with: trajstore build ")
    monkeypatch.setattr(Folder, "read", refuse)
    assert describe_state(plan).startswith("what is written cannot be read; ")


def test_a_creation_that_was_killed_while_it_claimed_the_root_is_begun_again(tmp_path: Path) -> None:
    fields = {"samples": 8, "frames": 4, "height": 16, "width": 16}
    create_store(tmp_path / "a.zarr", DatasetSpec().replace(**fields))
    truncate(tmp_path / "a.zarr" / "zarr.json", 0)
    with pytest.raises(NotAStoreError, match="make one with: trajstore build"):
        info(tmp_path / "a.zarr")
    assert build(tmp_path / "a.zarr", **fields).summary.is_complete
    truncate(tmp_path / "a.zarr" / "zarr.json", 0)
    with pytest.raises(StoreError, match=r"not valid JSON.*trajstore repair"):
        build(tmp_path / "a.zarr", **fields)
