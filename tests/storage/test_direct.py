import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faults import small_disk

from trajstore.storage import direct
from trajstore.storage.direct import BLOCK, DIRECT_BYTES_MIN, PageBuffer, write_all


def filled(data: bytes) -> PageBuffer:
    buffer = PageBuffer()
    buffer.append(data)
    return buffer


def write(path: Path, data: bytes | memoryview) -> bytes:
    with path.open("wb", buffering=0) as file:
        write_all(file.fileno(), data)
    return path.read_bytes()


@given(parts=st.lists(st.binary(max_size=3000), max_size=20), again=st.binary(max_size=50))
def test_a_buffer_holds_what_was_added_since_it_was_cleared(parts: list[bytes], again: bytes) -> None:
    buffer = PageBuffer()
    for part in parts:
        buffer.append(part)
    assert bytes(buffer.view()) == b"".join(parts)
    buffer.clear()
    buffer.append(again)
    assert bytes(buffer.view()) == again


def test_a_buffer_grows_and_a_view_of_it_survives() -> None:
    buffer = filled(b"first")
    view = buffer.view()
    buffer.append(os.urandom(5 * 2**20))
    assert bytes(view) == b"first"
    assert bytes(buffer.view()[:5]) == b"first"
    assert buffer.size == 5 + 5 * 2**20


@pytest.mark.parametrize("extra", [-1, 0, 1, BLOCK - 1, BLOCK])
def test_every_byte_arrives(tmp_path: Path, extra: int) -> None:
    data = os.urandom(DIRECT_BYTES_MIN + extra)
    assert write(tmp_path / "aligned", filled(data).view()) == data
    assert write(tmp_path / "as it comes", data) == data
    assert write(tmp_path / "unaligned", memoryview(data)[1:]) == data[1:]


def test_large_aligned_files_are_written_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switched = []
    set_direct = direct._set_direct

    def record(descriptor: int, *, is_direct: bool) -> bool:
        switched.append(is_direct)
        return set_direct(descriptor, is_direct=is_direct)

    monkeypatch.setattr(direct, "_set_direct", record)
    write(tmp_path / "small", filled(b"few").view())
    assert switched == []
    write(tmp_path / "large", filled(bytes(DIRECT_BYTES_MIN)).view())
    assert switched == [True, False]


def test_a_filesystem_that_refuses_goes_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, refused = os.write, []

    def refuse_once(descriptor: int, data: memoryview) -> int:
        if not refused:
            refused.append(len(data))
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse_once)
    data = os.urandom(DIRECT_BYTES_MIN + 5)
    assert write(tmp_path / "file", filled(data).view()) == data
    assert refused


def test_a_full_disk_is_no_reason_to_try_again(tmp_path: Path) -> None:
    with small_disk(tmp_path, "size=512k"), pytest.raises(OSError, match="No space left"):
        write(tmp_path / "file", filled(bytes(DIRECT_BYTES_MIN)).view())
