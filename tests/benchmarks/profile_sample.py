"""Where the time of a sample goes: one thread, hot memory, each step with all those before it.

Run it on a quiet machine::

    python tests/benchmarks/profile_sample.py [--size 64] [--rows 250] [--rounds 7] [FIELD=JSON ...]

Fields of the spec change the world: ``distractors=7`` or ``patterns='["gradient"]'``. A step is what its line takes
more than the line above; each is the best of the rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from zstandard import ZstdCompressor, ZstdDecompressor

from trajstore.kernels.canvas import put_frame
from trajstore.kernels.compiler import kernel
from trajstore.kernels.raster import clear_touched, draw_sphere, fill_background
from trajstore.kernels.zstd import Encoder, start_frame
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.store.shard import append_checksum, decode_chunk
from trajstore.store.write import make_files

ALL = slice(None)


@kernel
def draw_alone(center_camera, radius, color, background, intrinsics, light, ambient, spans, canvas):
    """Draw all frames of a sphere over one picture, and clear nothing."""
    fill_background(background, canvas.pictures[0])
    for camera in range(center_camera.shape[0]):
        for frame in range(center_camera.shape[1]):
            draw_sphere(
                center_camera[camera, frame], radius, color, intrinsics[camera], light[camera], ambient, spans,
                canvas.touched, canvas.pictures[0],
            )  # fmt: skip


@kernel
def put_alone(center_camera, radius, color, background, intrinsics, light, ambient, spans, canvas, encoder):
    """The same, and put down what is new, without coding it."""
    fill_background(background, canvas.background)
    clear_touched(canvas.touched)
    for camera in range(center_camera.shape[0]):
        start_frame(encoder)
        fill_background(background, canvas.pictures[0])
        fill_background(background, canvas.pictures[1])
        for frame in range(center_camera.shape[1]):
            draw_sphere(
                center_camera[camera, frame], radius, color, intrinsics[camera], light[camera], ambient, spans,
                canvas.touched, canvas.pictures[frame & 1],
            )  # fmt: skip
            put_frame(frame, True, True, canvas, encoder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fields", nargs="*", metavar="FIELD=JSON")
    parser.add_argument("--size", type=int, default=64, help="height and width of a frame, px")
    parser.add_argument("--rows", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    fields = {
        name: json.loads(value) for name, _, value in (field.partition("=") for field in arguments.fields)
    }
    spec = DatasetSpec.from_fields(
        **{"samples": 2 * arguments.rows, "height": arguments.size, "width": arguments.size, **fields}
    )
    rows, video = arguments.rows, spec.video
    layout = plan_layout(spec.replace(samples_per_shard=rows))
    group = layout.group("video")
    column, task = group.columns[0], group.task(0)
    chunk = (column.chunk_shape[1], column.chunk_shape[2])
    scene = make_scene(spec, range(rows))
    clip = np.empty((video.cameras, video.frames, 3, video.height, video.width), np.uint8)
    library, decompressor = ZstdCompressor(level=-1), ZstdDecompressor()

    def draw_and_search(row: int) -> None:
        scene.draw(row, ALL, ALL, clip)
        for camera in clip:
            library.compress(camera.data)

    stored = [list(map(append_checksum, scene.compress(row, chunk) or ())) for row in range(rows)]
    target = clip.reshape(-1, *chunk, *clip.shape[2:])

    def decode(row: int) -> None:
        for data, out in zip(stored[row], target, strict=False):
            decode_chunk(data, out, decompressor)

    labels = layout.group("labels")

    def best(function: Callable[[int], object], count: int = rows) -> float:
        function(0)
        found = []
        for _ in range(arguments.rounds):
            started = time.perf_counter()
            for row in range(count):
                function(row)
            found.append((time.perf_counter() - started) / count)
        return min(found) * 1e6

    lines: list[tuple[str, float]] = []
    if scene._is_plain:
        memory = scene._workspace
        cameras, frames = slice(0, video.cameras), slice(0, video.frames)
        encoder: Encoder = memory.get_encoder("frames", clip.nbytes // video.cameras, video.cameras)[0]

        def describe(row: int) -> tuple:
            return scene._describe_sphere(row, cameras, frames, memory)

        lines += [
            ("drawing what moves", best(lambda row: draw_alone(*describe(row), memory.canvas))),
            (
                "finding and copying what is new",
                best(lambda row: put_alone(*describe(row), memory.canvas, encoder)),
            ),
        ]
    lines += [
        ("coding it", best(lambda row: scene.compress(row, chunk))),
        ("checksums, shard, the scene", best(lambda _: make_files(spec, group, task), 1) / rows),
    ]
    print(f"{video.cameras} × {video.frames} × 3 × {video.height} × {video.width}, µs a sample, one thread\n")
    before = 0.0
    for name, total in lines:
        print(f"{name:<40}{total - before:>8.0f}{total:>10.0f} in all")
        before = total
    print(
        f"{'labels':<40}{best(lambda _: make_files(spec, labels, labels.task(0)), 1) / len(labels.task(0).rows):>8.0f}"
    )
    print(f"\n{'drawing all pixels, the library’s search':<40}{best(draw_and_search):>8.0f}")
    print(f"{'copying the clip once':<40}{best(lambda _: clip.copy()):>8.0f}")
    print(f"{'decoding':<40}{best(decode):>8.0f}")
    size = sum(len(data) for chunks in stored for data in chunks) / rows
    print(f"{'stored':<40}{size / 1e3:>8.1f} KB")


if __name__ == "__main__":
    main()
