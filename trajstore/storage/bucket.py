"""A store in a bucket: S3, Google Cloud Storage, Azure, or the memory of this process.

The work is obstore's; here its errors become ours, its options are sorted, and every object takes one request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from trajstore.errors import MissingExtraError, NotAStoreError, SpecError, StoreError
from trajstore.executors.threads import ThreadExecutor
from trajstore.storage.interface import ByteRange, Bytes, Change, Check
from trajstore.storage.location import Location
from trajstore.text import explain_install, hide_secrets

if TYPE_CHECKING:
    from obstore.store import ObjectStore

REQUESTS_MAX: Final = 32
"""Small objects that are requested at once."""

UPDATES_MAX: Final = 100
"""How often an object is read, changed and found changed by another meanwhile, before that is an error."""

CLIENT_OPTIONS: Final = frozenset(
    {
        "allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_only",
        "pool_idle_timeout", "pool_max_idle_per_host", "proxy_ca_certificate", "proxy_excludes", "proxy_url",
        "root_certificate", "timeout", "user_agent",
    }
)  # fmt: skip
"""Storage options that are of the HTTP client and not of the bucket."""

RETRY_OPTIONS: Final = frozenset({"max_retries", "retry_timeout"})
"""Storage options that say how long to try again: how often, and seconds in all."""

MAX_RETRIES: Final = 10
RETRY_SECONDS: Final = 120
BACKOFF: Final = {
    "init_backoff": timedelta(milliseconds=100),
    "max_backoff": timedelta(seconds=10),
    "base": 2,
}
"""Waiting times double from a tenth of a second to ten: about half a minute in all."""

_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for a public bucket --storage-option skip_signature=true",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound")
_METADATA_SERVICE: Final = ("169.254.169.254", "metadata.google.internal", "169.254.170.")
_memories: dict[str, ObjectStore] = {}
_process: int | None = None


class Bucket:
    """The objects at a place in a bucket; see `trajstore.storage.interface.Storage`."""

    waits = True
    is_locked = False

    def __init__(self, location: Location) -> None:
        self.location = location
        self.client = _connect(location)

    def read(self, key: str) -> bytes | None:
        """Read an object in one request; see `Storage`."""
        import obstore

        try:
            with self._translate(key):
                return bytes(obstore.get(self.client, key).bytes())
        except FileNotFoundError:
            return None

    def read_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Read small objects, many at once; see `Storage`."""
        for outcome in ThreadExecutor(REQUESTS_MAX).run(self.read, keys):
            if outcome.error is not None:
                raise outcome.error
            yield outcome.task, outcome.value

    def read_tail(self, key: str, length: int) -> tuple[Bytes, int]:
        """Read the end of an object in one request; see `Storage`."""
        import obstore

        with self._translate(key):
            try:
                answer = obstore.get(self.client, key, options={"range": {"suffix": length}})
                size = answer.meta["size"]
                return memoryview(answer.bytes()), size
            except obstore.exceptions.NotSupportedError:  # Azure
                size = obstore.head(self.client, key)["size"]
                start = max(0, size - length)
                return memoryview(obstore.get_range(self.client, key, start=start, end=size)), size

    def read_ranges(self, key: str, ranges: Iterable[ByteRange]) -> Iterable[Bytes]:
        """Read parts of an object, neighbours in one request, several requests at once; see `Storage`."""
        import obstore

        starts, lengths = zip(*ranges, strict=True)
        with self._translate(key):
            parts = obstore.get_ranges(self.client, key, starts=starts, lengths=lengths)
            return [memoryview(part) for part in parts]

    def forget(self, key: str) -> None:
        """Nothing is kept; see `Storage`."""

    def write(self, key: str, data: Bytes, *, check: Check | None = None) -> None:
        """Write an object in one request; see `Storage`."""
        import obstore

        if check is not None:
            check()
        with self._translate(key):
            # a copy: a store in memory keeps what it is given, and a shard's buffer is used again
            obstore.put(self.client, key, bytes(data), use_multipart=False)

    def update(self, key: str, change: Change) -> None:
        """Replace an object if it is as it was read, where the server can decide that; see `Storage`."""
        import obstore

        errors = obstore.exceptions
        for _ in range(UPDATES_MAX):
            mode: Any = "create"
            found = None
            with suppress(FileNotFoundError), self._translate(key):
                answer = obstore.get(self.client, key)
                found = bytes(answer.bytes())
                tags = {name: answer.meta[name] for name in ("e_tag", "version")}
                mode = {name: tag for name, tag in tags.items() if tag is not None}
            data = change(found)
            if data is None:
                return
            with self._translate(key):
                try:
                    self._put_if(key, data, mode or "overwrite")
                except (errors.AlreadyExistsError, errors.PreconditionError, FileNotFoundError):
                    continue
                except (errors.NotSupportedError, NotImplementedError):
                    if self.read(key) != found:  # the best that can be done
                        continue
                    self.write(key, data)
            return
        message = f"{key}: found it changed by others {UPDATES_MAX} times in a row"
        raise OSError(message)

    def _put_if(self, key: str, data: bytes, mode: Any) -> None:
        """Write an object on a condition; `NotImplementedError` where the server knows none."""
        import obstore

        try:
            # what a server cannot do it will not learn from being asked ten times
            obstore.put(_connect(self.location, patient=False), key, data, mode=mode, use_multipart=False)
        except obstore.exceptions.GenericError as error:
            if "501 Not Implemented" in str(error):
                raise NotImplementedError from None
            obstore.put(self.client, key, data, mode=mode, use_multipart=False)

    def create(self, key: str, data: Bytes) -> bool:
        """Write an object unless it is there, where the server can decide that; see `Storage`."""
        import obstore

        errors = obstore.exceptions
        with self._translate(key):
            try:
                obstore.put(self.client, key, bytes(data), mode="create", use_multipart=False)
            except (errors.AlreadyExistsError, errors.PreconditionError):
                return False
            except errors.NotSupportedError:
                if self.read(key) is not None:
                    return False
                self.write(key, data)
        return True

    def remove(self, key: str, *, check: Check | None = None) -> None:
        """Remove an object; see `Storage`."""
        import obstore

        if check is not None:
            check()
        with suppress(FileNotFoundError), self._translate(key):
            obstore.delete(self.client, key)

    def prune(self, prefix: str) -> None:
        """There are no folders; see `Storage`."""

    def list_keys(self, prefix: str = "") -> Iterator[str]:
        """List objects, a thousand in a request; see `Storage`."""
        return (key for key, _ in self._list(prefix))

    def measure(self) -> dict[str, int]:
        """Add up the sizes of all objects, a thousand in a request; see `Storage`."""
        sizes: dict[str, int] = {}
        for key, size in self._list(""):
            name = key.partition("/")[0]
            sizes[name] = sizes.get(name, 0) + size
        return sizes

    def _list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and sizes of objects."""
        import obstore

        batches = iter(obstore.list(self.client, prefix=prefix or None))
        while True:
            with self._translate(prefix):
                batch = next(batches, None)
            if batch is None:
                return
            for item in batch:
                yield item["path"], item["size"]

    def check_free(self, allowed: Iterable[str]) -> None:
        """Check that a store can be created here; see `Storage`."""
        keys = set(allowed)
        for key in self.list_keys():
            if key not in keys:
                message = (
                    f"{self.location}: found other objects ({key}), expected a store or nothing; name another"
                )
                raise NotAStoreError(message)

    def find_debris(self) -> list[str]:
        """No temporary objects are written; see `Storage`."""
        return []

    sweep = find_debris

    @contextmanager
    def _translate(self, key: str) -> Iterator[None]:
        """Turn errors of the server and of the way to it into ours."""
        import obstore

        _check_process(self.location)
        errors = obstore.exceptions
        try:
            yield
        except (FileNotFoundError, errors.BaseError, ValueError) as error:
            text = str(error)
            code = re.search(r"<Code>(\w+)</Code>|\(code: (\w+)\)", text)
            reason = _summarize(text, code)
            if code and code[1] in _NO_BUCKET:
                message = (
                    f"{self.location}: found no such bucket ({code[1]}), expected one; make it, or correct it"
                )
                raise NotAStoreError(message) from None
            if isinstance(error, FileNotFoundError):
                raise FileNotFoundError(reason) from None
            if any(host in reason for host in _METADATA_SERVICE):
                raise _deny(self.location, key, "found no credentials") from None
            is_denied = isinstance(error, errors.PermissionDeniedError | errors.UnauthenticatedError)
            if is_denied or re.search(r"status code: 40[13]\b", text) or (code and code[2] == "AccessDenied"):
                raise _deny(self.location, key, reason) from None
            if isinstance(error, errors.InvalidPathError | ValueError):
                message = f"{self.location}: no place in a bucket: {reason}; name another place"
                raise StoreError(message) from None
            message = f"{reason}; check the endpoint, the region and the network"
            raise OSError(message) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self.location,)


@lru_cache(maxsize=16)
def _connect(location: Location, *, patient: bool = True) -> ObjectStore:
    """Obstore's client for a place in a bucket, which tries again what fails or not; nothing is sent."""
    try:
        import obstore
        from obstore.store import MemoryStore, from_url
    except ImportError:
        message = f"{location}: buckets need obstore, which is not installed; {explain_install('cloud')}"
        raise MissingExtraError(message) from None
    _check_process(location)
    if location.url.startswith("memory://"):
        if location.options:
            message = f"storage options: found {location.options[0][0]} for {location}, expected none"
            raise SpecError(message)
        return _memories.setdefault(location.url, MemoryStore())
    options = dict(location.options)
    retry = {name: options.pop(name) for name in RETRY_OPTIONS & options.keys()}
    client = {name: options.pop(name) for name in CLIENT_OPTIONS & options.keys()}
    try:
        # whether plain HTTP is right the endpoint says
        made: ObjectStore = from_url(
            location.url,
            config=options,  # type: ignore[call-overload]
            client_options={"allow_http": True, **client},
            retry_config={
                "max_retries": int(_read_number(retry, "max_retries", MAX_RETRIES, most=1000))
                if patient
                else 0,
                "retry_timeout": timedelta(
                    seconds=_read_number(retry, "retry_timeout", RETRY_SECONDS, most=86_400)
                ),
                "backoff": BACKOFF,
            },
        )
        return made  # noqa: TRY300
    except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
        reason = _summarize(str(error), None)
        message = f"storage options of {location}: {reason}; obstore's documentation lists them"
        raise SpecError(message) from None


