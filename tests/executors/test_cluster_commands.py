"""Verifying, repairing and exporting on a Dask cluster: as with threads, whatever happens to workers."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.clusters import kill_a_local_worker
from support.faults import FAULTS, assert_same_bytes, flip_bit, tree, truncate
from support.stores import open_store

import trajstore
from trajstore import cli
from trajstore.commands.build import build
from trajstore.commands.export import export
from trajstore.commands.extend import extend
from trajstore.commands.repair import repair
from trajstore.commands.verify import verify
from trajstore.errors import ClusterError, CorruptDataError, ExportError, InterruptedBuildError, StoreError
from trajstore.executors import dask as cluster
from trajstore.executors.local import LocalWorkers
from trajstore.exporters.plan import plan_export
from trajstore.exporters.write import WriteBatch, begin_export
from trajstore.integrity.checks import CheckTask
from trajstore.progress import Progress
from trajstore.storage import durable

pytestmark = [
    # what tornado leaves to the collector when a connection is cut in the middle of a message
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


@pytest.fixture
def on_cluster(workers: LocalWorkers) -> dict[str, Any]:
    """Arguments that make a command run on the workers."""
    return {"executor": "dask", "scheduler": workers.address}


def damage_much(store: Path) -> None:
    """Damage data, flags and metadata of a store of the tiny spec, and put a file beside them."""
    flip_bit(store / "video/c.3.0.0.0.0.0", 50)
    truncate(store / "video/c.5.0.0.0.0.0", 200)
    (store / "video/c.1.0.0.0.0.0").unlink()
    shutil.copy(store / "video/c.0.0.0.0.0.0", store / "video/c.4.0.0.0.0.0")
    (store / "video_written/c.2").unlink()
    flip_bit(next((store / "pixel").glob("c.0*")), 40)
    flip_bit(store / "labels_written/c.0", 3)
    (store / "split/zarr.json").unlink()
    (store / "video/notes.txt").write_text("mine")


def summarize(events: list[Progress]) -> dict[str, tuple[int, int, int, int]]:
    """What progress says at the end of each phase, but for seconds and workers."""
    return {event.phase: (event.done, event.total, event.stored_bytes, event.raw_bytes) for event in events}


# ---------------------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize("state", ["sound", "damaged", "half built"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_cluster_finds_what_threads_find(
    on_cluster: dict[str, Any], tiny_copy: Path, tiny_fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    state: str, deep: bool,
) -> None:  # fmt: skip
    if state == "damaged":
        damage_much(tiny_copy)
    elif state == "half built":
        shutil.rmtree(tiny_copy)
        build(tiny_copy, part="1/2", **tiny_fields)
        flip_bit(tiny_copy / "video/c.1.0.0.0.0.0", 50)
        (tiny_copy / "video_written/c.0").unlink()
    monkeypatch.chdir(tiny_copy.parent)  # the workers have another working folder
    before, events = tree(tiny_copy), ([], [])
    found, expected = (
        verify(tiny_copy.name, deep=deep, progress=seen.append, **where)
        for seen, where in zip(events, (on_cluster, {}), strict=True)
    )
    assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)
    assert len(found.findings) >= {"sound": 0, "damaged": 9, "half built": 2}[state]
    assert summarize(events[0]) == summarize(events[1])
    assert {event.workers for event in events[0]} <= {1, 2}
    assert tree(tiny_copy) == before


def test_a_worker_that_is_killed_is_no_damage(on_cluster: dict[str, Any], tiny_copy: Path) -> None:
    rng, kills = random.Random(7), [1, 20]

    def kill(event: Progress) -> None:
        if event.phase == "verify video" and kills and event.fresh >= kills[0]:
            del kills[0]
            kill_a_local_worker(rng)

    flip_bit(tiny_copy / "video/c.3.0.0.0.0.0", 50)
    found = verify(tiny_copy, deep=True, progress=kill, **on_cluster)
    assert not kills
    assert replace(found, seconds=0.0) == replace(verify(tiny_copy, deep=True), seconds=0.0)


# -------------------------------------------------------------------------------------------------- annotate


def test_a_cluster_annotates_what_threads_annotate_whatever_happens_to_a_worker(
    on_cluster: dict[str, Any], tiny_copy: Path, tiny_store: Path, tmp_path: Path
) -> None:
    other, names, kills = (
        Path(shutil.copytree(tiny_store, tmp_path / "b.zarr")),
        ("segmentation", "flow"),
        [1],
    )
    events: tuple[list[Progress], list[Progress]] = ([], [])

    def watch(event: Progress) -> None:
        events[0].append(event)
        if kills and event.fresh >= kills[0]:
            kills.clear()
            kill_a_local_worker(random.Random(3))

    trajstore.annotate(tiny_copy, *names, progress=watch, **on_cluster)
    trajstore.annotate(other, *names, progress=events[1].append)
    assert not kills
    trajstore.build(tiny_copy)  # sweeps what the killed worker has left
    assert_same_bytes(tiny_copy, other)
    assert summarize(events[0]) == summarize(events[1])
    assert verify(tiny_copy, deep=True, **on_cluster).findings == ()


# ---------------------------------------------------------------------------------------------------- repair


@pytest.mark.parametrize("fault", ["much", *random.Random(0).sample(sorted(FAULTS), 6), "root: size changed"])
def test_a_cluster_mends_what_threads_mend(
    on_cluster: dict[str, Any], tiny_copy: Path, tiny_store: Path, tmp_path: Path, fault: str
) -> None:
    if fault == "much":
        damage_much(tiny_copy)
    else:
        FAULTS[fault](tiny_copy, random.Random(3))
    other = Path(shutil.copytree(tiny_copy, tmp_path / "other.zarr"))
    events: list[list[Progress]] = [[], []]
    done = repair(tiny_copy, progress=events[0].append, **on_cluster)
    expected = repair(other, progress=events[1].append)
    assert replace(done, seconds=0.0, location="") == replace(expected, seconds=0.0, location="")
    assert done.found
    assert summarize(events[0]) == summarize(events[1])
    assert_same_bytes(tiny_copy, other)
    (tiny_copy / "video/notes.txt").unlink(missing_ok=True)
    assert_same_bytes(tiny_copy, tiny_store)


def test_a_store_whose_root_is_lost_is_mended_with_its_spec(
    on_cluster: dict[str, Any], tiny_copy: Path, tiny_store: Path
) -> None:
    spec = open_store(tiny_copy).spec
    (tiny_copy / "zarr.json").unlink()
    flip_bit(tiny_copy / "video/c.3.0.0.0.0.0", 50)
    done = repair(tiny_copy, spec=spec, **on_cluster)
    assert [task.index for task in done.done.rebuild] == [3]
    assert_same_bytes(tiny_copy, tiny_store)


def test_only_what_a_report_names_is_mended(
    on_cluster: dict[str, Any], tiny_copy: Path, tiny_store: Path
) -> None:
    flip_bit(tiny_copy / "video/c.3.0.0.0.0.0", 50)
    report = verify(tiny_copy, **on_cluster).to_json()
    flip_bit(tiny_copy / "video/c.1.0.0.0.0.0", 50)
    assert [task.index for task in repair(tiny_copy, report=report, **on_cluster).done.rebuild] == [3]
    assert [task.index for task in repair(tiny_copy, **on_cluster).done.rebuild] == [1]
    assert_same_bytes(tiny_copy, tiny_store)


# ---------------------------------------------------------------------------------------------------- export


def list_files(folder: Path) -> dict[str, bytes | None]:
    """All there is of an export but its metadata, which says when it was made."""
    return {name: data for name, data in tree(folder).items() if name != "metadata.json"}


@pytest.mark.torch
def test_a_cluster_exports_what_threads_export_and_goes_on_with_what_is_there(
    on_cluster: dict[str, Any], tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the workers have another working folder
    rng, kills = random.Random(7), [1]

    def kill(event: Progress) -> None:
        if event.fresh and kills:
            del kills[0]
            kill_a_local_worker(rng)
            durable._name_partial(Path("mine/videos/a.pt")).touch()  # as if in the middle of writing

    events: list[list[Progress]] = [[], []]
    stop_at_once = {"should_stop": lambda: 2 if events[0] and events[0][-1].fresh else 0}
    with pytest.raises(InterruptedBuildError, match="are missing; continue with: trajstore export"):
        export(tiny_store, "mine", progress=events[0].append, **on_cluster, **stop_at_once)
    left = next((tmp_path / "mine/videos").iterdir())
    left.write_bytes(b"torn")
    done = export(tiny_store, "mine", progress=kill, **on_cluster)
    assert not kills
    expected = export(tiny_store, "theirs", progress=events[1].append)
    assert list_files(tmp_path / "mine") == list_files(tmp_path / "theirs")
    assert done.metadata.source == expected.metadata.source
    assert (expected.new_samples, done.metadata.total_samples) == (44, 44)
    assert trajstore.validate("mine", tiny_store).is_valid
    assert export(tiny_store, "mine", **on_cluster).new_samples == 0


@pytest.mark.torch
def test_what_is_damaged_ends_an_export_as_with_threads_until_it_is_mended(
    on_cluster: dict[str, Any], tiny_copy: Path, tmp_path: Path
) -> None:
    truncate(tiny_copy / "video/c.3.0.0.0.0.0", 200)
    with pytest.raises(CorruptDataError) as expected:
        export(tiny_copy, tmp_path / "theirs")
    text = r"^rows-000024 failed on worker .*are missing; continue with: trajstore export"
    with pytest.raises(ClusterError, match=text) as found:
        export(tiny_copy, tmp_path / "mine", **on_cluster)
    assert f": {expected.value}; " in str(found.value)
    assert found.value.exit_code == expected.value.exit_code
    assert not (tmp_path / "mine/metadata.json").exists()
    repair(tiny_copy, **on_cluster)
    for folder, where in (("mine", on_cluster), ("theirs", {})):  # by workers that had read the damaged store
        export(tiny_copy, tmp_path / folder, **where)
    assert list_files(tmp_path / "mine") == list_files(tmp_path / "theirs")


# ------------------------------------------------------------------------------------------------- bad workers


@pytest.mark.parametrize("lose", [shutil.rmtree, lambda path: (path / "zarr.json").unlink()])
def test_a_store_that_workers_do_not_see_is_not_taken_for_a_damaged_one(
    tiny_copy: Path, lose: Callable[[Path], None]
) -> None:
    sent = pickle.dumps(CheckTask(open_store(tiny_copy), deep=True))
    build(tiny_copy.parent / "other.zarr", samples=44, frames=4, height=16, width=16, seed=1)
    task = open_store(tiny_copy).layout.group("video").task(0)
    assert pickle.loads(sent)(task).faults == ()
    extend(tiny_copy, 60)
    assert pickle.loads(sent)(task).faults == ()
    lose(tiny_copy)
    with pytest.raises(StoreError, match="found another store here than where the command was begun"):
        pickle.loads(sent)
    shutil.rmtree(tiny_copy, ignore_errors=True)
    (tiny_copy.parent / "other.zarr").rename(tiny_copy)
    with pytest.raises(StoreError, match="expected a location that is the same for all workers"):
        pickle.loads(sent)


@pytest.mark.torch
def test_a_folder_that_workers_do_not_see_is_not_written(tiny_store: Path, tmp_path: Path) -> None:
    plan = plan_export(tiny_store, tmp_path / "out", split="val")
    write = WriteBatch(plan.reader, plan.folder, plan.source)
    begin_export(plan)
    sent = pickle.dumps(write)
    assert len(sent) < 1000
    assert pickle.loads(sent).source == plan.source
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ExportError, match="found another folder here than where the export was begun"):
        pickle.loads(sent)
    begin_export(plan_export(tiny_store, tmp_path / "out", split="train"))
    with pytest.raises(ExportError, match="expected one that is the same for all workers"):
        pickle.loads(sent)


# ------------------------------------------------------------------------------------------------ bad arguments


COMMANDS = [["verify"], ["repair"], pytest.param(["export", "out"], marks=pytest.mark.torch)]


@pytest.mark.parametrize("words", COMMANDS)
def test_bad_arguments_are_one_line_and_nothing_is_written(
    words: list[str], tiny_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    monkeypatch.chdir(tmp_path)
    flip_bit(tiny_copy / "video/c.3.0.0.0.0.0", 50)
    before = tree(tmp_path)
    name, *more = words
    for place, options, code, text in [
        ("copy.zarr", ["--executor", "spark"], 2, "executor: found 'spark', expected one of threads, dask"),
        ("copy.zarr", ["--scheduler", "tcp://a:1"], 2, "add: --executor dask"),
        ("copy.zarr", ["--executor", "dask", "--workers", "0"], 2, "workers: found 0, expected at least 1"),
        ("memory://a.zarr", ["--executor", "dask"], 2, "memory://a.zarr: only this process sees it"),
        ("nothing.zarr", ["--executor", "dask"], 1, "nothing.zarr: found nothing"),
        (
            "copy.zarr", ["--executor", "dask", "--scheduler", "tcp://127.0.0.1:9"], 1,
            "scheduler tcp://127.0.0.1:9: cannot be reached within 0.2 s",
        ),
    ]:  # fmt: skip
        monkeypatch.setattr("sys.argv", ["trajstore", name, place, *more, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert (ended.value.code, printed.out) == (code, ""), (words, options)
        (line,) = printed.err.splitlines()
        assert line.startswith("trajstore: ")
        assert text in line
    assert tree(tmp_path) == before


@pytest.mark.parametrize("words", COMMANDS)
def test_the_command_line_passes_its_options_on(
    words: list[str], workers: LocalWorkers, tiny_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    name, *more = words
    options = ["--executor", "dask", "--scheduler", workers.address]
    monkeypatch.setattr("sys.argv", ["trajstore", name, str(tiny_copy), *more, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (None, 0)
    assert capsys.readouterr().err.rstrip().endswith("workers")
