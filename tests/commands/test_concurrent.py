"""Two commands at once on one store: nothing is undone, no flag lies, and whoever loses says why and how to go on."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
from support.faults import Command, KillAt, Result, assert_flags_are_true, assert_same_bytes, start, tree
from support.stores import open_store

import trajstore
from trajstore.errors import StoreError
from trajstore.storage import locking

SAMPLES, FURTHER = 75, 90
SHARD = "video/c.{}.0.0.0.0.0"
ROOT = "a.zarr/zarr.json"


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory, tiny_fields: dict[str, Any]) -> Path:
    """The store that others grow to."""
    path = tmp_path_factory.mktemp("larger") / "a.zarr"
    trajstore.build(path, **tiny_fields | {"samples": SAMPLES})
    return path


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory, tiny_store: Path) -> Path:
    """The store that others are annotated to."""
    path = Path(shutil.copytree(tiny_store, tmp_path_factory.mktemp("annotated") / "a.zarr"))
    trajstore.annotate(path, "flow")
    return path


@pytest.fixture
def store(tiny_store: Path, tmp_path: Path) -> Path:
    """A finished store of 44 samples."""
    return Path(shutil.copytree(tiny_store, tmp_path / "a.zarr"))


@pytest.fixture
def unfinished(store: Path) -> Path:
    """The same before its last shard was written, which is half full."""
    (store / SHARD.format(5)).unlink()
    (store / "video_written/c.5").unlink()
    root = json.loads((store / "zarr.json").read_text())
    del root["attributes"]["trajstore"]["history"][1:]
    (store / "zarr.json").write_text(json.dumps(root, indent=2))
    return store


def last_line(result: Result) -> str:
    """The message of a command that may have said before that it stood still."""
    message = result.err.removeprefix("stalled\n")
    assert message.count("\n") == 1
    return message.strip()


def run_beside(slow: Command, *arguments: object) -> Command:
    """Run a command while another stands still where it changes the root; one of them has to wait."""
    slow.wait_for_stall()
    fast = start(*arguments)
    fast.runs_for(0.5)
    slow.resume()
    return fast


# ----------------------------------------------------------------------------------------------- what the root says


def test_a_build_that_finishes_undoes_no_extension(unfinished: Path, larger: Path) -> None:
    slow = start("build", unfinished, "-q", stall=ROOT)
    fast = run_beside(slow, "extend", unfinished, "--samples", SAMPLES, "-q")
    assert {slow.wait().code, fast.wait().code} <= {0, 1}
    assert open_store(unfinished).spec.dataset.samples == SAMPLES
    events = [(entry.event, entry.samples) for entry in open_store(unfinished).attributes.history]
    assert events[:3] == [("created", 44), ("finished", 44), ("extended", SAMPLES)]
    trajstore.build(unfinished)
    assert trajstore.verify(unfinished).findings == ()
    assert_same_bytes(unfinished, larger)


@pytest.mark.parametrize(("slow_size", "fast_size"), [(60, SAMPLES), (SAMPLES, 60), (SAMPLES, SAMPLES)])
def test_the_larger_of_two_extensions_wins(slow_size: int, fast_size: int, store: Path, larger: Path) -> None:
    slow = start("extend", store, "--samples", slow_size, "-q", stall=ROOT)
    fast = run_beside(slow, "extend", store, "--samples", fast_size, "-q")
    results = {slow_size: slow.wait(), fast_size: fast.wait()}
    assert results[SAMPLES].code == 0
    assert open_store(store).spec.dataset.samples == SAMPLES
    if 60 in results and results[60].code:
        message = last_line(results[60])
        assert f"found {SAMPLES} samples" in message
        assert message.endswith(f"trajstore build {store}")
    trajstore.build(store)
    assert trajstore.verify(store).findings == ()
    assert_same_bytes(store, larger)


def test_annotating_and_extending_at_once_does_both(store: Path) -> None:
    slow = start("annotate", store, "flow", "-q", stall=ROOT)
    fast = run_beside(slow, "extend", store, "--samples", SAMPLES, "-q")
    assert {slow.wait().code, fast.wait().code} <= {0, 1}
    found = open_store(store).spec
    assert (found.dataset.samples, found.annotations.groups) == (SAMPLES, ("flow",))
    trajstore.build(store)
    assert trajstore.verify(store).findings == ()


def test_a_repair_of_the_root_undoes_no_extension(store: Path, larger: Path) -> None:
    text = (store / "zarr.json").read_text()
    (store / "zarr.json").write_text(text.replace('"event"', '"eVent"', 1))
    repairing = start("repair", store, "-q", stall=ROOT)
    fast = run_beside(repairing, "extend", store, "--samples", SAMPLES, "-q")
    repairing.wait()
    fast.wait()
    assert open_store(store).spec.dataset.samples == SAMPLES
    trajstore.repair(store)
    trajstore.build(store)
    assert trajstore.verify(store).findings == ()
    assert_same_bytes(store, larger)


def test_a_repair_refuses_a_store_that_has_changed(store: Path) -> None:
    (store / "zarr.json").write_text((store / "zarr.json").read_text().replace('"event"', '"eVent"', 1))
    (store / "split/zarr.json").write_text("{}")
    repairing = start("repair", store, "-q", stall="split/zarr.json").wait_for_stall()
    trajstore.extend(store, SAMPLES)
    refused = repairing.resume().wait()
    assert refused.code == 1
    assert f"run it again: trajstore repair {store}" in refused.err
    trajstore.repair(store)
    assert trajstore.verify(store).findings == ()
    assert trajstore.info(store).samples == SAMPLES


def put_after(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do something just before the next time that a root in a bucket is written."""
    put = obstore.put

    def put_later(client: Any, key: str, data: bytes, **options: Any) -> Any:
        if key == "zarr.json":
            monkeypatch.setattr(obstore, "put", put)
            action()
        return put(client, key, data, **options)

    monkeypatch.setattr(obstore, "put", put_later)


