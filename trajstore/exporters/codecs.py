"""Bytes of pictures, videos and arrays, and back: ``.mp4``, ``.mkv``, ``.png`` and ``.npy``, in memory.

Encoding is one thread's work and the same bytes each time. Decoding trusts nothing: sizes are compared with what is
expected before memory is taken for them, and nothing is executed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import SpecError
from trajstore.exporters.interface import BadFileError

FRAMES_PER_SECOND: Final = 10

HEADER_BYTES_MAX: Final = 4096
"""Of a ``.npy`` file."""

OVERHEAD_BYTES_MAX: Final = 2**20
"""No video or picture is larger than its frames by more than that."""

LABEL_BYTES_MAX: Final = 16 * 2**20
"""Of the label of a sample."""

CODED_BORDER: Final = 32
"""By so many pixels decoders widen frames, at most."""

_DECODING: Final = {"err_detect": "crccheck+bitstream+buffer+explode"}


@dataclass(frozen=True)
class VideoCodec:
    """How the frames of a camera become a video.

    Attributes
    ----------
    container, name : str
        Format of the file and encoder, as FFmpeg names them.
    decoder : str
        The decoder that the files need.
    pixels : str
        How colours are stored.
    options : mapping
        Of the encoder.
    is_exact : bool
        Whether frames come back bit for bit.
    step, size_min, size_max : int
        Height and width must be multiples of the step, px, and lie between these.
    """

    container: str
    name: str
    decoder: str
    pixels: str
    options: Mapping[str, str]
    is_exact: bool
    step: int
    size_min: int
    size_max: int


VIDEO_CODECS: Final = {
    "mp4": VideoCodec(
        container="mp4",
        name="libx264",
        decoder="h264",
        pixels="yuv420p",
        # with frames that refer to later ones, x264's choices vary from run to run in small pictures; without, seldom
        options={"crf": "18", "x264-params": "threads=1:bframes=0"},
        is_exact=False,
        step=2,
        size_min=2,
        size_max=4096,
    ),
    "mkv": VideoCodec(
        container="matroska",
        name="ffv1",
        decoder="ffv1",
        pixels="bgr0",
        options={"level": "3", "slices": "4", "slicecrc": "1"},
        is_exact=True,
        step=1,
        size_min=2,
        size_max=16384,
    ),
}
"""By the ending of a file: H.264 with 4:2:0 colours, which everything plays, and FFV1, which loses nothing."""


def check_video(name: str, shape: tuple[int, ...], *, instead: str) -> None:
    """Refuse frames of a size that a codec does not know.

    Parameters
    ----------
    name : {'mp4', 'mkv'}
        The codec.
    shape : tuple of int
        Ends with height and width, px.
    instead : str
        What else can be done.

    Raises
    ------
    SpecError
        If it does not.
    """
    codec = VIDEO_CODECS[name]
    *_, height, width = shape
    if all(codec.size_min <= size <= codec.size_max and size % codec.step == 0 for size in (height, width)):
        return
    even = "even " if codec.step == 2 else ""
    message = (
        f"video {name}: found frames of {height} × {width} px, expected an {even}height and width of {codec.size_min} "
        f"to {codec.size_max} px; export with {instead}"
    )
    raise SpecError(message.replace("an height", "a height"))


def encode_video(name: str, frames: NDArray[np.uint8]) -> bytes:
    """Encode the frames of a camera.

    Parameters
    ----------
    name : {'mp4', 'mkv'}
        The codec.
    frames : (frames, 3, height, width) uint8
        Red, green and blue.

    Returns
    -------
    bytes
        Of the file.
    """
    import av

    codec, stream = VIDEO_CODECS[name], io.BytesIO()
    options = {"fflags": "+bitexact"}  # no random identifiers
    with av.open(stream, "w", format=codec.container, options=options) as container:
        video: Any = container.add_stream(codec.name, rate=FRAMES_PER_SECOND, options=dict(codec.options))
        video.height, video.width = frames.shape[2:]
        video.pix_fmt = codec.pixels
        video.codec_context.thread_count = 1
        video.codec_context.time_base = Fraction(1, FRAMES_PER_SECOND)
        for picture in np.ascontiguousarray(frames.transpose(0, 2, 3, 1)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    return stream.getvalue()


def decode_video(name: str, data: bytes, shape: tuple[int, ...], *, path: str) -> NDArray[np.uint8]:
    """Decode the frames of a camera.

    Parameters
    ----------
    name : {'mp4', 'mkv'}
        The codec.
    data : bytes
        Of the file.
    shape : tuple of int
        Expected: (frames, 3, height, width).
    path : str
        Where they come from, for errors.

    Returns
    -------
    (frames, 3, height, width) uint8
        Red, green and blue.

    Raises
    ------
    BadFileError
        If they are no such video.
    """
    import av

    codec = VIDEO_CODECS[name]
    frames, channels, height, width = shape
    out = np.empty((frames, height, width, channels), np.uint8)
    options = _DECODING | {"max_pixels": str((height + CODED_BORDER) * (width + CODED_BORDER))}
    found = 0
    if (av.logging.get_level() or 0) < av.logging.ERROR:
        av.logging.set_level(av.logging.ERROR)  # a wrong checksum of FFV1 is told in no other way
    try:
        # the demuxer is named: others read further files that a file names
        with (
            av.logging.Capture() as complaints,
            av.open(io.BytesIO(data), format=codec.container, stream_options=[options]) as container,
        ):
            if len(container.streams) != 1 or not container.streams.video:
                message = "expected one video and nothing else"
                raise BadFileError(message, path=path, code="unreadable")
            video: Any = container.streams.video[0]
            decoder = video.codec_context and video.codec_context.name
            if decoder != codec.decoder:
                detail = f"found a video of {decoder or 'no known kind'}, expected {codec.decoder}"
                raise BadFileError(detail, path=path, code="unreadable")
            video.codec_context.options = options
            video.codec_context.thread_count = 1
            for frame in container.decode(video):
                if (frame.height, frame.width) != (height, width):
                    detail = f"found frames of {frame.height} × {frame.width} px, expected {height} × {width}"
                    raise BadFileError(detail, path=path, code="shape")
                if found < frames:
                    out[found] = frame.to_ndarray(format="rgb24")
                found += 1
                if found > frames:
                    break
    except (av.FFmpegError, ValueError, IndexError, MemoryError) as error:
        message = f"cannot be decoded: {_say(error)}"
        raise BadFileError(message, path=path, code="unreadable") from None
    if complaints:
        message = f"is damaged: {complaints[0][2].splitlines()[0]}"
        raise BadFileError(message, path=path, code="unreadable")
    if found != frames:
        count = f"more than {frames}" if found > frames else str(found)
        message = f"found {count} frames, expected {frames}"
        raise BadFileError(message, path=path, code="shape")
    return out.transpose(0, 3, 1, 2)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture.

    Parameters
    ----------
    picture : (3, height, width) uint8
        Red, green and blue.

    Returns
    -------
    bytes
        Of the file.
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(stream, "png")
    return stream.getvalue()


def decode_png(data: bytes, shape: tuple[int, ...], *, path: str) -> NDArray[np.uint8]:
    """Decode a picture.

    Parameters
    ----------
    data : bytes
        Of the file.
    shape : tuple of int
        Expected: (3, height, width).
    path : str
        Where they come from, for errors.

    Returns
    -------
    (3, height, width) uint8
        Red, green and blue.

    Raises
    ------
    BadFileError
        If they are no such picture.
    """
    from PIL import Image

    _, height, width = shape
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if (picture.height, picture.width) != (height, width):
                detail = f"found {picture.height} × {picture.width} px, expected {height} × {width}"
                raise BadFileError(detail, path=path, code="shape")
            if picture.mode != "RGB":
                detail = f"found colours of kind {picture.mode}, expected RGB"
                raise BadFileError(detail, path=path, code="dtype")
            return np.asarray(picture).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        message = f"cannot be decoded: {_say(error)}"
        raise BadFileError(message, path=path, code="unreadable") from None


def encode_npy(values: NDArray[Any]) -> bytes:
    """Encode an array.

    Parameters
    ----------
    values : array
        Of numbers.

    Returns
    -------
    bytes
        Of the file.
    """
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def decode_npy(data: bytes, shape: tuple[int, ...], dtype: str, *, path: str) -> NDArray[Any]:
    """Decode an array, without a copy.

    Parameters
    ----------
    data : bytes
        Of the file.
    shape, dtype : tuple of int, str
        Expected.
    path : str
        Where they come from, for errors.

    Returns
    -------
    array
        Read-only.

    Raises
    ------
    BadFileError
        If they are no such array.
    """
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            message = "expected version 1.0 of .npy"
            raise BadFileError(message, path=path, code="unreadable")
        found, is_fortran, kind = np.lib.format.read_array_header_1_0(
            stream, max_header_size=HEADER_BYTES_MAX
        )
    except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError) as error:
        message = f"is no array: {_say(error)}"
        raise BadFileError(message, path=path, code="unreadable") from None
    if kind != np.dtype(dtype):
        message = f"found {kind}, expected {dtype}"
        raise BadFileError(message, path=path, code="dtype")
    if found != shape or is_fortran:
        message = f"found shape {found}, expected {shape}"
        raise BadFileError(message, path=path, code="shape")
    size = prod(shape) * np.dtype(dtype).itemsize
    if len(data) - stream.tell() != size:
        detail = f"found {len(data) - stream.tell():,} bytes of values, expected {size:,}"
        raise BadFileError(detail, path=path, code="unreadable")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape)


def read_file(folder: Path, name: str, most: int) -> bytes:
    """Read an exported file; `BadFileError` if it is not there, or has more bytes than it may."""
    try:
        with (folder / name).open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise explain_unreadable(error, name) from None
    if len(data) > most:
        message = f"found more than {most:,} bytes"
        raise BadFileError(message, path=name, code="unreadable")
    return data


def explain_unreadable(error: OSError, name: str) -> BadFileError:
    """What to raise for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return BadFileError("found nothing", path=name, code="missing")
    return BadFileError(error.strerror or str(error), path=name, code="unreadable")


def _say(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error) or type(error).__name__).splitlines()[0]
