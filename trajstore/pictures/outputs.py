"""Where a picture or a recording goes: a file that is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from trajstore.errors import MissingExtraError, OutputError, SpecError
from trajstore.storage.disk_space import explain_failed_write
from trajstore.storage.durable import publish
from trajstore.storage.location import Location
from trajstore.text import explain_install, quote


def check_output(path: Path, endings: Mapping[str, tuple[str, ...]], *, extra: str) -> None:
    """Refuse, before any work is done, a file of an unknown kind, or one that nothing here can make or write."""
    ending, folder = path.suffix.lower(), path.parent
    if ending not in endings:
        found = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        message = f"output {path}: found {found}, expected one of {', '.join(endings)}"
        raise SpecError(message)
    check_installed(endings[ending], extra=extra, what=f"output {path}")
    if not folder.is_dir():
        command = f"mkdir -p {quote(str(folder))}"
        message = f"output {path}: the folder {folder} does not exist; make it with: {command}"
        raise OutputError(message)
    if os.path.isdir(path):  # noqa: PTH112  a name that is too long is no folder, and no error here
        message = f"output {path}: found a folder, expected the name of a file"
        raise OutputError(message)
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"output {path}: no permission to write in {folder}; change its permissions or name another"
        raise OutputError(message)


def check_installed(modules: tuple[str, ...], *, extra: str, what: str) -> None:
    """Check that some modules are there, without importing them."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        message = f"{what}: needs {' and '.join(missing)}, not installed here; {explain_install(extra)}"
        raise MissingExtraError(message)


def check_is_outside(path: Path, location: Location | str) -> None:
    """Check that a file would not lie in a store, which holds nothing but its dataset."""
    store = location.folder if isinstance(location, Location) else None
    if store is not None and store.resolve() in path.resolve().parents:
        message = (
            f"output {path}: lies in the store {location}, which must hold nothing else; name another folder"
        )
        raise OutputError(message)


def write_output(path: Path, data: bytes | memoryview) -> None:
    """Write a file, whole or not at all."""
    try:
        publish(path, data)
    except OSError as error:
        raise explain_failed_write(path, error, state="nothing was written", kind=OutputError) from error
