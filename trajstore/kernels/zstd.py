"""A zstd frame from literals and matches that are known already: entropy coding without a search.

Whoever draws a clip knows which bytes are new and where the others have been before. `put_pieces` takes
that down; `write_frame` makes a frame of it that every zstd decoder reads. Literals are stored as they are: those of a
shaded body hardly compress, and a decoder copies them. Lengths and offsets are coded by tables made for the frame.

The bytes of a frame follow from what is put down, and from nothing else.

References
----------
RFC 8878, Zstandard Compression. Duda 2013, Asymmetric numeral systems (arXiv:1311.2540), for the coding of lengths.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajstore.kernels.compiler import kernel

MATCH_MIN: Final = 8
"""Matches are at least so long: shorter ones take more bytes than they stand for, and longer to decode."""

STEP: Final = 16
"""Bytes are copied by multiples of this, beyond the end of what is asked for: a vector instead of a loop."""

BLOCK_SLACK: Final = 512
"""More than the headers and coding tables of a block take, which make it larger than what it decompresses to."""

BLOCK_BYTES: Final = 2**17 - BLOCK_SLACK
"""What a block decompresses to at most: with its headers it is never larger than the format allows."""

TABLE_LOG: Final = 7
"""Logarithm of the size of the coding tables."""

SYMBOLS: Final = 64
"""More than there are codes of any kind."""

LITERALS, MATCHES, OFFSETS = 0, 1, 2
"""The kinds of numbers in a sequence: its columns, and the rows of the coding tables."""

# columns of the state
N_LITERALS, N_SEQUENCES, N_BLOCKS, RUN, OFFSET, LENGTH, USED = range(7)
# columns of a block: the sequences and the literals before its end
END_SEQUENCE, END_LITERAL = range(2)
# kinds of blocks, and of coding tables
RAW_BLOCK, COMPRESSED_BLOCK = 0, 2
ONE_SYMBOL, DESCRIBED, REPEATED = 1, 2, 3

ONE, TWO, THREE = np.uintp(1), np.uintp(2), np.uintp(3)
FOUR, EIGHT, TWELVE = np.uintp(4), np.uintp(8), np.uintp(12)

MAGIC: Final = (0x28, 0xB5, 0x2F, 0xFD)
SIZE_IN_4_BYTES: Final = 0x80


class Encoder(NamedTuple):
    """Memory of the functions here, allocated once for many frames."""

    literals: NDArray[np.uint8]
    """(most bytes + STEP,): the bytes that are new."""

    sequences: NDArray[np.int32]
    """(n, 3): how many literals, then how many bytes from how far back."""

    codes: NDArray[np.uint8]
    """(n, 3): codes of these numbers."""

    blocks: NDArray[np.int64]
    """(blocks, 2): where each block ends."""

    state: NDArray[np.int64]
    """(8,): counts, the run of literals and the match that have no end yet."""

    counts: NDArray[np.int64]
    """(3, SYMBOLS): how often each code occurs; then, its share of a coding table."""

    states: NDArray[np.int32]
    """(3, size of a table): the coding tables."""

    bits: NDArray[np.int64]
    """(3, SYMBOLS): what tells how many bits a code takes in a state."""

    moves: NDArray[np.int64]
    """(3, SYMBOLS): where the states of a code begin in its table."""

    modes: NDArray[np.int64]
    """(3,): whether a coding table is described, or there is only one code."""

    starts: NDArray[np.int64]
    """(SYMBOLS,): scratch."""

    spread: NDArray[np.uint8]
    """(size of a table,): scratch."""

    words: NDArray[np.uint32]
    """(n,): a stream of bits."""

    word_bytes: NDArray[np.uint8]
    """(4n,): the same memory."""

    length_codes: NDArray[np.uint8]
    """(2, 128): codes of short runs of literals and of short matches."""


LITERAL_BASES: Final = np.array(
    [*range(16), 16, 18, 20, 22, 24, 28, 32, 40, 48, *(64 << n for n in range(11))], np.int64
)
"""The least number of literals for each code."""

MATCH_BASES: Final = np.array(
    [*range(3, 35), 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, *(3 + (128 << n) for n in range(10))],
    np.int64,
)
"""The shortest match for each code."""


def _count_bits(bases: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits that follow each code; the last takes 16."""
    return np.append(np.log2(np.diff(bases)).astype(np.int64), 16)


