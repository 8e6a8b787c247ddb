"""Where a store lies: a folder, or a place in a bucket with the options to reach it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from trajstore.errors import SpecError
from trajstore.text import hide_secrets, quote

SCHEMES: Final = {
    "s3": "s3://bucket/path",
    "gs": "gs://bucket/path",
    "az": "az://container/path",
    "memory": "memory://name",
    "file": "file:///path",
}
"""What locations may begin with, and an example of each; anything without ``://`` is a folder."""

_SECRET: Final = re.compile(r"key|secret|token|password|credential|sas", re.IGNORECASE)


@dataclass(frozen=True)
class Location:
    """Where a store lies; small, can be pickled and compared, and reads as its URL, without secrets."""

    url: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(
        cls, path: str | os.PathLike[str] | Location, options: Mapping[str, str] | None = None
    ) -> Self | Location:
        """Read a location.

        Examples
        --------
        >>> Location.parse("s3://bucket/store.zarr/"), Location.parse("file:///tmp/a%20b").folder
        (Location(url='s3://bucket/store.zarr'), PosixPath('/tmp/a b'))
        """
        if isinstance(path, Location):
            return path
        if not isinstance(path, str | os.PathLike):
            message = (
                f"location: found a {type(path).__name__}, expected the path or URL of a store, such as 'store.zarr'; "
                "from a spec make one with: trajstore.build(path, spec)"
            )
            raise SpecError(message)
        text = os.fspath(path)
        broken = re.fullmatch(rf"({'|'.join(SCHEMES)}):/([^/].*)", text)
        if broken:
            meant = hide_secrets(f"{broken[1]}://{broken[2]}")
            found = meant.replace("://", ":/", 1)
            message = (
                f"location: found the path {found}, expected the text {meant}: a pathlib.Path merges "
                "slashes, give a string"
            )
            raise SpecError(message)
        scheme, separator, rest = text.partition("://")
        given = tuple((str(name), str(value)) for name, value in (options or {}).items())
        if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
            return cls._local(text, given)
        shown = hide_secrets(text)
        if scheme not in SCHEMES:
            message = f"location: found {shown}, expected a folder or one of {', '.join(SCHEMES.values())}"
            raise SpecError(message)
        if scheme == "file":
            parts = urlsplit(text)
            if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
                message = f"location: found {shown}, expected {SCHEMES['file']} with three slashes, or a path"
                raise SpecError(message)
            return cls._local(unquote(parts.path), given)
        if not rest.strip("/") or rest.startswith("/"):
            message = f"location: found {shown} without a bucket, expected {SCHEMES[scheme]}"
            raise SpecError(message)
        return cls(f"{scheme}://{rest.rstrip('/')}", given)

    @classmethod
    def _local(cls, path: str, options: tuple[tuple[str, str], ...]) -> Self:
        """A folder."""
        if options:
            message = f"storage options: found {options[0][0]} for the folder {path}, expected none"
            raise SpecError(message)
        if "\0" in path:
            message = f"location: found {path!r}, expected a path, which has no zero character"
            raise SpecError(message)
        return cls(path)

    @property
    def folder(self) -> Path | None:
        """The folder; None where this is no local one."""
        return None if "://" in self.url else Path(self.url)

    def absolute(self) -> Location:
        """The same place, whatever becomes the working folder."""
        return self if self.folder is None else Location(str(self.folder.absolute()))

    @property
    def argument(self) -> str:
        """The location as an argument of a command, with its options; secrets are left out."""
        options = (f"{name}={value}" for name, value in self.shown_options)
        return " ".join([quote(str(self)), *(f"--storage-option {quote(option)}" for option in options)])

    @property
    def shown_options(self) -> list[tuple[str, str]]:
        """The options, with ``…`` for secrets."""
        return [(name, "…" if _SECRET.search(name) else hide_secrets(value)) for name, value in self.options]

    def __str__(self) -> str:
        return hide_secrets(self.url)

    def __repr__(self) -> str:
        return f"Location(url={str(self)!r})"


def parse_options(texts: Iterable[str]) -> dict[str, str]:
    """Read ``key=value`` texts."""
    options: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            found = "…" if _SECRET.search(text) else repr(text)
            message = f"storage option: found {found}, expected key=value, such as region=eu-central-1"
            raise SpecError(message)
        options[name.strip()] = value
    return options
