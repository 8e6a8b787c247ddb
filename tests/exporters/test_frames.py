"""Pictures of frames: what others read of them is what the store holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.exported import (
    assert_damage_is_found,
    assert_equals_store,
    assert_goes_on_after_full_disk,
    assert_is_resumed,
)

import trajstore

HOW: dict[str, Any] = {"format": "frames", "options": {}}


@pytest.fixture(scope="module")
def exported(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "out"
    trajstore.export(tiny_store, path, rows="0:44", **HOW)
    return path


def test_it_holds_what_the_store_holds(tiny_store: Path, exported: Path) -> None:
    assert_equals_store(tiny_store, exported, **HOW)


def test_pictures_and_labels_are_read_elsewhere(tiny_store: Path, exported: Path) -> None:
    reader = trajstore.open_reader(tiny_store)
    assert len(list((exported / "frames").iterdir())) == len(list((exported / "labels").iterdir())) == 44
    for row in (0, 43):
        for camera in range(2):
            for frame in range(4):
                with Image.open(
                    exported / f"frames/{row:08d}/camera_{camera}_frame_{frame + 1:02d}.png"
                ) as png:
                    found = np.asarray(png)
                np.testing.assert_array_equal(found.transpose(2, 0, 1), reader.read([row])[0, camera, frame])
        label = json.loads((exported / f"labels/sample_{row:04d}.json").read_bytes())
        assert label["caption"] == reader.captions([row])[0]


def test_a_killed_export_goes_on(tiny_store: Path, tmp_path: Path) -> None:
    assert_is_resumed(tiny_store, tmp_path, pattern="*.png", at=101, **HOW)


def test_a_full_disk_is_told(tiny_store: Path, tmp_path: Path) -> None:
    assert_goes_on_after_full_disk(tiny_store, tmp_path / "disk", size="512k", **HOW)


def test_damage_is_found(tiny_store: Path, exported: Path, tmp_path: Path) -> None:
    names = ["frames/00000007/camera_1_frame_03.png", "labels/sample_0007.json"]
    assert_damage_is_found(tiny_store, exported, tmp_path / "copy", names=names, **HOW)