def _read_number(options: dict[str, str], name: str, default: int, *, most: int) -> float:
    """A storage option that is a number."""
    try:
        number = float(options.get(name, default))
    except ValueError:
        number = -1
    if not 0 <= number <= most:
        message = f"storage options: found {name}={options[name]}, expected a number from 0 to {most}"
        raise SpecError(message)
    return number


def _check_process(location: Location) -> None:
    """Refuse to wait for ever for threads that a fork has not taken along."""
    global _process
    if _process is None:
        _process = os.getpid()
    elif _process != os.getpid():
        message = (
            f"{location}: found a process that was forked from one that uses buckets, expected one of its own; start "
            "workers with multiprocessing_context='forkserver' or 'spawn'"
        )
        raise StoreError(message)


def _deny(location: Location, key: str, reason: str) -> StoreError:
    """The error for credentials that are missing, wrong, or not enough."""
    place = f"{location}/{key}" if key else str(location)
    names = _CREDENTIALS[location.url.partition(":")[0]]
    return StoreError(f"{place}: {reason}, expected credentials that may do this; set {names}")


def _summarize(text: str, code: re.Match[str] | None) -> str:
    """What matters of an error: obstore adds pages to it, servers add XML."""
    line = re.sub(
        r":? *<\?xml.*|, max_retries: .*?(?= -|$)|^Generic \w+ error: ", "", text.strip().partition("\n")[0]
    )
    line = line.rstrip(". ")
    return hide_secrets(f"{line} ({code[1]})" if code and code[1] else line)
