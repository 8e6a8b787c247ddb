"""The bytes of picture and video files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from numpy.typing import NDArray
from PIL import Image

from trajstore.pictures.choose import spread
from trajstore.pictures.page import DPI, Page
from trajstore.pictures.palette import MARKS, to_rgb

FRAMES_PER_SECOND: Final = 10
LAST_SECONDS: Final = 2.0
"""How long the last frame stays, with the future position marked."""

COLORS: Final = 255
"""Colours of an animation; one more says that a pixel stays as it is."""

COMMON: Final = 32
"""Colours of an animation that are kept as they are."""

PALETTE_FRAMES: Final = 8
"""Frames that the colours are chosen from."""

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
    frames = list(pictures)
    # all frames have the same colours: what stands still is the same in each, and only what moves is kept
    colors = _choose_colors([frames[place] for place in spread(len(frames), PALETTE_FRAMES)])
    nearest = _find_nearest(frames, colors)
    images = [Image.fromarray(nearest[_cells(frame)]) for frame in frames]
    for image in images:
        image.putpalette(colors.tobytes())
    stream = BytesIO()
    images[0].save(
        stream,
        "gif",
        save_all=True,
        append_images=images[1:],
        duration=[*[1000 // FRAMES_PER_SECOND] * (len(frames) - 1), round(1000 * LAST_SECONDS)],
        loop=0,
        optimize=True,
    )
    return stream.getvalue()


def _choose_colors(frames: Sequence[Picture]) -> Picture:
    """Colours (n, 3) of an animation: those of marks and the commonest as they are, and means of the others."""
    page = Image.fromarray(np.concatenate(frames))
    counted: list[tuple[int, Any]] = page.getcolors(page.width * page.height) or []
    common = [*map(to_rgb, MARKS), *(color for _, color in sorted(counted, reverse=True)[:COMMON])]
    # of Pillow's methods, the one that is nearest to small bodies
    means = page.quantize(COLORS - len(common), Image.Quantize.FASTOCTREE).getpalette() or []
    return np.array([*common, *zip(*[iter(means)] * 3, strict=True)], np.uint8)[:COLORS]


def _find_nearest(frames: Sequence[Picture], colors: Picture) -> NDArray[np.uint8]:
    """Which of some colours is nearest to each cell of which frames have colours; to its own cell, each is."""
    is_seen = np.zeros(64**3, bool)
    for frame in frames:
        is_seen[_cells(frame)] = True
    seen = np.flatnonzero(is_seen)
    middles = 4.0 * np.stack(np.unravel_index(seen, (64, 64, 64)), axis=-1) + 1.5
    levels = colors.astype(np.float64)
    nearest = np.zeros(64**3, np.uint8)
    nearest[seen] = ((levels**2).sum(axis=-1) - 2.0 * middles @ levels.T).argmin(axis=-1)
    own = _cells(colors)
    nearest[own[::-1]] = np.arange(len(colors), dtype=np.uint8)[::-1]
    return nearest


def _cells(colors: Picture) -> NDArray[np.int64]:
    """The cell of each colour (…, 3), of 64 × 64 × 64."""
    red, green, blue = np.moveaxis(colors >> 2, -1, 0).astype(np.int64)
    cells: NDArray[np.int64] = red << 12 | green << 6 | blue
    return cells


def encode_mp4(pictures: Iterable[Picture]) -> bytes:
    """Encode a video that browsers and slides play: H.264, 4:2:0; its frames are those of the animation."""
    import av

    stream = BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track: Any = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        track.pix_fmt = "yuv420p"
        packets: list[Any] = []
        for picture in pictures:
            if not track.codec_context.is_open:
                track.height, track.width, _ = picture.shape
            packets += track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += track.encode()
        last = max(packets, key=lambda packet: packet.pts)
        last.duration = round(LAST_SECONDS / last.time_base)
        container.mux(packets)
    return stream.getvalue()
