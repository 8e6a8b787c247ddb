from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from zstandard import ZstdCompressor, ZstdDecompressor

from trajstore.errors import CorruptDataError
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.storage.direct import PageBuffer
from trajstore.store.shard import (
    ABSENT,
    Shard,
    append_checksum,
    decode_chunk,
    encode_chunk,
    index_size,
    parse_index,
)

arrays = npst.arrays(
    st.sampled_from([np.dtype("uint8"), np.dtype("<f4"), np.dtype("int8")]),
    npst.array_shapes(max_dims=4, max_side=6),
)
chunk_lists = st.lists(st.binary(min_size=1, max_size=30), max_size=6)


def make_shard(chunks: list[bytes], *, capacity: int) -> bytes:
    buffer = PageBuffer()
    shard = Shard(buffer, capacity=capacity)
    for chunk in chunks:
        shard.append(chunk)
    return bytes(shard.finish())


DECOMPRESSOR = ZstdDecompressor()  # one for all: what is damaged must not spoil what comes next


def read_shard(shard: bytes, capacity: int) -> list[bytes | None]:
    index = parse_index(shard[-index_size(capacity) :], capacity=capacity, shard_size=len(shard))
    return [None if start == ABSENT else shard[int(start) : int(start + size)] for start, size in index]


def decode(data: bytes, like: np.ndarray) -> np.ndarray:
    out = np.empty_like(like)
    decode_chunk(data, out, DECOMPRESSOR)
    return out


@given(values=arrays, level=st.sampled_from([-5, -1, 1, 3]))
def test_a_chunk_comes_back(values: np.ndarray, level: int) -> None:
    np.testing.assert_array_equal(decode(encode_chunk(values, ZstdCompressor(level=level)), values), values)


@given(chunks=chunk_lists, missing=st.integers(0, 4))
def test_a_shard_comes_back_with_absent_chunks(chunks: list[bytes], missing: int) -> None:
    capacity = len(chunks) + missing
    shard = make_shard(chunks, capacity=capacity)
    assert read_shard(shard, capacity) == [*chunks, *[None] * missing]
    assert len(shard) == sum(map(len, chunks)) + index_size(capacity)


def test_every_flipped_bit_of_an_index_is_found() -> None:
    shard = make_shard([b"first", b"second"], capacity=3)
    tail = shard[-index_size(3) :]
    for position in range(8 * len(tail)):
        damaged = bytearray(tail)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(CorruptDataError):
            parse_index(damaged, capacity=3, shard_size=len(shard))


def test_every_flipped_bit_of_a_chunk_is_found() -> None:
    values = np.arange(40, dtype="<f4")
    chunk = encode_chunk(values, ZstdCompressor(level=1))
    for position in range(8 * len(chunk)):
        damaged = bytearray(chunk)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(CorruptDataError):
            decode(bytes(damaged), values)


@given(size=st.integers(0, index_size(3) - 1))
def test_a_shard_shorter_than_its_index_is_found(size: int) -> None:
    shard = make_shard([b"first", b"second"], capacity=3)
    with pytest.raises(CorruptDataError):
        parse_index(shard[:size], capacity=3, shard_size=size)


@given(
    entries=st.lists(
        st.tuples(*[st.integers(0, 40) | st.integers(2**64 - 40, 2**64 - 1)] * 2), min_size=1, max_size=3
    )
)
def test_an_index_with_a_right_checksum_never_points_outside(entries: list[tuple[int, int]]) -> None:
    """An index that passes the check gives slices that lie in the shard's data, however wild its numbers."""
    tail = append_checksum(np.array(entries, dtype="<u8").tobytes())
    data_size = 30
    try:
        index = parse_index(tail, capacity=len(entries), shard_size=data_size + len(tail))
    except CorruptDataError:
        return
    for start, size in index.tolist():
        assert start == size == ABSENT or start + size <= data_size


@pytest.mark.parametrize("size", [0, 3, 4, 5])
def test_a_chunk_that_is_too_short_is_found(size: int) -> None:
    values = np.arange(40, dtype="<f4")
    with pytest.raises(CorruptDataError):
        decode(encode_chunk(values, ZstdCompressor())[:size], values)


def test_a_chunk_of_another_size_is_found() -> None:
    chunk = encode_chunk(np.arange(40, dtype="<f4"), ZstdCompressor())
    for other in (39, 41):
        with pytest.raises(CorruptDataError):
            decode(chunk, np.empty(other, "<f4"))


def test_a_chunk_that_is_not_zstd_is_found() -> None:
    with pytest.raises(CorruptDataError):
        decode(append_checksum(b"no frame of zstd"), np.empty(4, "<f4"))


@pytest.mark.parametrize("more", [b"rest", ZstdCompressor().compress(b"more")])
def test_a_chunk_that_something_follows_is_found(more: bytes) -> None:
    values = np.arange(40, dtype="<f4")
    compressed = ZstdCompressor().compress(values.data)
    assert len(decode(append_checksum(compressed), values))
    with pytest.raises(CorruptDataError, match="does not decompress"):
        decode(append_checksum(compressed + more), values)


def test_a_chunk_that_ends_within_its_frame_is_found() -> None:
    values = np.arange(40, dtype="<f4")
    with pytest.raises(CorruptDataError, match="does not decompress"):
        decode(append_checksum(ZstdCompressor().compress(values.data)[:-1]), values)


FRAMES: dict[str, Callable[[np.ndarray], bytes]] = {
    "raw": ZstdCompressor(level=-1).compress,
    "Huffman": ZstdCompressor(level=9).compress,
    "ours": lambda clip: (make_scene(CLIP, range(2)).compress(1, (2, 5)) or [b""])[0],
}
CLIP = DatasetSpec.from_fields(samples=4, cameras=2, frames=5, horizon=1, height=20, width=24)


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_a_damaged_frame_with_a_right_checksum_ends_in_one_line(make: Callable[[np.ndarray], bytes]) -> None:
    """Whatever is wrong in it: headers, tables, lengths, offsets, the stream of bits. Every bit in turn, and ends."""
    clip = np.empty((2, 5, 3, 20, 24), np.uint8)
    make_scene(CLIP, range(2)).draw(1, slice(None), slice(None), clip)
    frame = make(clip)
    np.testing.assert_array_equal(decode(append_checksum(frame), clip), clip)
    damaged = [frame[:size] for size in range(0, len(frame), 7)]
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    messages = []
    for data in damaged:
        try:
            decode(append_checksum(data), clip)
        except CorruptDataError as error:
            messages.append(str(error))
    assert len(messages) > len(damaged) // 20
    assert all(message.startswith("the chunk ") and "\n" not in message for message in messages)
    np.testing.assert_array_equal(decode(append_checksum(frame), clip), clip)
