"""The bytes of picture and video files."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Final

import numpy as np
from matplotlib import rc_context
from numpy.typing import NDArray

from trajstore.pictures.page import DPI, Page

FRAMES_PER_SECOND: Final = 10
LAST_SECONDS: Final = 2.0
"""How long the last frame stays, with the future position marked."""

Picture = NDArray[np.uint8]


def encode_still(page: Page, ending: str) -> bytes:
    """Encode a page."""
    stream = BytesIO()
    if ending == ".png":
        page.keep()
        # without transparency: a tenth smaller and in a fifth of the time
        page.image().save(stream, "png", dpi=(DPI, DPI))
        return stream.getvalue()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[ending]
    with rc_context({"svg.hashsalt": "trajstore"}):
        page.figure.savefig(stream, format=ending[1:], metadata=metadata)
    return stream.getvalue()


def encode_gif(pictures: Iterable[Picture]) -> bytes:
    """Encode an animation that plays again and again."""
    import imageio.v3

    frames = list(pictures)
    each, last = 1000 // FRAMES_PER_SECOND, round(1000 * LAST_SECONDS)
    data: bytes = imageio.v3.imwrite(
        "<bytes>",
        np.stack(frames),
        extension=".gif",
        plugin="pillow",
        duration=[*[each] * (len(frames) - 1), last] if len(frames) > 1 else last,
        loop=0,
    )
    return data


def encode_mp4(pictures: Iterable[Picture]) -> bytes:
    """Encode a video that browsers and slides play: H.264, 4:2:0."""
    import imageio.v3

    stream = BytesIO()
    with imageio.v3.imopen(stream, "w", extension=".mp4", plugin="pyav") as video:
        video.init_video_stream("libx264", fps=FRAMES_PER_SECOND, pixel_format="yuv420p")
        for picture in pictures:
            video.write_frame(picture)
            last = picture
        for _ in range(round(LAST_SECONDS * FRAMES_PER_SECOND) - 1):
            video.write_frame(last)
    return stream.getvalue()
