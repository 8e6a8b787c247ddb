"""Whatever the system says where a command writes ends it with one line; a full disk has an exit code of its own."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

import pytest
from support.faults import run

from trajstore import cli

COMMANDS = {
    "build": ["build", "new.zarr", "--samples=8", "--frames=4", "--height=16", "--width=16"],
    "annotate": ["annotate", "store.zarr", "depth_map"],
    "remove": ["annotate", "store.zarr", "--remove", "segmentation"],
    "extend": ["extend", "store.zarr", "--samples=12"],
    "repair": ["repair", "store.zarr"],
    "export": ["export", "store.zarr", "out"],
    "card": ["card", "store.zarr"],
    "preview": ["preview", "store.zarr", "0", "-o", "sheet.svg"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an annotation and without one of its shards."""
    folder = tmp_path_factory.mktemp("faults")
    assert run(*COMMANDS["build"], folder=folder).code == 0
    (folder / "new.zarr").rename(folder / "store.zarr")
    assert run("annotate", "store.zarr", "segmentation", folder=folder).code == 0
    (folder / "store.zarr" / "video" / "c.0.0.0.0.0.0").unlink()
    return folder / "store.zarr"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_is_full_is_exit_code_3_in_every_command(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    shutil.copytree(store, tmp_path / "store.zarr")
    if command != "repair":
        assert run("repair", "store.zarr", folder=tmp_path).code == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trajstore", *COMMANDS[command]])
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    *_, line = capsys.readouterr().err.splitlines()
    assert (ended.value.code, line.startswith("trajstore: ")) == (3, True)
    assert ": the quota is used up; " in line
    assert ("continue with: trajstore repair store.zarr" in line) == (command == "repair")
