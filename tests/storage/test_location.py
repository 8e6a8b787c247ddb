from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from trajstore.errors import SpecError
from trajstore.storage.location import Location, parse_options
from trajstore.text import hide_secrets


@pytest.mark.parametrize(
    ("given", "url", "folder"),
    [
        ("a/b.zarr", "a/b.zarr", "a/b.zarr"),
        (Path("a/b.zarr"), "a/b.zarr", "a/b.zarr"),
        ("file:///a/b%20c.zarr", "/a/b c.zarr", "/a/b c.zarr"),
        ("file://localhost/a.zarr", "/a.zarr", "/a.zarr"),
        ("C:\\a.zarr", "C:\\a.zarr", "C:\\a.zarr"),
        ("s3://bucket/a/b.zarr/", "s3://bucket/a/b.zarr", None),
        ("gs://bucket", "gs://bucket", None),
        ("az://container/a.zarr", "az://container/a.zarr", None),
        ("memory://name", "memory://name", None),
    ],
)
def test_folders_and_urls(given: Any, url: str, folder: str | None) -> None:
    location = Location.parse(given)
    assert (str(location), location.folder) == (url, None if folder is None else Path(folder))
    assert Location.parse(location) is location
    assert pickle.loads(pickle.dumps(location)) == location


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ftp://host/a.zarr", "expected a folder or one of s3://bucket/path, gs://"),
        ("https://host/a.zarr", "expected a folder or one of"),
        ("s3://", r"without a bucket, expected s3://bucket/path"),
        ("gs:///a.zarr", "without a bucket, expected gs://bucket/path"),
        ("memory://", "expected memory://name"),
        ("file://host/a.zarr", "expected file:///path with three slashes"),
        (
            Path("s3://bucket/a.zarr"),
            r"found the path s3:/bucket/a\.zarr, expected the text s3://bucket/a\.zarr",
        ),
    ],
)
def test_what_is_no_location_is_refused(given: Any, found: str) -> None:
    with pytest.raises(SpecError, match=found):
        Location.parse(given)


def test_a_folder_takes_no_options() -> None:
    with pytest.raises(SpecError, match=r"found region for the folder a\.zarr, expected none"):
        Location.parse("a.zarr", {"region": "x"})


def test_an_argument_can_be_pasted_and_tells_no_secrets() -> None:
    options = {"endpoint": "http://host:1/a b", "secret_access_key": "hidden", "region": "x"}
    location = Location.parse("s3://bucket/a b.zarr", options)
    assert location.argument == (
        "'s3://bucket/a b.zarr' --storage-option 'endpoint=http://host:1/a b' --storage-option 'secret_access_key=…' "
        "--storage-option region=x"
    )
    assert "hidden" not in f"{location!r} {location}"


def test_options_are_read_from_texts() -> None:
    assert parse_options(["a=1", "b=c=d", "e="]) == {"a": "1", "b": "c=d", "e": ""}
    for text in ("a", "=1", ""):
        with pytest.raises(SpecError, match="expected key=value"):
            parse_options([text])


SECRET_URLS = [
    "az://box/a.zarr?sv=2024&sig=hidden%2B",
    "s3://user:hidden@bucket/a.zarr",
    "s3://user:hi/dden@bucket/a.zarr",
    "s3://hidden@bucket/a.zarr",
    "gs://bucket/a.zarr#hidden",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_secrets_in_a_url_are_never_shown(url: str) -> None:
    location = Location.parse(url, {"proxy_url": "http://user:hidden@host:1", "endpoint": "http://a?hidden"})
    assert location.url == url
    shown = f"{location} {location!r} {location.argument} {location.shown_options}"
    assert "dden" not in shown
    assert "a.zarr" in str(location)
    for wrong in (url.replace("://", "z://"), Path(url)):
        with pytest.raises(SpecError) as refused:
            Location.parse(wrong)
        assert "dden" not in str(refused.value)
    with pytest.raises(SpecError, match=r"found …, expected key=value"):
        parse_options(["secret_access_key:hidden"])


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/a@b.zarr", "memory://a b", "a?b#c", "see http://host:1/a (b@c.d)", "http://host:9000"],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert hide_secrets(text) == text


def test_what_servers_say_tells_no_secrets() -> None:
    found = hide_secrets("error sending request for url (https://a.net/b?sig=hidden), status 500")
    assert found == "error sending request for url (https://a.net/b?…), status 500"
