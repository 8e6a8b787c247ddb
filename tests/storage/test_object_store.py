"""Everything that a store can do, in a bucket: OpenStack Swift answers, as S3 does."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
import xarray
from support.clusters import kill_a_local_worker
from support.faults import assert_flags_are_true, assert_same_bytes, flip_bit, run
from support.swift_server import OWNER, READER, STRANGER, Request, SwiftServer, User
from zarr.storage import ObjectStore

import trajstore
from trajstore import cli
from trajstore.errors import DamageError, NotAStoreError, SpecError, StoreError, TrajstoreError
from trajstore.executors.local import start_workers
from trajstore.progress import Progress
from trajstore.storage.interface import Storage
from trajstore.storage.location import Location
from trajstore.storage.open import open_storage

SHARD = "video/c.{}.0.0.0.0.0"
FEW_RETRIES = {"max_retries": "2"}


@dataclass(frozen=True)
class Place:
    """Where a store lies, or may lie, on the server.

    Attributes
    ----------
    server : SwiftServer
        The server.
    bucket : str
        The bucket, which may be missing.
    user : User
        Who asks.
    more : tuple of (str, str)
        Further storage options.
    """

    server: SwiftServer
    bucket: str
    user: User = OWNER
    more: tuple[tuple[str, str], ...] = ()

    prefix = "some/store.zarr"

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def options(self) -> dict[str, str]:
        return self.server.options(self.user) | dict(self.more)

    @property
    def arguments(self) -> list[str]:
        """The location as arguments of a command."""
        pairs = [f"{name}={value}" for name, value in self.options.items()]
        return [self.url, *(part for pair in pairs for part in ("--storage-option", pair))]

    @property
    def objects(self) -> Storage:
        return open_storage(Location.parse(self.url, self.options))

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call a function of the library with this location."""
        return function(self.url, *arguments, storage_options=self.options, **keywords)

    def download(self, folder: Path) -> Path:
        """Copy what lies on the server into a folder."""
        return self.server.download(self.bucket, self.prefix, folder)

    def data_file(self, key: str) -> Path:
        """The server's own file of an object."""
        return self.server.data_file(self.bucket, f"{self.prefix}/{key}")


@dataclass(frozen=True)
class Built:
    """A finished store in a bucket, for reading only, and the requests that it took."""

    place: Place
    requests: list[Request]


@pytest.fixture(scope="module")
def built(swift: SwiftServer, tiny_fields: dict[str, Any]) -> Built:
    place = Place(swift, swift.create_bucket(is_public=True))
    with swift.recording() as requests:
        place.call(trajstore.build, **tiny_fields)
    return Built(place, requests)


@pytest.fixture
def place(swift: SwiftServer, bucket: str) -> Place:
    """A bucket with nothing in it."""
    return Place(swift, bucket)


@pytest.fixture
def copy(place: Place, tiny_store: Path) -> Place:
    """A finished store of the tiny spec that a test may change."""
    place.server.upload(tiny_store, place.bucket, place.prefix)
    return place


def test_build_in_a_bucket_is_that_on_a_disk_and_each_object_takes_one_request(
    built: Built, tiny_store: Path, tmp_path: Path
) -> None:
    assert_same_bytes(built.place.download(tmp_path / "found"), tiny_store)
    writes = [request for request in built.requests if request.method not in ("GET", "HEAD")]
    root = f"/{built.place.bucket}/{built.place.prefix}/zarr.json"
    refused = [
        request for request in writes if request.status == 501
    ]  # Swift knows no condition but "create"
    assert [request.path for request in refused] == [root]
    writes = [request for request in writes if request not in refused]
    assert {(request.method, request.query, request.status) for request in writes} == {("PUT", "", 200)}
    counts = Counter(request.path for request in writes)
    assert counts.pop(root) == 2  # created and, at last, finished
    assert set(counts.values()) == {1}


def test_build_on_a_cluster_whose_worker_is_killed(
    place: Place, tiny_fields: dict[str, Any], tmp_path: Path
) -> None:
    fields = tiny_fields | {"samples": 240, "samples_per_shard": 4}
    kills = [20]

    def kill_once(event: Progress) -> None:
        if event.phase == "video" and kills and event.fresh >= kills[0]:
            del kills[0]
            kill_a_local_worker(random.Random(0))

    report = place.call(trajstore.build, executor="dask", workers=2, progress=kill_once, **fields)
    assert not kills
    assert report.summary.is_complete
    trajstore.build(tmp_path / "expected.zarr", **fields)
    assert_same_bytes(place.download(tmp_path / "found"), tmp_path / "expected.zarr")


