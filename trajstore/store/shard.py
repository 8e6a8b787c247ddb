"""The bytes of chunks and shards, made and read here because a library's sharded access costs ten times as much.

A chunk is compressed by zstd and followed by the crc32c of the compressed bytes. A shard is its chunks one after the
other and then the index: offset and length of each chunk as little-endian uint64, and the index's own crc32c.

References
----------
Zarr v3 specification, sharding codec 1.0 and crc32c codec 1.0.
"""

from __future__ import annotations

from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError, frame_content_size

from trajstore.errors import CorruptDataError
from trajstore.storage.direct import PageBuffer
from trajstore.storage.interface import Bytes

ABSENT: Final = 2**64 - 1
"""Offset and length that the index gives for a chunk that is not there."""

CHECKSUM_BYTES: Final = 4

FLAG_WRITTEN: Final[bytes] = b"\x01" + google_crc32c.value(b"\x01").to_bytes(CHECKSUM_BYTES, "little")
"""The bytes of a flag that is set; anything else, also a damaged flag, means "not written"."""

FLAG_CLEAR: Final[bytes] = b"\x00" + google_crc32c.value(b"\x00").to_bytes(CHECKSUM_BYTES, "little")
"""The bytes of a flag that somebody has written as false; trajstore itself clears a flag by removing it."""


def encode_chunk(values: NDArray[np.generic], compressor: ZstdCompressor) -> bytes:
    """Compress an array and add its checksum.

    Parameters
    ----------
    values : ndarray
        C-contiguous, little-endian.
    """
    compressed: bytes = compressor.compress(values.data)
    return append_checksum(compressed)


def append_checksum(data: bytes) -> bytes:
    """Follow some bytes by their crc32c."""
    checksum: int = google_crc32c.value(data)
    return data + checksum.to_bytes(CHECKSUM_BYTES, "little")


class Shard:
    """A shard of up to ``capacity`` chunks that is put together one by one in memory that is given."""

    def __init__(self, out: PageBuffer, *, capacity: int) -> None:
        out.clear()
        self._out, self._capacity = out, capacity
        self._lengths: list[int] = []

    def append(self, chunk: bytes) -> None:
        """Add the next chunk."""
        self._out.append(chunk)
        self._lengths.append(len(chunk))

    def finish(self) -> memoryview:
        """Add the index; all bytes of the shard."""
        count = len(self._lengths)
        index = np.full((self._capacity, 2), ABSENT, dtype="<u8")
        index[:count, 1] = self._lengths
        index[:count, 0] = np.cumsum([0, *self._lengths])[:-1]
        self._out.append(append_checksum(index.tobytes()))
        return self._out.view()


def index_size(capacity: int) -> int:
    """Bytes of a shard's index, which is the end of the shard."""
    return 16 * capacity + CHECKSUM_BYTES


def parse_index(tail: Bytes, *, capacity: int, shard_size: int) -> NDArray[np.uint64]:
    """Read a shard's index and check it.

    Returns
    -------
    (capacity, 2) uint64
        Offset and length of each chunk; both `ABSENT` where there is none.
    """
    size = index_size(capacity)
    if len(tail) < size:
        message = f"the shard has {shard_size} bytes, its index alone takes {size}"
        raise CorruptDataError(message)
    content = _strip_checksum(tail, what="shard index")
    index = np.frombuffer(content, dtype="<u8").reshape(capacity, 2)
    present = index[(index != ABSENT).any(axis=1)]
    start, length = present.T
    end = np.uint64(max(shard_size - size, 0))
    if (length > end).any() or (start > end - length).any():  # a sum could overflow
        message = "the shard index points outside the shard"
        raise CorruptDataError(message)
    return index.astype(np.uint64, copy=False)


def decode_chunk(data: Bytes, out: NDArray[np.generic], decompressor: ZstdDecompressor) -> None:
    """Check and decompress a chunk straight into an array.

    Parameters
    ----------
    out : ndarray
        C-contiguous, of the chunk's size; overwritten.
    decompressor : ZstdDecompressor
        Of this thread alone, and kept: making one takes as long as decoding a small chunk.
    """
    content = _strip_checksum(data, what="chunk")
    try:
        found = frame_content_size(content)
        if found != out.nbytes:  # the rest of a larger array would be left as it was
            message = f"the chunk holds {found} bytes, expected {out.nbytes}"
            raise CorruptDataError(message)
        reader = decompressor.stream_reader(content, read_across_frames=True)
        is_whole = reader.readinto(out.data) == out.nbytes and not reader.read(1)
    except ZstdError as error:
        message = f"the chunk does not decompress: {error}"
        raise CorruptDataError(message) from None
    if not is_whole:
        message = "the chunk does not decompress: it is too short, or something follows it"
        raise CorruptDataError(message)


def _strip_checksum(data: Bytes, *, what: str) -> memoryview:
    """Compare the crc32c at the end of some bytes with that of the rest."""
    view = memoryview(data)
    content, stored = view[:-CHECKSUM_BYTES], view[-CHECKSUM_BYTES:]
    if google_crc32c.value(bytes(content)) != int.from_bytes(stored, "little"):
        message = f"the checksum of the {what} is wrong"
        raise CorruptDataError(message)
    return content
