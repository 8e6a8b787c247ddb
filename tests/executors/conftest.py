"""Workers that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trajstore.executors.local import LocalWorkers, start_workers


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalWorkers]:
    """Two workers that are started again when they end; a task may end one of them before Dask gives it up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
        with start_workers(2) as started:
            yield started
