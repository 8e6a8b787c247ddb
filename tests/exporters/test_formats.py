"""Formats: their registry, and tensor files that are those of ``torch.save``."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.export_faults import make_source

from trajstore.errors import MissingExtraError, SpecError
from trajstore.exporters import FORMATS, Part, check_installed, find_format, pt
from trajstore.exporters.pt import PatchedTensor, SavedTensor, make_tensor_file
from trajstore.spec import DatasetSpec


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(SpecError, match="found 'npz', expected one of pt"):
        find_format("npz")


def test_without_pytorch_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FORMATS["pt"], "list_packages", lambda _: ("no-such-package",))
    with pytest.raises(MissingExtraError, match=r"needs no-such.* pip install '\.\[torch\]'"):
        check_installed("pt", {})


def test_naming_formats_needs_no_pytorch() -> None:
    program = "import sys, trajstore.exporters, trajstore.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@given(st.integers(0, 10**9))
def test_a_row_has_one_name_whatever_else_is_exported(row: int) -> None:
    names = pt.name_files(row, make_source(DatasetSpec(), annotations=("flow",)))
    assert pt.name_files(row, make_source(DatasetSpec())) == names[:2]
    for name, folder in zip(names, ("videos", "labels", "annotations"), strict=True):
        stem = Path(name).stem.removeprefix("sample_")
        assert Path(name).parent.name == folder
        assert int(stem) == row
        assert len(stem) == max(4, len(str(row)))


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(1, 1, 3, 1, 1), (2, 4, 3, 16, 16), (4, 32, 3, 64, 64)])
def test_tensor_files_are_those_of_pytorch(shape: tuple[int, ...], dtype: Any) -> None:
    import torch

    file = make_tensor_file(shape, dtype)
    assert isinstance(file, PatchedTensor)  # or else exports with this version of PyTorch are slow
    random = np.random.default_rng(0)
    for _ in range(3):
        values = random.integers(0, 256, shape).astype(dtype)
        file.values[...] = values
        stream = io.BytesIO()
        torch.save(torch.from_numpy(values), stream)
        assert bytes(file.render()) == stream.getvalue()


@pytest.mark.torch
def test_a_file_that_differs_from_that_of_pytorch_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(pt, "_combine", lambda _: 0)
    file = make_tensor_file((1, 2, 3, 4, 5), "uint8")
    assert isinstance(file, SavedTensor)
    file.values[...] = 7
    loaded = torch.load(io.BytesIO(file.render()), weights_only=True)
    assert torch.equal(loaded, torch.full((1, 2, 3, 4, 5), 7, dtype=torch.uint8))


@pytest.mark.parametrize("records", [["archive/x"], ["archive/data/0", "archive/.data/serialization_id"]])
def test_an_archive_that_is_laid_out_otherwise_is_refused(records: list[str]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in records:
            archive.writestr(name, b"1" * 40)
    with pytest.raises(ValueError, match="the "):
        PatchedTensor(stream.getvalue(), (1, 1, 3, 1, 1), "uint8")


@pytest.mark.torch
@settings(max_examples=20)
@given(st.data())
def test_float_tensors_are_the_values_divided_by_255(data: st.DataObject) -> None:
    source = make_source(DatasetSpec(), tensor_shape=(1, 1, 3, 2, 2), tensor_dtype="float32")
    encoder = FORMATS["pt"].make_encoder(source)
    values = np.array(data.draw(st.lists(st.integers(0, 255), min_size=12, max_size=12)), np.uint8)
    encoder.frames[...] = values.reshape(1, 1, 3, 2, 2)
    label = pt.Label(class_label=0, future_position=(0.0, 0.0, 0.0))
    _, tensor = next(encoder.encode(Part((0,), ("video", "label")), iter([label])))
    with zipfile.ZipFile(io.BytesIO(tensor)) as archive:
        assert archive.testzip() is None
        found = np.frombuffer(archive.read("archive/data/0"), np.float32)
    np.testing.assert_array_equal(found, values.astype(np.float32) / np.float32(255))
    assert 0.0 <= found.min() <= found.max() <= 1.0
