"""What the process that starts commands for `faults.start` has imported and compiled before it forks."""

import pytest  # noqa: F401  each child imports the main module of this run, which is pytest

import trajstore.builder
import trajstore.cli  # noqa: F401
from trajstore.layout import plan_layout
from trajstore.scene import place_cameras
from trajstore.spec import DatasetSpec
from trajstore.tasks import make_files

_spec = DatasetSpec.from_fields(samples=4, frames=2, height=8, width=8)
_layout = plan_layout(_spec)
place_cameras(_spec)
for _group in _layout.groups:
    make_files(_spec, _layout, _group.task(0))
