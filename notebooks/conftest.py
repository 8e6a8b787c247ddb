"""The notebook that trains needs PyTorch."""

from __future__ import annotations

import pytest

collect_ignore = ["conftest.py"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark it, so that it is left out where there is no PyTorch."""
    for item in items:
        if item.path.name == "train.ipynb":
            item.add_marker("torch")
