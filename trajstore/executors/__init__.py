"""Where tasks run: one small interface, and the executors that have it.

What a task does is not known here.
"""

from __future__ import annotations

from trajstore.executors.interface import Executor, Outcome
from trajstore.executors.threads import ThreadExecutor

__all__ = ["Executor", "Outcome", "ThreadExecutor"]