@pytest.mark.parametrize("sizes", [(60, SAMPLES), (SAMPLES, 60)])
def test_the_larger_of_two_extensions_wins_in_a_bucket(
    sizes: tuple[int, int], tiny_fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory://extend-{sizes[0]}"
    trajstore.build(url, **tiny_fields)
    put_after(monkeypatch, lambda: trajstore.extend(url, sizes[1]))
    if sizes[0] < sizes[1]:
        with pytest.raises(StoreError, match=f"found {SAMPLES} samples, .* trajstore build {url}"):
            trajstore.extend(url, sizes[0])
    else:
        trajstore.extend(url, sizes[0])
    assert trajstore.info(url).samples == SAMPLES
    assert trajstore.info(url).is_complete
    assert trajstore.verify(url, deep=True).findings == ()


def test_a_build_that_finishes_undoes_nothing_in_a_bucket(
    tiny_fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "memory://finish"
    trajstore.build(url, part="1/2", **tiny_fields)
    trajstore.annotate(url, "flow")
    put_after(monkeypatch, lambda: trajstore.extend(url, SAMPLES))
    with pytest.raises(StoreError, match="extended while it was being built"):
        trajstore.build(url, part="2/2")
    summary = trajstore.build(url).summary
    assert (summary.samples, summary.is_complete) == (SAMPLES, True)
    assert [entry["event"] for entry in summary.history] == ["created", "annotated", "extended", "finished"]
    assert trajstore.verify(url, deep=True).findings == ()


# --------------------------------------------------------------------------------------- what flags say after kill -9


def test_a_builder_of_the_smaller_store_is_killed_after_the_extension(unfinished: Path, larger: Path) -> None:
    after_its_flag = KillAt("video_written/c.5", "after")
    slow = start("build", unfinished, "-q", stall=SHARD.format(5), kill=after_its_flag).wait_for_stall()
    trajstore.extend(unfinished, SAMPLES)
    refused = slow.resume().wait()
    assert_flags_are_true(unfinished, larger)
    assert trajstore.build(unfinished).summary.is_complete
    assert trajstore.verify(unfinished).findings == ()
    assert_same_bytes(unfinished, larger)
    assert refused.code == 1
    assert "it was extended while it was being built" in last_line(refused)
    assert last_line(refused).endswith(f"trajstore build {unfinished}")


def test_a_repair_is_killed_after_a_build_has_mended(store: Path, tiny_store: Path) -> None:
    (store / SHARD.format(3)).write_bytes(b"damaged")
    slow = start("repair", store, "-q", stall=SHARD.format(3), kill=KillAt(SHARD.format(3), "after"))
    slow.wait_for_stall()
    assert trajstore.build(store).new_samples == 8
    assert slow.resume().wait().code == -9
    assert_flags_are_true(store, tiny_store)
    trajstore.build(store)
    assert_same_bytes(store, tiny_store)


def test_a_repair_sets_no_flag_of_a_task_that_has_grown(store: Path, larger: Path) -> None:
    (store / "video_written/c.5").unlink()
    slow = start("repair", store, "-q", stall="video_written/c.5").wait_for_stall()
    killed = start("extend", store, "--samples", SAMPLES, "-q", kill=KillAt(SHARD.format(5)))
    assert killed.wait().code == -9
    assert slow.resume().wait().code == 1
    assert_flags_are_true(store, larger)
    trajstore.build(store)
    assert_same_bytes(store, larger)


def test_an_annotator_sets_no_flag_after_its_annotation_was_removed(store: Path, annotated: Path) -> None:
    slow = start("annotate", store, "flow", "-q", stall="flow_written/c.3").wait_for_stall()
    trajstore.remove_annotations(store, "flow")
    killed = start("annotate", store, "flow", "-q", kill=KillAt("*_flow/c.*"))
    assert killed.wait().code == -9
    refused = slow.resume().wait()
    assert refused.code == 1
    # its other threads may have seen the store before the annotation was added again
    assert re.search("another command has changed the store|it was removed meanwhile", last_line(refused))
    assert_flags_are_true(store, annotated)
    trajstore.annotate(store, "flow")
    assert_same_bytes(store, annotated)


@pytest.mark.parametrize("key", ["flow_written/c.3", "forward_flow/c.3*", "backward_flow/zarr.json"])
def test_what_is_removed_slowly_is_not_what_was_added_again(key: str, store: Path, annotated: Path) -> None:
    trajstore.annotate(store, "flow")
    slow = start("annotate", store, "--remove", "flow", "-q", stall=key).wait_for_stall()
    trajstore.annotate(store, "flow")
    refused = slow.resume().wait()
    assert refused.code == 1
    assert "another command has added it" in refused.err
    assert_flags_are_true(store, annotated)
    assert trajstore.verify(store).findings == ()
    assert_same_bytes(store, annotated)


def test_a_lock_that_is_never_released_ends_in_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "PATIENCE_SECONDS", 0.05)
    before = tree(store)
    with locking.lock_folder(store, is_shared=True) as is_locked:
        assert is_locked
        with pytest.raises(StoreError, match=r"held the store's lock .* let it go on or end it"):
            trajstore.extend(store, SAMPLES)
    assert tree(store) == before


def test_without_locks_all_goes_on(store: Path, larger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "fcntl", None)
    trajstore.extend(store, SAMPLES)
    assert trajstore.verify(store).findings == ()
    assert_same_bytes(store, larger)
