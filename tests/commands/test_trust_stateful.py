"""Build a part, kill, extend, damage and repair in any order: the store opens, its flags are true, and it completes."""

from __future__ import annotations

import atexit
import contextlib
import random
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import xarray
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.faults import FAULTS, assert_flags_are_true, assert_same_bytes
from support.stores import exists, open_store

from trajstore.commands.build import build
from trajstore.commands.extend import extend
from trajstore.commands.repair import repair
from trajstore.commands.verify import verify
from trajstore.storage import durable

FIELDS: dict[str, Any] = {"frames": 2, "height": 8, "width": 8, "cameras": 1, "samples_per_shard": 8}
SIZES = (41, 44, 47)
"""All of six shards, the last one partly full: what the planted faults expect."""

HARMLESS = (
    "shard",
    "label chunk",
    "flag",
    "bit flipped in shard",
    "zarr.json of an array",
    "cameras",
    "rows of",
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing that follows is done, not even cleaning up."""


@lru_cache
def reference(samples: int) -> Path:
    """The store of a size, built at once."""
    folder = tempfile.mkdtemp(prefix="trajstore-reference-")
    atexit.register(shutil.rmtree, folder)
    path = Path(folder) / "a.zarr"
    build(path, samples=samples, **FIELDS)
    return path


class Store(RuleBasedStateMachine):
    """A store and all that may happen to it."""

    @initialize(samples=st.sampled_from(SIZES))
    def choose_size(self, samples: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="trajstore-stateful-"))
        self.path = self.folder / "a.zarr"
        self.samples = samples
        self.is_damaged = False

    @rule(part=st.sampled_from(["1/3", "2/3", "3/3", "1/1"]))
    def build_part(self, part: str) -> None:
        if not self.is_damaged:
            build(self.path, part=part, workers=1, **self.fields())

    @rule(writes=st.integers(0, 40))
    def kill_a_build(self, writes: int) -> None:
        if not self.is_damaged:
            self.kill(writes, lambda: build(self.path, workers=1, **self.fields()))

    @precondition(lambda self: exists(self.path) and not self.is_damaged)
    @rule(samples=st.sampled_from(SIZES), writes=st.none() | st.integers(0, 40))
    def extend(self, samples: int, writes: int | None) -> None:
        if samples < self.samples:
            return
        self.kill(1000 if writes is None else writes, lambda: extend(self.path, samples, workers=1))
        self.samples = open_store(self.path).spec.dataset.samples
        assert writes is not None or self.samples == samples

    @precondition(lambda self: exists(self.path))
    @rule(
        name=st.sampled_from([name for name in FAULTS if name.startswith(HARMLESS)]), seed=st.integers(0, 99)
    )
    def damage(self, name: str, seed: int) -> None:
        try:
            FAULTS[name](self.path, random.Random(seed))
        except (FileNotFoundError, ValueError):
            return  # nothing there to damage
        self.is_damaged = True

    @precondition(lambda self: exists(self.path))
    @rule(writes=st.none() | st.integers(0, 10))
    def repair(self, writes: int | None) -> None:
        self.kill(1000 if writes is None else writes, lambda: repair(self.path, workers=1))
        if writes is None:
            assert verify(self.path, workers=1).is_sound
            self.is_damaged = False

    @invariant()
    def opens_and_tells_the_truth(self) -> None:
        if not hasattr(self, "path") or not exists(self.path) or self.is_damaged:
            return
        with xarray.open_zarr(self.path) as dataset:
            assert dataset.sizes["sample"] == self.samples
        assert_flags_are_true(self.path, reference(self.samples))

    def teardown(self) -> None:
        if not hasattr(self, "path"):
            return
        if exists(self.path):
            repair(self.path, workers=1)
        build(self.path, workers=1, **self.fields())
        assert verify(self.path, workers=1).findings == ()
        assert_same_bytes(self.path, reference(self.samples))
        shutil.rmtree(self.folder)

    def fields(self) -> dict[str, Any]:
        return FIELDS | {"samples": self.samples}

    def kill(self, writes: int, function: Any) -> None:
        """Run a function until it has written so often; what it leaves then is what SIGKILL would leave."""
        with pytest.MonkeyPatch.context() as patch:
            left = writes

            def spend(action: Any) -> Any:
                def spent(*arguments: Any, **options: Any) -> Any:
                    nonlocal left
                    if left <= 0:
                        raise Killed
                    left -= 1
                    return action(*arguments, **options)

                return spent

            patch.setattr(durable, "publish", spend(durable.publish))
            patch.setattr(durable, "remove", spend(durable.remove))
            with contextlib.suppress(Killed):
                function()


TestStore = Store.TestCase
TestStore.settings = settings(
    max_examples=12, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