def test_large_object_takes_one_request(place: Place) -> None:
    """Clients like to upload more than 5 MiB in parts, which cost a request each and can be left behind."""
    data = bytes(range(256)) * 6 * 2**12
    with place.server.recording() as requests:
        for store in (place.objects.write, place.objects.create):
            store(store.__name__, data)
    assert [(request.method, request.received) for request in requests] == [("PUT", len(data))] * 2
    assert place.data_file("create").read_bytes() == data
    place.objects.create("write", b"")  # is there already
    assert place.objects.read("write") == data


def test_reading_asks_for_ranges(built: Built, tiny_store: Path) -> None:
    local = trajstore.open_reader(tiny_store)
    with built.place.server.recording() as requests, built.place.call(trajstore.open_reader) as reader:
        np.testing.assert_array_equal(reader[9], local[9])
    shard = (tiny_store / SHARD.format(1)).stat().st_size
    of_shard = [request for request in requests if request.path.endswith(SHARD.format(1))]
    assert {(request.method, request.status) for request in of_shard} == {("GET", 206)}
    assert len(of_shard) == 2  # the index and the sample
    assert sum(request.sent for request in of_shard) < shard / 2
    # a batch: rows of a shard share a request, and what is known is not asked for again
    with built.place.call(trajstore.open_reader) as reader:
        rows = [*range(8, 14), 15, 40, 2, 3]
        reader.read([0, 8, 40])
        with built.place.server.recording() as requests:
            np.testing.assert_array_equal(reader.read(rows), local.read(rows))
        keys = Counter(request.path.partition(f"{built.place.prefix}/")[2] for request in requests)
        assert keys == {SHARD.format(shard): 1 for shard in (0, 1, 5)}
        for name in reader.columns:
            np.testing.assert_array_equal(reader.column(name), local.column(name))


def test_xarray_opens_it(built: Built, tiny_store: Path) -> None:
    store = obstore.store.from_url(
        built.place.url,
        config={name: value for name, value in built.place.server.options().items() if name != "allow_http"},
        client_options={"allow_http": True},
    )
    with xarray.open_zarr(tiny_store, chunks=None) as expected:
        with xarray.open_zarr(ObjectStore(store, read_only=True)) as found:
            xarray.testing.assert_identical(found.load().drop_attrs(), expected.load().drop_attrs())
        with built.place.call(trajstore.open) as found:
            np.testing.assert_array_equal(found["video"][3], expected["video"][3])


def test_summary_and_sound(built: Built, tiny_store: Path) -> None:
    found, expected = built.place.call(trajstore.info), trajstore.info(tiny_store)
    assert found.location == built.place.url
    fields = found.to_json() | {"location": "", "history": ""}
    assert fields == expected.to_json() | {"location": "", "history": ""}
    report = built.place.call(trajstore.verify, deep=True)
    assert (report.findings, report.checked["video"]) == ((), 44)


def test_resume_writes_only_what_is_missing(
    place: Place, tiny_store: Path, tmp_path: Path, tiny_fields: dict[str, Any]
) -> None:
    place.call(trajstore.build, part="1/2", **tiny_fields)
    with place.server.recording() as requests:
        report = place.call(trajstore.build)
    assert report.new_samples == 44 - 24
    written = {request.path for request in requests if request.method == "PUT"}
    assert {path for path in written if "/video/" in path} == {
        f"/{place.bucket}/{place.prefix}/{SHARD.format(index)}" for index in (3, 4, 5)
    }
    assert_same_bytes(place.download(tmp_path / "found"), tiny_store)


def test_flipped_bit_is_found_and_mended(copy: Place, tiny_store: Path, tmp_path: Path) -> None:
    flip_bit(copy.data_file(SHARD.format(2)), 100)
    flip_bit(copy.data_file("box/c.0.0.0.0"), 30)
    copy.data_file(SHARD.format(4)).unlink()
    damage = copy.call(trajstore.verify).damage
    assert {(finding.kind, finding.key) for finding in damage} == {
        ("corrupt", SHARD.format(2)),
        ("corrupt", "box/c.0.0.0.0"),
        ("missing", SHARD.format(4)),
    }
    report = copy.call(trajstore.repair)
    assert {task.index for task in report.done.rebuild if task.group == "video"} == {2, 4}
    assert copy.call(trajstore.verify).findings == ()
    assert_same_bytes(copy.download(tmp_path / "found"), tiny_store)


