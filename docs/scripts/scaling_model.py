"""What a store of so many samples takes: objects, bytes, requests, time, memory, money; prints what cluster.md shows.

::

    python docs/scripts/scaling_model.py

What is counted follows from the layout and is checked against real stores by a test. What is measured or assumed is a
field of `Assumptions`: change it to what holds for you.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

LABEL_COLUMNS = 10
CAMERAS = 4
ARRAYS = LABEL_COLUMNS + 5
"""The label columns, video, two of cameras, two of flags."""


@dataclass(frozen=True)
class Assumptions:
    """Measured on the project's machine, or assumed; default samples of 4 × 32 × 3 × 64 × 64.

    Attributes
    ----------
    sample_bytes, label_bytes : float
        Stored bytes of a sample's frames and of its labels. Measured.
    samples_per_second : float
        Of one worker. Measured.
    label_memory_bytes : float
        Peak memory of a label task, per row. Measured, rounded up.
    pending_task_bytes : float
        Memory of the coordinator per pending task: a number, and a byte for its flag.
    batch_seconds : float
        What a batch costs the coordinator. Measured.
    list_seconds, list_keys : float, int
        A request that lists, and how many keys it returns. Assumed for an object store.
    gets_per_second : float
        Small objects that a process reads in parallel. Assumed for an object store.
    put_price, get_price, month_price : float
        Per 1,000 PUT or LIST requests, per 1,000 GET requests, per GB and month. Assumed: look yours up.
    """

    sample_bytes: float = 26_800.0
    label_bytes: float = 4_000.0
    samples_per_second: float = 900.0
    label_memory_bytes: float = 16_000.0
    pending_task_bytes: float = 9.0
    batch_seconds: float = 0.010
    list_seconds: float = 0.1
    list_keys: int = 1000
    gets_per_second: float = 1000.0
    put_price: float = 0.005
    get_price: float = 0.0004
    month_price: float = 0.023


@dataclass(frozen=True)
class Store:
    """A store of so many samples, built by so many workers.

    Attributes
    ----------
    samples, samples_per_shard, label_rows, workers : int
        Its size, how it is cut, and who builds it.
    assumed : Assumptions
        The rest.
    """

    samples: int
    samples_per_shard: int = 1066
    label_rows: int = 8192
    workers: int = 100
    assumed: Assumptions = Assumptions()

    @property
    def video_tasks(self) -> int:
        """Shards, and as many flags."""
        return ceil(self.samples / self.samples_per_shard)

    @property
    def label_tasks(self) -> int:
        """Label chunks of each column, and as many flags."""
        return ceil(self.samples / self.label_rows)

    @property
    def tasks(self) -> int:
        """All tasks; also all flags."""
        return self.video_tasks + self.label_tasks

    @property
    def objects(self) -> int:
        """Data, flags, metadata of each array and of the root, cameras; also the PUT requests of a build."""
        return self.video_tasks + LABEL_COLUMNS * self.label_tasks + self.tasks + ARRAYS + 1 + 2

    @property
    def bytes(self) -> float:
        """Stored bytes."""
        return self.samples * (self.assumed.sample_bytes + self.assumed.label_bytes)

    @property
    def shard_bytes(self) -> float:
        """Bytes of a shard; a worker holds it in memory."""
        return self.samples_per_shard * self.assumed.sample_bytes

    @property
    def worker_bytes(self) -> float:
        """Memory of a worker: the interpreter with its libraries, a shard twice while it grows, or a label task."""
        return 300e6 + max(3 * self.shard_bytes, self.label_rows * self.assumed.label_memory_bytes)

    @property
    def index_bytes(self) -> int:
        """What a reader fetches of each shard before its first sample."""
        return 16 * CAMERAS * self.samples_per_shard + 4

    @property
    def build_seconds(self) -> float:
        """Wall time of the workers."""
        return self.samples / self.assumed.samples_per_second / self.workers

    @property
    def coordinator_bytes(self) -> float:
        """Memory for what is pending; all else does not grow."""
        return self.tasks * self.assumed.pending_task_bytes

    @property
    def coordinator_seconds(self) -> float:
        """Processor time of the coordinator: a batch has a task, or as many as fill its time."""
        filled = self.samples / self.assumed.samples_per_second / max(0.2, 0.02 * self.workers)
        return min(self.tasks, filled) * self.assumed.batch_seconds

    @property
    def pending_requests(self) -> int:
        """LIST requests to find out what is pending."""
        return ceil(self.video_tasks / self.assumed.list_keys) + ceil(
            self.label_tasks / self.assumed.list_keys
        )

    @property
    def pending_seconds(self) -> float:
        """Time to find out what is pending: list all flags one page after the other, then read them."""
        return self.pending_requests * self.assumed.list_seconds + self.tasks / self.assumed.gets_per_second

    @property
    def build_price(self) -> float:
        """Of all PUT requests, and of reading the flags once before and twice after."""
        requests = self.objects + 3 * self.pending_requests
        return (requests * self.assumed.put_price + 3 * self.tasks * self.assumed.get_price) / 1000

    @property
    def month_price(self) -> float:
        """Of keeping the store for a month."""
        return self.bytes / 1e9 * self.assumed.month_price


ROWS = (
    ("video shards", lambda store: f"{store.video_tasks:,}"),
    ("objects, PUT requests", lambda store: f"{store.objects:,}"),
    ("bytes", lambda store: write_bytes(store.bytes)),
    ("bytes of a shard", lambda store: write_bytes(store.shard_bytes)),
    ("memory of a worker", lambda store: write_bytes(store.worker_bytes)),
    ("build", lambda store: write_time(store.build_seconds)),
    ("coordinator, memory", lambda store: write_bytes(store.coordinator_bytes)),
    ("coordinator, processor time", lambda store: write_time(store.coordinator_seconds)),
    ("what is pending: LIST requests", lambda store: f"{store.pending_requests:,}"),
    ("what is pending: time", lambda store: write_time(store.pending_seconds)),
    ("open: requests", lambda _: "1"),
    ("index of a shard, once per reader", lambda store: write_bytes(store.index_bytes)),
    ("price of the requests", lambda store: f"{store.build_price:,.2f}"),
    ("price of a month", lambda store: f"{store.month_price:,.2f}"),
)


def write_bytes(size: float) -> str:
    """Bytes with a unit."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.3g} {unit}"


def write_time(seconds: float) -> str:
    """Seconds, minutes, hours or days."""
    for name, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.3g} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def render(stores: dict[str, Store]) -> str:
    """A table in Markdown, a column for each store."""
    lines = [f"| | {' | '.join(stores)} |", f"|---|{'---|' * len(stores)}"]
    lines += [f"| {name} | {' | '.join(write(store) for store in stores.values())} |" for name, write in ROWS]
    return "\n".join(lines)


AS_IT_IS = {
    "10⁶": Store(10**6),
    "10⁸": Store(10**8, workers=1000),
    "10¹⁰": Store(10**10, workers=10_000),
}
CHANGED = {
    "10⁸, shards of 5,000": Store(10**8, 5000, workers=1000),
    "10¹⁰, shards of 25,000, label chunks of 131,072": Store(10**10, 25_000, 131_072, workers=10_000),
}

if __name__ == "__main__":
    print(render(AS_IT_IS), render(CHANGED), sep="\n\n")  # noqa: T201
