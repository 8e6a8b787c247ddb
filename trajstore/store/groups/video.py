"""The frames: one shard of many samples in a task, each sample compressed on its own."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from trajstore.spec import DatasetSpec
from trajstore.store.columns import FRAME_NOTE, Column, ColumnGroup

if TYPE_CHECKING:
    from trajstore.scene.scene import Scene  # imports numba, which reading does without

SHARD_BYTES_MAX: Final = 32 * 2**20
"""A shard of noisy frames or of several bodies takes about so much at most: each thread holds one in memory."""

BODY_SHARE: Final = 0.02
"""What a moving body adds to the stored bytes of a sample, as a share of its raw bytes; noise keeps them all."""

CHUNK_BYTES_MAX: Final = 8 * 2**20
"""A sample with more raw bytes than this is split into several chunks: by camera, then by frames."""


def define_video(spec: DatasetSpec) -> ColumnGroup:
    """The frames of all cameras, a shard in a task."""
    rows = _count_rows(spec)
    return ColumnGroup(
        "video",
        (_define_column(spec, rows),),
        spec.dataset.samples,
        rows,
        draw_frames,
        flag_dim="video_shard",
    )


def draw_frames(
    scene: Scene, column: Column, rows: slice, part: tuple[slice, ...], out: NDArray[Any]
) -> NDArray[Any]:
    """Draw some cameras and frames of some rows; see `trajstore.store.columns.Draw`."""
    cameras, frames, *_ = part
    for place, index in enumerate(range(rows.start, rows.stop)):
        scene.draw(index, cameras, frames, out[place])
    return out


def _count_rows(spec: DatasetSpec) -> int:
    """Rows of a shard: fewer than the spec asks for where these would take too much memory."""
    rows, share = spec.storage.samples_per_shard, 0.0
    if spec.bodies.count > 1:
        share = min(1.0, BODY_SHARE * spec.bodies.count)
    if spec.sensor.is_noisy:
        share = 1.0
    if not share:  # where files of version 0.1 end
        return rows
    return max(1, min(rows, int(SHARD_BYTES_MAX / (share * prod(_shape_sample(spec))))))


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
        chunk_shape=(1, *_split_sample(sample)),
        shard_shape=(rows, *sample),
        dtype="uint8",
        fill_value=0,
        attributes={"long_name": "RGB frames", "comment": f"channels are red, green, blue; {FRAME_NOTE}"},
    )


def _split_sample(sample: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a chunk: a sample, or a camera of it, or the largest equal parts of its frames that are small enough."""
    if prod(sample) <= CHUNK_BYTES_MAX:
        return sample
    _, frames, *frame = sample
    fitting = max(1, CHUNK_BYTES_MAX // prod(frame))
    step = next(step for step in range(min(fitting, frames), 0, -1) if frames % step == 0)
    return (1, step, *frame)