def test_a_cluster_finds_and_mends_the_same(copy: Place, tiny_store: Path, tmp_path: Path) -> None:
    copy.objects.write(SHARD.format(2), copy.objects.read(SHARD.format(0)) or b"")
    copy.objects.remove(SHARD.format(4))
    with start_workers(1) as workers:
        where = {"executor": "dask", "scheduler": workers.address}
        found, expected = copy.call(trajstore.verify, **where), copy.call(trajstore.verify)
        assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)
        assert len(copy.call(trajstore.repair, **where).done.rebuild) == len(found.damage) == 2
    assert_same_bytes(copy.download(tmp_path / "found"), tiny_store)


def test_extend(copy: Place, tmp_path: Path, tiny_fields: dict[str, Any]) -> None:
    copy.call(trajstore.extend, 60)
    trajstore.build(tmp_path / "larger.zarr", **tiny_fields | {"samples": 60})
    assert_same_bytes(copy.download(tmp_path / "found"), tmp_path / "larger.zarr")


def test_annotations_are_added_and_removed(copy: Place, tiny_store: Path, tmp_path: Path) -> None:
    local = Path(shutil.copytree(tiny_store, tmp_path / "local.zarr"))
    names = ("segmentation", "flow")
    copy.call(trajstore.annotate, *names, part="1/2")
    copy.call(trajstore.annotate, *names)
    trajstore.annotate(local, *names)
    assert_same_bytes(copy.download(tmp_path / "annotated.zarr"), local)
    assert copy.call(trajstore.verify, deep=True).findings == ()
    assert copy.call(trajstore.remove_annotations, *names) == names
    assert_same_bytes(copy.download(tmp_path / "removed.zarr"), tiny_store)