LITERAL_BITS: Final = _count_bits(LITERAL_BASES)
MATCH_BITS: Final = _count_bits(MATCH_BASES)


def make_encoder(size: int) -> Encoder:
    """Allocate what frames of up to so many decompressed bytes take; memory that is not used is never touched."""
    sequences = size // MATCH_MIN + 2 * (size // BLOCK_BYTES) + 16
    words = np.zeros(4 * min(sequences, BLOCK_BYTES) + 16, np.uint32)
    lengths = np.arange(128)
    return Encoder(
        literals=np.zeros(size + 2 * STEP, np.uint8),
        sequences=np.zeros((sequences, 3), np.int32),
        codes=np.zeros((sequences, 3), np.uint8),
        blocks=np.zeros((2 * (size // BLOCK_BYTES) + 16, 2), np.int64),
        state=np.zeros(8, np.int64),
        counts=np.zeros((3, SYMBOLS), np.int64),
        states=np.zeros((3, 1 << TABLE_LOG), np.int32),
        bits=np.zeros((3, SYMBOLS), np.int64),
        moves=np.zeros((3, SYMBOLS), np.int64),
        modes=np.zeros(3, np.int64),
        starts=np.zeros(SYMBOLS, np.int64),
        spread=np.zeros(1 << TABLE_LOG, np.uint8),
        words=words,
        word_bytes=words.view(np.uint8),
        length_codes=np.stack(
            [
                np.searchsorted(LITERAL_BASES, lengths, side="right") - 1,
                np.searchsorted(MATCH_BASES, np.maximum(lengths, 3), side="right") - 1,
            ]
        ).astype(np.uint8),
    )


def bound_frame(size: int) -> int:
    """More bytes than a frame of so many decompressed bytes takes."""
    return size + size // 64 + 1024


@kernel
def start_frame(encoder: Encoder) -> None:
    """Begin with nothing put down.

    Parameters
    ----------
    encoder : Encoder
        Its memory.
    """
    for i in range(encoder.state.shape[0]):
        encoder.state[i] = 0


@kernel
def end_block(literals: int, encoder: Encoder) -> None:
    """End a block with some literals that no match follows.

    Parameters
    ----------
    literals : int
        How many.
    encoder : Encoder
        Its blocks and state.
    """
    state = encoder.state
    state[RUN] -= literals
    block = encoder.blocks[state[N_BLOCKS]]
    block[END_SEQUENCE], block[END_LITERAL] = state[N_SEQUENCES], state[N_LITERALS] - state[RUN]
    state[N_BLOCKS] += 1
    state[USED] = 0


@kernel
def close_match(encoder: Encoder) -> None:
    """Take down the literals and the match that have no end yet, in as many blocks as they need.

    Parameters
    ----------
    encoder : Encoder
        Its sequences, blocks and state.
    """
    state = encoder.state
    length = state[LENGTH]
    while length > 0:
        room = BLOCK_BYTES - state[USED] - state[RUN]
        part = length
        if part > room:  # what is left is long enough to be a match, too
            part = min(room, length - MATCH_MIN)
        if part < min(MATCH_MIN, length):
            end_block(min(state[RUN], BLOCK_BYTES - state[USED]), encoder)
            continue
        sequence = encoder.sequences[state[N_SEQUENCES]]
        sequence[LITERALS], sequence[MATCHES], sequence[OFFSETS] = state[RUN], part, state[OFFSET]
        state[N_SEQUENCES] += 1
        state[USED] += state[RUN] + part
        state[RUN] = 0
        length -= part
    state[LENGTH] = 0


@kernel
def copy_step(source: NDArray[np.uint8], start: int, out: NDArray[np.uint8], place: int) -> None:
    """Copy `STEP` bytes.

    Parameters
    ----------
    source : (n,) uint8
        Where they are.
    start : int
        Where they begin.
    out : (m,) uint8
        Where to.
    place : int
        Where to begin.
    """
    # all are read before any is written, and no index can be negative: so the compiler copies them as one vector
    s, t = np.uintp(start), np.uintp(place)
    s4, s8, s12 = s + FOUR, s + EIGHT, s + TWELVE
    a0, a1, a2, a3 = source[s], source[s + ONE], source[s + TWO], source[s + THREE]
    b0, b1, b2, b3 = source[s4], source[s4 + ONE], source[s4 + TWO], source[s4 + THREE]
    c0, c1, c2, c3 = source[s8], source[s8 + ONE], source[s8 + TWO], source[s8 + THREE]
    d0, d1, d2, d3 = source[s12], source[s12 + ONE], source[s12 + TWO], source[s12 + THREE]
    t4, t8, t12 = t + FOUR, t + EIGHT, t + TWELVE
    out[t], out[t + ONE], out[t + TWO], out[t + THREE] = a0, a1, a2, a3
    out[t4], out[t4 + ONE], out[t4 + TWO], out[t4 + THREE] = b0, b1, b2, b3
    out[t8], out[t8 + ONE], out[t8 + TWO], out[t8 + THREE] = c0, c1, c2, c3
    out[t12], out[t12 + ONE], out[t12 + TWO], out[t12 + THREE] = d0, d1, d2, d3


@kernel
def put_pieces(
    count: int, pieces: NDArray[np.int64], source: NDArray[np.uint8], shift: int, encoder: Encoder
) -> None:
    """Put down pieces one after the other; a match that goes on from the last one becomes part of it.

    Parameters
    ----------
    count : int
        How many pieces.
    pieces : (n, 3) int64
        Of each, how far back the same bytes are, at least 1, or 0 where there are none; where new bytes begin; and
        how many they are: at least `MATCH_MIN` of a match that does not go on from another.
    source : (m,) uint8
        The new bytes; up to `STEP` beyond them are read, too.
    shift : int
        How far the pieces are from where they say.
    encoder : Encoder
        Its literals, sequences, blocks and state.
    """
    state, literals, sequences = encoder.state, encoder.literals, encoder.sequences
    n_literals, n_sequences, run = state[N_LITERALS], state[N_SEQUENCES], state[RUN]
    offset, length, used = state[OFFSET], state[LENGTH], state[USED]
    for i in range(count):
        back, first, size = pieces[i, 0], pieces[i, 1] + shift, pieces[i, 2]
        if length > 0 and back != offset:
            if used + run + length <= BLOCK_BYTES:  # as `close_match` does it, with all in registers
                place = np.uintp(n_sequences)
                sequences[place, LITERALS] = run
                sequences[place, MATCHES] = length
                sequences[place, OFFSETS] = offset
                n_sequences += 1
                used += run + length
                run = length = 0
            else:
                state[N_LITERALS], state[N_SEQUENCES], state[RUN] = n_literals, n_sequences, run
                state[OFFSET], state[LENGTH], state[USED] = offset, length, used
                close_match(encoder)
                n_sequences, run, length, used = state[N_SEQUENCES], state[RUN], 0, state[USED]
        if back > 0:
            offset = back
            length += size
            continue
        for step in range(0, size, STEP):
            copy_step(source, first + step, literals, n_literals + step)
        n_literals += size
        run += size
    state[N_LITERALS], state[N_SEQUENCES], state[RUN] = n_literals, n_sequences, run
    state[OFFSET], state[LENGTH], state[USED] = offset, length, used


@kernel
def find_top_bit(number: int) -> int:
    """Place of the highest bit of a number.

    Parameters
    ----------
    number : int
        At least 1.

    Returns
    -------
    int
        Its logarithm to the base 2, rounded down.
    """
    bit = 0
    while number > 1:
        number >>= 1
        bit += 1
    return bit


@kernel
def choose_codes(encoder: Encoder) -> None:
    """Find the codes of all sequences and count them; an offset that was used not long ago becomes its place in a list.

    Parameters
    ----------
    encoder : Encoder
        Its sequences, whose offsets become what follows the code; out: codes and counts.
    """
    sequences, codes, counts = encoder.sequences, encoder.codes, encoder.counts
    for kind in range(3):
        for symbol in range(SYMBOLS):
            counts[kind, symbol] = 0
    last, second, third = 1, 4, 8
    for number in range(encoder.state[N_SEQUENCES]):
        i = np.uintp(number)
        literals, length, offset = sequences[i, LITERALS], sequences[i, MATCHES], sequences[i, OFFSETS]
        if literals < 128:
            literal_code = int(encoder.length_codes[LITERALS, np.uintp(literals)])
        else:
            literal_code = find_top_bit(literals) + 19
        if length < 128:
            match_code = int(encoder.length_codes[MATCHES, np.uintp(length)])
        else:
            match_code = find_top_bit(length - 3) + 36
        # the list has another order right after a match
        if literals > 0 and offset == last:
            value = 1
        elif offset == second:
            value = 2 if literals > 0 else 1
            last, second = offset, last
        elif offset == third:
            value = 3 if literals > 0 else 2
            last, second, third = offset, last, second
        else:
            value = offset + 3
            last, second, third = offset, last, second
        offset_code = 0
        if value > 1:
            offset_code = 1 if value < 4 else find_top_bit(value)
        sequences[i, OFFSETS] = value
        codes[i, LITERALS], codes[i, MATCHES], codes[i, OFFSETS] = literal_code, match_code, offset_code
        counts[LITERALS, np.uintp(literal_code)] += 1
        counts[MATCHES, np.uintp(match_code)] += 1
        counts[OFFSETS, np.uintp(offset_code)] += 1


@kernel
def share_table(counts: NDArray[np.int64], total: int) -> None:
    """Divide a coding table among codes as they occur, at least one place for each.

    Parameters
    ----------
    counts : (SYMBOLS,) int64
        How often each occurs, two of them at least; out: places.
    total : int
        Sum of the counts.
    """
    size = 1 << TABLE_LOG
    left, most = size, 0
    for symbol in range(SYMBOLS):
        if counts[symbol] > 0:
            counts[symbol] = max(1, (counts[symbol] * size + total // 2) // total)
            left -= counts[symbol]
            if counts[symbol] > counts[most]:
                most = symbol
    while left != 0:
        if left > 0:
            counts[most] += left
            return
        counts[most] -= 1
        left += 1
        for symbol in range(SYMBOLS):
            if counts[symbol] > counts[most]:
                most = symbol


@kernel
def build_table(kind: int, encoder: Encoder) -> None:
    """Make the coding table of one kind of codes.

    Parameters
    ----------
    kind : int
        Which.
    encoder : Encoder
        Its counts, which are places; out: its states, bits and moves.
    """
    size, places = 1 << TABLE_LOG, encoder.counts[kind]
    states, bits, moves = encoder.states[kind], encoder.bits[kind], encoder.moves[kind]
    starts, spread = encoder.starts, encoder.spread
    step, at, total = (size >> 1) + (size >> 3) + 3, 0, 0
    for symbol in range(SYMBOLS):
        starts[symbol] = total
        if places[symbol] > 0:
            longest = TABLE_LOG
            if places[symbol] > 1:
                longest -= find_top_bit(places[symbol] - 1)
            bits[symbol] = (longest << 16) - (places[symbol] << longest)
            moves[symbol] = total - places[symbol]
            total += places[symbol]
        for _ in range(places[symbol]):
            spread[at] = symbol
            at = (at + step) & (size - 1)
    for place in range(size):
        symbol = spread[place]
        states[starts[symbol]] = size + place
        starts[symbol] += 1


@kernel
def describe_table(places: NDArray[np.int64], out: NDArray[np.uint8], end: int) -> int:
    """Write which share of a coding table each code has.

    Parameters
    ----------
    places : (SYMBOLS,) int64
        The shares.
    out : (n,) uint8
        Where to.
    end : int
        Where to begin.

    Returns
    -------
    int
        Where it ends.
    """
    size = 1 << TABLE_LOG
    threshold, left, width = size, size + 1, TABLE_LOG + 1
    bits, filled, symbol, was_zero = TABLE_LOG - 5, 4, 0, False
    while left > 1:
        if was_zero:
            zeros = 0
            while places[symbol] == 0:
                symbol += 1
                zeros += 1
            while zeros >= 0:  # three at a time, until a number below 3 says that these were all
                bits |= min(zeros, 3) << filled
                filled += 2
                zeros -= 3
                while filled >= 8:
                    out[end] = bits & 0xFF
                    end, bits, filled = end + 1, bits >> 8, filled - 8
        value = places[symbol]
        symbol += 1
        spare = 2 * threshold - 1 - left
        left -= value
        was_zero = value == 0
        value += 1
        if value >= threshold:
            value += spare
        bits |= value << filled
        filled += width - 1 if value < spare else width
        while left < threshold:
            width -= 1
            threshold >>= 1
        while filled >= 8:
            out[end] = bits & 0xFF
            end, bits, filled = end + 1, bits >> 8, filled - 8
    if filled > 0:
        out[end] = bits & 0xFF
        end += 1
    return end


@kernel
def write_sequences(first: int, stop: int, encoder: Encoder, out: NDArray[np.uint8], end: int) -> int:
    """Write the sequences of a block as a stream of bits, which is read from its end.

    Parameters
    ----------
    first, stop : int
        Which; there is at least one.
    encoder : Encoder
        Its sequences, codes and tables.
    out : (n,) uint8
        Where to.
    end : int
        Where to begin.

    Returns
    -------
    int
        Where it ends.
    """
    sequences, codes, words = encoder.sequences, encoder.codes, encoder.words
    literal_states, match_states, offset_states = encoder.states
    literal_bits, match_bits, offset_bits = encoder.bits
    literal_moves, match_moves, offset_moves = encoder.moves
    modes = encoder.modes
    literal_state = match_state = offset_state = 0
    bits, filled, word = 0, 0, 0
    for i in range(stop - 1, first - 1, -1):
        place = np.uintp(i)
        literal_code, match_code, offset_code = (
            codes[place, LITERALS],
            codes[place, MATCHES],
            codes[place, OFFSETS],
        )
        if i == stop - 1:
            # the state from which the last code takes the fewest bits
            change = literal_bits[literal_code]
            width = (change + (1 << 15)) >> 16
            literal_state = literal_states[
                np.uintp((((width << 16) - change) >> width) + literal_moves[literal_code])
            ]
            change = match_bits[match_code]
            width = (change + (1 << 15)) >> 16
            match_state = match_states[
                np.uintp((((width << 16) - change) >> width) + match_moves[match_code])
            ]
            change = offset_bits[offset_code]
            width = (change + (1 << 15)) >> 16
            offset_state = offset_states[
                np.uintp((((width << 16) - change) >> width) + offset_moves[offset_code])
            ]
        else:
            width = (offset_state + offset_bits[offset_code]) >> 16
            bits |= (offset_state & ((1 << width) - 1)) << filled
            filled += width
            offset_state = offset_states[np.uintp((offset_state >> width) + offset_moves[offset_code])]
            width = (match_state + match_bits[match_code]) >> 16
            bits |= (match_state & ((1 << width) - 1)) << filled
            filled += width
            match_state = match_states[np.uintp((match_state >> width) + match_moves[match_code])]
            width = (literal_state + literal_bits[literal_code]) >> 16
            bits |= (literal_state & ((1 << width) - 1)) << filled
            filled += width
            literal_state = literal_states[np.uintp((literal_state >> width) + literal_moves[literal_code])]
            words[np.uintp(word)] = bits & 0xFFFFFFFF
            bits, filled, word = bits >> (filled & 32), filled & 31, word + (filled >> 5)
        bits |= (sequences[place, LITERALS] - LITERAL_BASES[literal_code]) << filled
        filled += LITERAL_BITS[literal_code]
        bits |= (sequences[place, MATCHES] - MATCH_BASES[match_code]) << filled
        filled += MATCH_BITS[match_code]
        words[np.uintp(word)] = bits & 0xFFFFFFFF
        bits, filled, word = bits >> (filled & 32), filled & 31, word + (filled >> 5)
        bits |= (sequences[place, OFFSETS] - (1 << int(offset_code))) << filled
        filled += offset_code
        words[np.uintp(word)] = bits & 0xFFFFFFFF
        bits, filled, word = bits >> (filled & 32), filled & 31, word + (filled >> 5)
    mask = (1 << TABLE_LOG) - 1
    if modes[MATCHES] != ONE_SYMBOL:
        bits |= (match_state & mask) << filled
        filled += TABLE_LOG
    if modes[OFFSETS] != ONE_SYMBOL:
        bits |= (offset_state & mask) << filled
        filled += TABLE_LOG
    if modes[LITERALS] != ONE_SYMBOL:
        bits |= (literal_state & mask) << filled
        filled += TABLE_LOG
    bits |= 1 << filled
    filled += 1
    words[word] = bits & 0xFFFFFFFF
    words[word + 1] = bits >> 32
    size = 4 * word + (filled + 7) // 8
    for i in range(size):
        out[end + i] = encoder.word_bytes[i]
    return end + size


@kernel
def write_number(number: int, width: int, out: NDArray[np.uint8], end: int) -> int:
    """Write a number, its lowest byte first.

    Parameters
    ----------
    number, width : int
        The number, and in how many bytes.
    out : (n,) uint8
        Where to.
    end : int
        Where to begin.

    Returns
    -------
    int
        Where it ends.
    """
    for i in range(width):
        out[end + i] = (number >> (8 * i)) & 0xFF
    return end + width


@kernel
def write_block(block: int, is_last: bool, encoder: Encoder, out: NDArray[np.uint8], end: int) -> int:
    """Write a block.

    Parameters
    ----------
    block : int
        Its number.
    is_last : bool
        Whether the frame ends with it.
    encoder : Encoder
        All that was put down, and the coding tables.
    out : (n,) uint8
        Where to.
    end : int
        Where to begin.

    Returns
    -------
    int
        Where it ends.
    """
    first_sequence = first_literal = 0
    if block > 0:
        first_sequence, first_literal = (
            encoder.blocks[block - 1, END_SEQUENCE],
            encoder.blocks[block - 1, END_LITERAL],
        )
    sequences = encoder.blocks[block, END_SEQUENCE] - first_sequence
    literals = encoder.blocks[block, END_LITERAL] - first_literal
    start = end
    end += 3
    if sequences > 0:  # the size of literals as they are, in 5, 12 or 20 bits
        if literals < 32:
            end = write_number(literals << 3, 1, out, end)
        elif literals < 4096:
            end = write_number(literals << 4 | 4, 2, out, end)
        else:
            end = write_number(literals << 4 | 12, 3, out, end)
    for i in range(0, literals, STEP):
        copy_step(encoder.literals, first_literal + i, out, end + i)
    end += literals
    kind = RAW_BLOCK
    if sequences > 0:
        kind = COMPRESSED_BLOCK
        if sequences < 128:
            end = write_number(sequences, 1, out, end)
        elif sequences < 0x7F00:
            end = write_number(sequences >> 8 | 128 | (sequences & 0xFF) << 8, 2, out, end)
        else:
            end = write_number(0xFF | (sequences - 0x7F00) << 8, 3, out, end)
        if first_sequence > 0:
            end = write_number(REPEATED << 6 | REPEATED << 4 | REPEATED << 2, 1, out, end)
        else:
            modes = encoder.modes
            modes_byte = modes[LITERALS] << 6 | modes[OFFSETS] << 4 | modes[MATCHES] << 2
            end = write_number(modes_byte, 1, out, end)
            for table in (LITERALS, OFFSETS, MATCHES):
                if modes[table] == ONE_SYMBOL:
                    end = write_number(encoder.codes[0, table], 1, out, end)
                else:
                    end = describe_table(encoder.counts[table], out, end)
        end = write_sequences(first_sequence, first_sequence + sequences, encoder, out, end)
    write_number(int(is_last) | kind << 1 | (end - start - 3) << 3, 3, out, start)
    return end


@kernel
def write_frame(size: int, encoder: Encoder, out: NDArray[np.uint8]) -> int:
    """Write a frame of all that was put down.

    Parameters
    ----------
    size : int
        Bytes that it decompresses to: those of all literals and matches.
    encoder : Encoder
        What was put down since `start_frame`.
    out : (bound_frame(size),) uint8
        Where to.

    Returns
    -------
    int
        Bytes of the frame.
    """
    state = encoder.state
    close_match(encoder)
    while state[RUN] > 0 or state[N_BLOCKS] == 0 or state[USED] > 0:
        end_block(min(state[RUN], BLOCK_BYTES - state[USED]), encoder)
    choose_codes(encoder)
    total = state[N_SEQUENCES]
    for kind in range(3):
        if total == 0:
            continue
        if encoder.counts[kind, encoder.codes[0, kind]] == total:
            encoder.modes[kind] = ONE_SYMBOL
            encoder.bits[kind, encoder.codes[0, kind]] = encoder.moves[kind, encoder.codes[0, kind]] = 0
            encoder.states[kind, 0] = 0
        else:
            encoder.modes[kind] = DESCRIBED
            share_table(encoder.counts[kind], total)
            build_table(kind, encoder)
    end = 0
    for byte in MAGIC:
        end = write_number(byte, 1, out, end)
    # a block may be larger than what it holds, but never than the window
    window_log = max(10, find_top_bit(size + BLOCK_SLACK) + 1)
    end = write_number(SIZE_IN_4_BYTES | (window_log - 10) << 11 | size << 16, 6, out, end)
    for block in range(state[N_BLOCKS]):
        end = write_block(block, block == state[N_BLOCKS] - 1, encoder, out, end)
    return end
