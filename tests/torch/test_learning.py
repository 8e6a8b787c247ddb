"""That what is stored can be learned: labels belong to their frames, and motion tells more than one picture does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import trajstore
from examples import train_classifier

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "train.md"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks as small as these train in less time on one thread, and the same on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where there is a store of the name that the pages use."""
    path = tmp_path_factory.mktemp("pages")
    trajstore.build(path / "store.zarr", samples=2000, cameras=1)
    return path


def test_the_readme_learns_motion(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(folder)
    (block,) = re.findall(
        r"```python\n(import torch\n.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
    )
    torch.manual_seed(0)
    exec(compile(block, "README", "exec"), {"__name__": "__main__"})
    said = re.findall(r"epoch \d: loss \d\.\d\d, accuracy on val (\d+)%", capsys.readouterr().out)
    assert len(said) == 5
    assert int(said[-1]) > 60  # one still picture is right 49 % of the time


def test_the_tutorial_learns_motion(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(folder)
    learn, compare = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[:2]
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(learn, PAGE.name, "exec"), names)
    said = re.findall(r"epoch (\d): loss (\d\.\d\d), accuracy on val (\d+)%", capsys.readouterr().out)
    assert [int(epoch) for epoch, _, _ in said] == [1, 2, 3, 4, 5]
    assert float(said[-1][1]) < 0.6 < float(said[0][1])
    # one still picture is right 49 % of the time
    assert names["accuracy"] > 0.6
    exec(compile(compare, PAGE.name, "exec"), names)
    assert 0.35 < names["still"] < 0.6
    assert train_classifier.guess_from_still("store.zarr") == pytest.approx(names["still"], abs=0.005)


def test_the_example_tells_how_it_goes(tiny_store: Path, capsys: pytest.CaptureFixture[str]):
    accuracy = train_classifier.train(tiny_store, epochs=2)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert said[-1].endswith(f"accuracy on val {accuracy:.0%}")
    assert train_classifier.train(tiny_store, epochs=0) <= 1