def test_commands(
    place: Place,
    tiny_options: list[str],
    tiny_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A life on the command line."""
    store = place.arguments

    def succeed(*arguments: str) -> str:
        cli.app([*arguments], standalone_mode=False)
        printed = capsys.readouterr()
        assert place.user.secret_key not in printed.out + printed.err
        return printed.out

    assert "44" in succeed("build", *store, *tiny_options, "--dry-run")
    succeed("build", *store, *tiny_options, "-q")
    assert json.loads(succeed("info", *store, "--json"))["written"]["video"] == 44
    flip_bit(place.data_file(SHARD.format(0)), 50)
    result = run("verify", *store, "-q")
    assert result.code == DamageError.exit_code
    assert f"trajstore repair {place.url} --storage-option endpoint={place.server.endpoint}" in result.err
    assert place.user.secret_key not in result.out + result.err
    succeed("repair", *store, "-q")
    succeed("verify", *store, "-q", "--deep")
    assert_same_bytes(place.download(tmp_path / "found"), tiny_store)
    succeed("extend", *store, "--samples", "50", "-q")
    assert place.call(trajstore.info).written["video"] == 50


def test_object_server_that_dies_and_comes_back(
    place: Place, tiny_store: Path, tmp_path: Path, tiny_fields: dict[str, Any]
) -> None:
    """Half a second without it is bridged by trying again."""
    timers: list[threading.Timer] = []

    def die(progress: Progress) -> None:
        if progress.phase == "video" and progress.fresh and not timers:
            place.server.kill("object")
            timers.append(threading.Timer(0.5, place.server.start, ["object"]))
            timers[0].start()

    with place.server.recording() as requests:
        place.call(trajstore.build, progress=die, **tiny_fields)
        timers[0].join()
    assert 503 in {request.status for request in requests}
    assert_same_bytes(place.download(tmp_path / "found"), tiny_store)


@pytest.mark.parametrize("server", ["object", "proxy"])
def test_server_that_dies_for_good(
    server: Any,
    swift: SwiftServer,
    bucket: str,
    tiny_store: Path,
    tmp_path: Path,
    tiny_fields: dict[str, Any],
) -> None:
    """The build ends with one line; what the flags promise is there; a rerun completes."""
    place = Place(swift, bucket, more=tuple(FEW_RETRIES.items()))
    killed: list[Progress] = []

    def die(progress: Progress) -> None:
        if progress.phase == "video" and progress.fresh and not killed:
            place.server.kill(server)
            killed.append(progress)

    try:
        with pytest.raises(StoreError) as caught:
            place.call(trajstore.build, progress=die, **tiny_fields)
    finally:
        place.server.start(server)
    assert_one_line(str(caught.value), "continue with: trajstore build s3://")
    assert 1 <= assert_flags_are_true(place.download(tmp_path / "found"), tiny_store) < 7
    place.call(trajstore.build)
    assert_same_bytes(place.download(tmp_path / "rerun"), tiny_store)


def test_throttling_slows_down_and_no_more(
    place: Place, tiny_store: Path, tmp_path: Path, tiny_fields: dict[str, Any]
) -> None:
    with (
        place.server.recording() as requests,
        place.server.failing(0, 0, 0, 0, 0, 503, 0, 0, 0, 0, 0, 0, 500),
    ):
        place.call(trajstore.build, **tiny_fields)
        with place.call(trajstore.open_reader) as reader, trajstore.open_reader(tiny_store) as local:
            np.testing.assert_array_equal(reader.read(range(44)), local.read(range(44)))
    assert {200, 206, 500, 503} <= {request.status for request in requests}
    assert_same_bytes(place.download(tmp_path / "found"), tiny_store)


def test_throttling_for_ever_ends_with_one_line(place: Place, tiny_fields: dict[str, Any]) -> None:
    place = replace(place, more=(("max_retries", "1"),))
    with place.server.failing(503, methods=["PUT"]), pytest.raises(StoreError) as caught:
        place.call(trajstore.build, **tiny_fields)
    assert_one_line(str(caught.value), "503 Service Unavailable", "trajstore build s3://")


def test_server_that_says_nothing_for_a_while(place: Place, tiny_store: Path) -> None:
    """A request that is not answered in time is sent again."""
    place.server.upload(tiny_store, place.bucket, place.prefix)
    place = replace(place, more=(("timeout", "1s"),))
    with place.call(trajstore.open_reader) as reader, trajstore.open_reader(tiny_store) as local:
        place.server.pause("object")
        timer = threading.Timer(1.5, place.server.resume, ["object"])
        timer.start()
        np.testing.assert_array_equal(reader[20], local[20])
        timer.join()


WRITERS: dict[str, Callable[[Place, Path], object]] = {
    "build": lambda place, _: place.call(trajstore.build),
    "repair": lambda place, _: place.call(trajstore.repair),
    "extend": lambda place, _: place.call(trajstore.extend, 60),
}
READERS: dict[str, Callable[[Place, Path], object]] = {
    "info": lambda place, _: place.call(trajstore.info),
    "open": lambda place, _: place.call(trajstore.open),
    "open_reader": lambda place, _: place.call(trajstore.open_reader),
    "verify": lambda place, _: place.call(trajstore.verify),
    "export": lambda place, folder: place.call(trajstore.export, folder / "export"),
}
COMMANDS = WRITERS | READERS


def assert_one_line(message: str, *parts: str) -> None:
    """Fail unless a message is one line without secrets that says these things."""
    assert "\n" not in message
    assert not {user.secret_key for user in (OWNER, STRANGER)} & set(message.replace("=", " ").split())
    for part in parts:
        assert part in message


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_credentials(name: str, built: Built, tmp_path: Path) -> None:
    place = Place(built.place.server, built.place.bucket, STRANGER)
    with place.server.recording() as requests, pytest.raises(StoreError) as caught:
        COMMANDS[name](place, tmp_path)
    assert_one_line(str(caught.value), place.url, "credentials")
    assert {request.status for request in requests} == {403}
    assert len(requests) <= 2  # nobody tries that again


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_bucket(name: str, swift: SwiftServer, tmp_path: Path) -> None:
    place = Place(swift, "no-such-bucket")
    with swift.recording() as requests, pytest.raises(NotAStoreError) as caught:
        COMMANDS[name](place, tmp_path)
    assert_one_line(str(caught.value), place.url, "no such bucket")
    assert len(requests) <= 2


METHODS: dict[str, Callable[[Storage], object]] = {
    "read": lambda objects: objects.read("zarr.json"),
    "read_many": lambda objects: list(objects.read_many(["zarr.json"])),
    "read_tail": lambda objects: objects.read_tail("zarr.json", 9),
    "read_ranges": lambda objects: objects.read_ranges("zarr.json", [(0, 9)]),
    "write": lambda objects: objects.write("new", b"1"),
    "create": lambda objects: objects.create("new", b"1"),
    "remove": lambda objects: objects.remove("zarr.json"),
    "list_keys": lambda objects: list(objects.list_keys()),
    "check_free": lambda objects: objects.check_free([]),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_tells_denial_from_a_missing_bucket(name: str, built: Built) -> None:
    server = built.place.server
    with pytest.raises(StoreError) as caught:
        METHODS[name](Place(server, built.place.bucket, STRANGER).objects)
    assert_one_line(str(caught.value), built.place.url, "credentials that may do this")
    with pytest.raises(NotAStoreError) as caught:
        METHODS[name](Place(server, "no-such-bucket").objects)
    assert_one_line(str(caught.value), "s3://no-such-bucket", "no such bucket")


@pytest.mark.parametrize("name", ["write", "create", "remove"])
def test_every_method_that_writes_respects_a_read_only_bucket(name: str, built: Built) -> None:
    with pytest.raises(StoreError) as caught:
        METHODS[name](replace(built.place, user=READER).objects)
    assert_one_line(str(caught.value), built.place.url, "credentials that may do this")


@pytest.mark.parametrize("name", READERS)
def test_bucket_without_a_store(name: str, place: Place, tmp_path: Path) -> None:
    with pytest.raises(NotAStoreError) as caught:
        READERS[name](place, tmp_path)
    assert_one_line(str(caught.value), place.url, "expected a trajstore store")


def test_place_with_other_objects_is_refused(place: Place) -> None:
    place.server.client().put_object(Bucket=place.bucket, Key=f"{place.prefix}/thesis.pdf", Body=b"%PDF")
    with pytest.raises(NotAStoreError) as caught:
        place.call(trajstore.build)
    assert_one_line(str(caught.value), place.url, "thesis.pdf")


def test_read_only_bucket(built: Built, swift: SwiftServer, tiny_store: Path, tmp_path: Path) -> None:
    reader = Place(swift, built.place.bucket, READER)
    assert reader.call(trajstore.info).written["video"] == 44
    assert reader.call(trajstore.verify).findings == ()
    with reader.call(trajstore.open_reader) as samples, trajstore.open_reader(tiny_store) as local:
        np.testing.assert_array_equal(samples[7], local[7])
    with pytest.raises(StoreError) as caught:
        reader.call(trajstore.extend, 60)
    assert_one_line(str(caught.value), reader.url, "credentials that may do this")
    empty = Place(swift, swift.create_bucket(is_public=True), READER)
    with pytest.raises(StoreError) as caught:
        empty.call(trajstore.build, samples=8)
    assert_one_line(str(caught.value), empty.url, "credentials that may do this")
    assert_same_bytes(built.place.download(tmp_path / "found"), tiny_store)


def test_endpoint_where_nobody_answers(swift: SwiftServer) -> None:
    more = {"endpoint": "http://127.0.0.1:1", "max_retries": "1"}
    place = Place(swift, "bucket", more=tuple(more.items()))
    with pytest.raises((TrajstoreError, OSError)) as caught:
        place.call(trajstore.info)
    assert_one_line(str(caught.value), place.url, "endpoint")


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("build ftp://bucket/store.zarr", [], "expected a folder or one of s3://bucket/path, "),
        ("info s3:///store.zarr", [], "found s3:///store.zarr without a bucket"),
        ("repair s3:/bucket/store.zarr", [], "expected the text s3://bucket/store.zarr"),
        ("build store.zarr", ["region=here"], "found region for the folder store.zarr, expected none"),
        ("extend s3://bucket/store.zarr --samples 9", ["region"], "found 'region', expected key=value"),
        ("export s3://bucket/store.zarr out", ["flavour=1"], "'flavour' is not valid"),
    ],
)
def test_bad_locations(command: str, options: list[str], message: str, tmp_path: Path) -> None:
    pairs = [part for option in options for part in ("--storage-option", option)]
    result = run(*command.split(), *pairs, folder=tmp_path)
    assert result.code == SpecError.exit_code, result.err
    assert_one_line(result.err.strip(), message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_other_schemes(scheme: str, tiny_store: Path, tmp_path: Path, tiny_fields: dict[str, Any]) -> None:
    url = {"file": f"{(tmp_path / 'a store.zarr').as_uri()}", "memory": f"memory://{tmp_path.name}"}[scheme]
    trajstore.build(url, part="1/2", **tiny_fields)
    trajstore.build(url)
    assert trajstore.info(url).written["video"] == 44
    with trajstore.open_reader(url) as reader, trajstore.open_reader(tiny_store) as local:
        np.testing.assert_array_equal(reader.read([3, 40, 9]), local.read([3, 40, 9]))
    trajstore.extend(url, 50)
    assert trajstore.repair(url).found == ()
    assert trajstore.verify(url, deep=True).findings == ()
    assert trajstore.open(url).sizes["sample"] == 50


def test_memories_are_apart(tiny_fields: dict[str, Any]) -> None:
    trajstore.build("memory://first", **tiny_fields)
    with pytest.raises(NotAStoreError):
        trajstore.info("memory://second")
