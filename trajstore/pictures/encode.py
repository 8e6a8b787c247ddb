"""The bytes of picture and video files."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any, Final

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
    """Encode a video that browsers and slides play: H.264, 4:2:0; its frames are those of the animation."""
    import av

    stream = BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track: Any = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        track.pix_fmt = "yuv420p"
        packets = []
        for picture in pictures:
            track.height, track.width, _ = picture.shape
            packets += track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += track.encode()
        last = max(packets, key=lambda packet: packet.pts)
        last.duration = round(LAST_SECONDS / last.time_base)
        container.mux(packets)
    return stream.getvalue()
