"""The frames: one shard of many samples in a task, each camera of a sample compressed on its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from trajstore.errors import SpecError
from trajstore.spec import COMPRESSION_LEVEL, DEFAULT_FIRST_GROUPS, DatasetSpec
from trajstore.store.columns import FRAME_NOTE, Column, ColumnGroup
from trajstore.text import format_bytes

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

    from trajstore.scene.scene import Scene  # imports numba, which reading does without

SHARD_BYTES: Final = 32 * 2**20
"""Stored bytes of a shard, about: each thread holds one in memory."""

SHARD_BYTES_MAX: Final = 2**31
"""A shard that is asked for and would take more is refused."""

SHARDS_MIN: Final = 40
"""So many shards at least are made of a dataset, to keep many processors busy and to lose little with each."""

RAW_BYTES_MIN: Final = 32 * 2**20
"""Of fewer frames than this, no shard is made for the sake of `SHARDS_MIN`: files and flags would cost more."""

BODY_SHARE: Final = 0.02
"""What a moving body adds to the stored bytes of a sample, as a share of its raw bytes; noise keeps them all."""

CHUNK_BYTES_MAX: Final = 8 * 2**20
"""A chunk with more raw bytes than this is split: by camera, then by frames."""


FRAME_PIXELS_MAX: Final = 2**24
"""Larger frames are refused: each thread holds a whole one, with 24 bytes of intermediate values a pixel."""


def settle_storage(spec: DatasetSpec) -> DatasetSpec:
    """The spec of a new store, with what it leaves open about files and splits chosen."""
    storage, samples = spec.storage, spec.dataset.samples
    raw = prod(_shape_sample(spec))
    fitting = max(1, int(SHARD_BYTES / _estimate_row(spec)))
    rows = min(fitting, max(-(-samples // SHARDS_MIN), RAW_BYTES_MIN // raw, 1))
    encoder = "motion" if storage.compression_level == COMPRESSION_LEVEL else "zstd"
    settled = {"samples_per_shard": rows, "encoder": encoder, "chunk": "camera"}
    left_open = {name: value for name, value in settled.items() if getattr(storage, name) is None}
    splits = spec.splits.model_copy(update={"first_groups": spec.splits.first_groups or DEFAULT_FIRST_GROUPS})
    return spec.model_copy(update={"storage": storage.model_copy(update=left_open), "splits": splits})


def check_storage(spec: DatasetSpec) -> None:
    """Refuse to create a store whose files cannot be made as its spec says.

    Raises
    ------
    SpecError
        If it asks for frames or shards that no memory can hold, or for a level that the encoder does not have.
    """
    storage, video = spec.storage, spec.video
    if video.height * video.width > FRAME_PIXELS_MAX:
        message = (
            f"video.height, video.width: found {video.height} × {video.width}, expected at most "
            f"{FRAME_PIXELS_MAX:,} pixels, such as 4096 × 4096; ask for smaller frames"
        )
        raise SpecError(message)
    size = min(storage.samples_per_shard or 0, spec.dataset.samples) * _estimate_row(spec)
    if size > SHARD_BYTES_MAX:
        message = (
            f"storage.samples_per_shard: found {storage.samples_per_shard}, which makes shards of about "
            f"{format_bytes(size)}, expected at most {format_bytes(SHARD_BYTES_MAX)}; leave it out and it is chosen"
        )
        raise SpecError(message)
    if storage.encoder == "motion" and storage.compression_level != COMPRESSION_LEVEL:
        message = (
            f"storage.compression_level: found {storage.compression_level}, expected {COMPRESSION_LEVEL}: the encoder "
            "'motion' has no levels; choose the encoder 'zstd'"
        )
        raise SpecError(message)


def _estimate_row(spec: DatasetSpec) -> float:
    """Stored bytes of a sample, about."""
    share = 1.0 if spec.sensor.is_noisy else min(1.0, BODY_SHARE * spec.bodies.count)
    return share * prod(_shape_sample(spec))


def define_video(spec: DatasetSpec) -> ColumnGroup:
    """The frames of all cameras, a shard in a task."""
    spec = settle_storage(spec)
    rows = spec.storage.samples_per_shard
    assert rows is not None  # it is settled
    return ColumnGroup(
        "video",
        (_define_column(spec, rows),),
        spec.dataset.samples,
        rows,
        draw_frames,
        flag_dim="video_shard",
        compress=compress_frames if spec.storage.encoder == "motion" else None,
    )


def draw_frames(
    scene: Scene, column: Column, rows: slice, part: tuple[slice, ...], out: NDArray[Any]
) -> NDArray[Any]:
    """Draw some cameras and frames of some rows; see `trajstore.store.columns.Draw`."""
    cameras, frames, *_ = part
    for place, index in enumerate(range(rows.start, rows.stop)):
        scene.draw(index, cameras, frames, out[place])
    return out


def compress_frames(
    scene: Scene, columns: Sequence[Column], row: int, _: ZstdCompressor
) -> dict[str, list[bytes]] | None:
    """Draw and compress the chunks of a row; see `trajstore.store.columns.Compress`."""
    (column,) = columns
    cameras, frames = column.chunk_shape[1:3]
    compressed = scene.compress(row, (cameras, frames))
    return None if compressed is None else {column.name: compressed}


def _shape_sample(spec: DatasetSpec) -> tuple[int, ...]:
    """Shape of a sample."""
    video = spec.video
    return (video.cameras, video.frames, 3, video.height, video.width)


def _define_column(spec: DatasetSpec, rows: int) -> Column:
    """Describe the frames, of which so many rows are in a shard."""
    sample = _shape_sample(spec)
    return Column(
        name="video",
        dims=("sample", "camera", "frame", "channel", "y", "x"),
        shape=(spec.dataset.samples, *sample),
        chunk_shape=(1, *_shape_chunk(spec)),
        shard_shape=(rows, *sample),
        dtype="uint8",
        fill_value=0,
        attributes={"long_name": "RGB frames", "comment": f"channels are red, green, blue; {FRAME_NOTE}"},
    )


def _shape_chunk(spec: DatasetSpec) -> tuple[int, ...]:
    """Shape of a chunk: a sample, or a camera of it, or the largest equal parts of its frames that are small enough."""
    sample = _shape_sample(spec)
    if spec.storage.chunk == "sample" and prod(sample) <= CHUNK_BYTES_MAX:
        return sample
    _, frames, *frame = sample
    return (1, count_frames(frames, prod(frame)), *frame)


def count_frames(frames: int, frame_bytes: int) -> int:
    """How many of so many frames are in a chunk: equal parts, as large as they may be."""
    fitting = max(1, CHUNK_BYTES_MAX // frame_bytes)
    return next(step for step in range(min(fitting, frames), 0, -1) if frames % step == 0)
