"""Frames of the encoder, read by the decoders that others wrote."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import Zstd
from numpy.typing import NDArray
from support.interpreted import digest_otherwise
from zstandard import ZstdDecompressor

from trajstore.kernels.zstd import (
    BLOCK_BYTES,
    LITERALS,
    MATCH_MIN,
    N_BLOCKS,
    N_SEQUENCES,
    STEP,
    Encoder,
    bound_frame,
    make_encoder,
    put_pieces,
    start_frame,
    write_frame,
)

SIZE = 2_000_000
NOISE = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)

Pieces = list[tuple[int, int, int]]

lengths = st.one_of(st.integers(1, 20), st.integers(1, 400), st.integers(1, 300_000))
pieces = st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, SIZE // 2), lengths), max_size=40)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return make_encoder(SIZE)


def settle(wanted: Pieces) -> tuple[NDArray[np.int64], bytes]:
    """Pieces that can be, as many as fit, and what they stand for."""
    data, settled = bytearray(), []
    for offset, first, length in wanted:
        if len(data) + length > SIZE:
            break
        back = min(offset, len(data))
        if back and length < MATCH_MIN and not (settled and settled[-1][0] == back):
            back = 0
        if back:
            source = bytes(data[-back:])
            data += (source * (length // back + 1))[:length]
        else:
            data += NOISE[first : first + length].tobytes()
        settled.append((back, first, length))
    return np.array(settled, np.int64).reshape(-1, 3), bytes(data)


def encode(pieces: NDArray[np.int64], size: int, encoder: Encoder) -> bytes:
    """A frame of some pieces; it is written into a larger array that must stay as it is."""
    out = np.full(bound_frame(size) + STEP, 173, np.uint8)
    start_frame(encoder)
    put_pieces(len(pieces), pieces, NOISE, 0, encoder)
    length = write_frame(size, encoder, out[: bound_frame(size)])
    assert (out[bound_frame(size) :] == 173).all(), "wrote beyond the bound"
    return out[:length].tobytes()


def decode(frame: bytes, size: int) -> bytes:
    """What two decoders make of a frame: one of a buffer that is long enough, one piece by piece."""
    decoded: bytes = bytes(Zstd().decode(frame)) if size else b""
    with ZstdDecompressor().stream_reader(frame, read_size=1000) as reader:
        assert reader.read(size + 1) == decoded
    return decoded


@given(wanted=pieces)
def test_decoders_read_what_was_put_down(wanted: Pieces, encoder: Encoder):
    pieces, data = settle(wanted)
    assert decode(encode(pieces, len(data), encoder), len(data)) == data


@pytest.mark.parametrize("seed", range(40))
def test_decoders_read_long_lists(seed: int, encoder: Encoder):
    random = np.random.default_rng(seed)
    count, longest = int(random.choice([200, 3000, 40_000])), int(random.choice([9, 40, 300]))
    offsets = random.choice([0, 1, 3, 64, 4096, 12_288, *random.integers(1, 10**6, 3)], count)
    firsts, sizes = random.integers(0, SIZE // 2, count), random.integers(1, longest, count)
    pieces, data = settle(list(zip(offsets.tolist(), firsts.tolist(), sizes.tolist(), strict=True)))
    assert decode(encode(pieces, len(data), encoder), len(data)) == data


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 65_791, 65_792, BLOCK_BYTES, BLOCK_BYTES + 1, SIZE])
def test_new_bytes_alone(size: int, encoder: Encoder):
    frame = encode(np.array([(0, 0, size)]), size, encoder)
    assert decode(frame, size) == NOISE[:size].tobytes()
    assert len(frame) <= size + 11 + 3 * encoder.state[N_BLOCKS]


@pytest.mark.parametrize("length", [BLOCK_BYTES + extra for extra in range(-10, 11)])
@pytest.mark.parametrize("literals", [1, 50, BLOCK_BYTES - 3, BLOCK_BYTES])
def test_matches_across_blocks(length: int, literals: int, encoder: Encoder):
    pieces, data = settle([(0, 0, literals), (1, 0, length), (0, 7, 5), (7, 0, 2 * BLOCK_BYTES)])
    frame = encode(pieces, len(data), encoder)
    assert decode(frame, len(data)) == data
    assert len(frame) < literals + 200


def test_a_frame_of_nothing(encoder: Encoder):
    frame = encode(np.empty((0, 3), np.int64), 0, encoder)
    assert ZstdDecompressor().decompress(frame) == b""


def test_equal_matches_become_one(encoder: Encoder):
    pieces, data = settle([(0, 0, 100), (64, 0, 30), (64, 0, 5), (64, 0, 1)])
    assert (pieces[:, 0] == [LITERALS, 64, 64, 64]).all()
    assert decode(encode(pieces, len(data), encoder), len(data)) == data
    assert encoder.state[N_SEQUENCES] == 1


def test_an_encoder_remembers_nothing(encoder: Encoder):
    pieces, data = settle([(0, 0, 100), (64, 0, 3000), (0, 100, 20), (12, 0, 40), (0, 300, 9)])
    other, more = settle([(0, 50, 90_000), (8000, 0, 300_000), (0, 2, 3), (77, 0, 800)])
    first = encode(pieces, len(data), encoder)
    encode(other, len(more), encoder)
    assert encode(pieces, len(data), encoder) == first == encode(pieces, len(data), make_encoder(len(data)))


def digest() -> str:
    """Hash of some frames."""
    state, encoder = hashlib.sha256(), make_encoder(10**6)
    random = np.random.default_rng(5)
    for count in (3, 40, 300):
        offsets = random.choice([0, 1, 64, 900], count)
        firsts, sizes = random.integers(0, 1000, count), random.integers(1, 200, count)
        pieces, data = settle(list(zip(offsets.tolist(), firsts.tolist(), sizes.tolist(), strict=True)))
        state.update(encode(pieces, len(data), encoder))
    return state.hexdigest()


def test_compiled_and_interpreted_write_the_same_bytes():
    assert digest_otherwise(__file__) == digest()
