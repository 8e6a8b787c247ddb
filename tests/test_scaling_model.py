"""The model of `docs/how-to/clusters.md` counts what real stores hold."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import pytest
from support.stores import plan_build

from trajstore.commands.build import build
from trajstore.spec import DatasetSpec
from trajstore.store.groups.labels import LABEL_ROWS
from trajstore.store.layout import plan_layout

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS / "scripts"))

from scaling_model import AS_IT_IS, CHANGED, LABEL_COLUMNS, Assumptions, Store, render  # noqa: E402


@pytest.mark.parametrize(("samples", "per_shard"), [(44, 8), (9000, 1000)])
def test_the_objects_of_a_store_are_those_of_the_model(tmp_path: Path, samples: int, per_shard: int) -> None:
    sizes = {"frames": 1, "height": 8, "width": 8, "cameras": 1}
    build(tmp_path / "a.zarr", samples=samples, samples_per_shard=per_shard, **sizes)
    found = [path for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()]
    model = Store(samples, per_shard, LABEL_ROWS)
    assert len(found) == model.objects
    assert sum("_written/c." in str(path) for path in found) == model.tasks
    assert sum("/video/c." in str(path) for path in found) == model.video_tasks


def test_the_layout_is_that_of_the_model() -> None:
    layout = plan_layout(DatasetSpec.from_fields(samples=10**8))
    assert len(layout.group("labels").columns) == LABEL_COLUMNS
    assert len(layout.group("video")) == AS_IT_IS["10⁸"].video_tasks
    assert len(layout.group("labels")) == AS_IT_IS["10⁸"].label_tasks


def test_pending_tasks_take_the_memory_of_the_model(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        plan = plan_build(tmp_path / "a.zarr", samples=10**6, samples_per_shard=100)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, plan.pending.values())) == Store(10**6, 100).tasks
    # other things of a plan take some memory too, a task as an object would take some 300 bytes
    assert used < 400_000 + 2 * Store(10**6, 100).tasks * Assumptions().pending_task_bytes


def test_nothing_is_worse_than_linear_and_larger_shards_keep_it_in_bounds() -> None:
    small, large = Store(10**6, workers=100), Store(10**8, workers=100)
    for name in ("objects", "coordinator_seconds", "coordinator_bytes", "pending_seconds", "build_price"):
        assert getattr(large, name) <= 101 * getattr(small, name), name
    changed = list(CHANGED.values())[-1]
    assert changed.coordinator_bytes < 1e9
    assert changed.coordinator_seconds < changed.build_seconds
    assert changed.shard_bytes < 5e9


def test_the_page_shows_the_tables_of_the_model() -> None:
    page = (DOCS / "how-to" / "clusters.md").read_text(encoding="utf-8")
    assert render(AS_IT_IS) in page
    assert render(CHANGED) in page
