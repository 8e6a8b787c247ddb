"""Buckets without a server: those in memory, and what is refused before anything is sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray
from support.faults import tree
from zarr.storage import ObjectStore

import trajstore
from trajstore.errors import NotAStoreError, SpecError, StoreError
from trajstore.spec import DatasetSpec
from trajstore.storage.bucket import Bucket
from trajstore.storage.location import Location


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Bucket:
    return Bucket(Location.parse(f"memory://{request.node.name}"))


def test_objects(bucket: Bucket) -> None:
    content = bytearray(b"0123456789")
    bucket.write("a/b", memoryview(content))
    content[:] = b"x" * 10  # memory that is used again is the bucket's no more
    bucket.create("a/b", b"other")
    bucket.create("a/c", b"new")
    assert (bucket.read("a/b"), bucket.read("a/c"), bucket.read("nothing")) == (b"0123456789", b"new", None)
    assert dict(bucket.read_many(["a/b", "nothing"])) == {"a/b": b"0123456789", "nothing": None}
    tail, size = bucket.read_tail("a/b", 4)
    assert (bytes(tail), size) == (b"6789", 10)
    assert [bytes(part) for part in bucket.read_ranges("a/b", [(7, 2), (0, 3)])] == [b"78", b"012"]
    assert sorted(bucket.list_keys("a")) == ["a/b", "a/c"]
    assert bucket.measure() == {"a": 13}
    bucket.remove("a/b")
    bucket.remove("a/b")
    assert list(bucket.list_keys()) == ["a/c"]
    with pytest.raises(FileNotFoundError):
        bucket.read_tail("a/b", 4)


def test_a_store_in_a_bucket_has_the_bytes_of_one_in_a_folder(
    bucket: Bucket, tiny_store: Path, tiny_spec: DatasetSpec
) -> None:
    trajstore.build(bucket.location, tiny_spec)
    expected = {key: data for key, data in tree(tiny_store).items() if data is not None}
    found = {key: bucket.read(key) for key in bucket.list_keys()}
    assert found.keys() == expected.keys()
    # the root says when it was built
    assert {key for key in found if found[key] != expected[key]} <= {"zarr.json"}


def test_every_function_takes_a_location(bucket: Bucket, tiny_spec: DatasetSpec) -> None:
    url = str(bucket.location)
    trajstore.build(url, tiny_spec.replace(samples=20))
    trajstore.extend(url, 44)
    bucket.remove("video/c.1.0.0.0.0.0")
    bucket.write("video/c.2.0.0.0.0.0", b"damaged")
    damage = {finding.key: finding.kind for finding in trajstore.verify(url).damage}
    assert damage == {"video/c.1.0.0.0.0.0": "missing", "video/c.2.0.0.0.0.0": "corrupt"}
    assert len(trajstore.repair(url).done.rebuild) == 2
    assert trajstore.verify(url).is_sound
    assert trajstore.info(url).is_complete
    with xarray.open_zarr(ObjectStore(bucket.client, read_only=True), chunks=None) as dataset:
        np.testing.assert_array_equal(trajstore.open_reader(url).read(range(44)), dataset.video.values)
        np.testing.assert_array_equal(trajstore.open(url).video.values, dataset.video.values)


def test_other_objects_are_in_the_way(bucket: Bucket, tiny_spec: DatasetSpec) -> None:
    bucket.write("notes.txt", b"mine")
    with pytest.raises(NotAStoreError, match=r"found other objects \(notes\.txt\)"):
        trajstore.build(bucket.location, tiny_spec)
    assert bucket.measure() == {"notes.txt": 4}


def test_a_foreign_object_is_named_and_left(bucket: Bucket, tiny_spec: DatasetSpec) -> None:
    trajstore.build(bucket.location, tiny_spec)
    bucket.write("video/notes.txt", b"mine")
    assert [finding.key for finding in trajstore.repair(bucket.location).remaining] == ["video/notes.txt"]


def test_nothing_is_there(bucket: Bucket) -> None:
    with pytest.raises(NotAStoreError, match="found nothing, expected a trajstore store; make one with"):
        trajstore.info(bucket.location)


def test_a_forked_process_is_told_how_to_start(bucket: Bucket) -> None:
    """Obstore's threads are not forked along: it would wait for ever."""
    bucket.write("a", b"1")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            bucket.read("a")
        except StoreError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"multiprocessing_context='forkserver' or 'spawn'" in os.read(read, 10_000)


def test_options_that_are_wrong() -> None:
    with pytest.raises(SpecError, match="'nonsense' is not valid for store 'S3'"):
        Bucket(Location.parse("s3://bucket/a", {"nonsense": "1"}))
    with pytest.raises(SpecError, match="found max_retries=many, expected a number"):
        Bucket(Location.parse("s3://bucket/a", {"max_retries": "many"}))
    with pytest.raises(SpecError, match="found region for memory://a, expected none"):
        Bucket(Location.parse("memory://a", {"region": "x"}))


def test_a_server_that_is_not_there_is_named_after_the_retries() -> None:
    options = {
        "endpoint": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b", "max_retries": "1",
    }  # fmt: skip
    with pytest.raises(
        StoreError, match=r"s3://bucket/a.*127\.0\.0\.1:1.*after 1 retries.*check the endpoint"
    ):
        trajstore.info("s3://bucket/a", storage_options=options)


def test_without_obstore_the_extra_is_named() -> None:
    program = """
import sys
sys.modules["obstore"] = None
import trajstore
try:
    trajstore.info("s3://bucket/a.zarr")
except trajstore.errors.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install '.[cloud]'" in done.stdout, done
