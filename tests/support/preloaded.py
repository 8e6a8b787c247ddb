"""What the process that starts commands for `faults.start` has imported and compiled before it forks."""

import pytest  # noqa: F401  each child imports the main module of this run, which is pytest

import trajstore.cli  # noqa: F401
from trajstore.scene.cameras import place_cameras
from trajstore.spec import DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.store.write import make_files

_spec = DatasetSpec.from_fields(samples=4, frames=2, height=8, width=8)
_layout = plan_layout(_spec)
place_cameras(_spec)
for _group in _layout.groups:
    make_files(_spec, _group, _group.task(0))
