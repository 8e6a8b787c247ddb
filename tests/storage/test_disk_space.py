from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faults import small_disk

from trajstore.errors import NotEnoughSpaceError, StoreError, is_full
from trajstore.storage.disk_space import (
    RESERVE,
    Estimate,
    Filesystem,
    check_space,
    explain_failed_write,
    fits,
    inspect_filesystem,
    round_up,
)

GB = 10**9


def filesystem(
    *, free: int = 10 * GB, total: int = 20 * GB, free_files: int | None = None, device: int | None = None
) -> Filesystem:
    return Filesystem(
        path=Path("/data"), total=total, free=free, free_files=free_files, block=4096, device=device
    )


@given(
    size=st.integers(0, 2**40),
    files=st.integers(0, 10**6),
    free=st.integers(0, 2**40),
    free_files=st.none() | st.integers(0, 10**6),
)
def test_what_fits_is_not_refused_and_what_does_not_is(
    size: int, files: int, free: int, free_files: int | None
) -> None:
    estimate, place = Estimate(bytes=size, files=files), filesystem(free=free, free_files=free_files)
    if fits(estimate, place):
        check_space(estimate, place, location="a.zarr")
        assert size * RESERVE <= free
        assert free_files is None or files <= free_files
    else:
        with pytest.raises(NotEnoughSpaceError, match=r"^a\.zarr: needs about"):
            check_space(estimate, place, location="a.zarr")


def test_a_refusal_says_what_is_missing() -> None:
    with pytest.raises(NotEnoughSpaceError) as caught:
        check_space(Estimate(bytes=20 * GB, files=9), filesystem(), location="a.zarr")
    for text in ("a.zarr", "21.0 GB", "10.0 GB free", "11.0 GB are missing", "--force"):
        assert text in str(caught.value)
    assert "growpart" not in str(caught.value)


def test_too_many_files_are_refused() -> None:
    with pytest.raises(
        NotEnoughSpaceError, match=r"1,000 files.* 999 more; raise storage\.samples_per_shard"
    ):
        check_space(Estimate(bytes=1, files=1000), filesystem(free_files=999), location="a.zarr")


@pytest.mark.parametrize(
    ("device", "is_smaller"),
    [
        (None, False),
        (20 * GB, False),
        (21 * GB, False),
        (21 * GB + 2**30, False),
        (23 * GB, True),
        (80 * GB, True),
    ],
)
def test_a_filesystem_that_is_smaller_than_its_device_is_pointed_out(
    device: int | None, is_smaller: bool
) -> None:
    """More than a tenth and a GiB: filesystems need some of the device for themselves."""
    hint = filesystem(total=20 * GB, device=device).hint()
    assert ("growpart" in hint and "resize2fs" in hint and "20.0 GB" in hint) == is_smaller
    assert bool(hint) == is_smaller


def test_a_refusal_names_the_remedy() -> None:
    with pytest.raises(NotEnoughSpaceError, match=r"device of 80\.0 GB: growpart and resize2fs"):
        check_space(Estimate(bytes=20 * GB, files=9), filesystem(device=80 * GB), location="a.zarr")


def test_the_device_is_found_where_linux_describes_it(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    size_file = tmp_path / "devices" / f"{os.major(number)}:{os.minor(number)}" / "size"
    size_file.parent.mkdir(parents=True)
    size_file.write_text("160000000\n")  # sectors of 512 bytes, whatever the device's own are
    assert inspect_filesystem(tmp_path, devices=tmp_path / "devices").device == 160_000_000 * 512
    size_file.write_text("no number")
    assert inspect_filesystem(tmp_path, devices=tmp_path / "devices").device is None
    size_file.unlink()
    assert inspect_filesystem(tmp_path, devices=tmp_path / "devices").device is None


def test_a_path_that_does_not_exist_lies_where_its_folder_does(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=50") as disk:
        found = inspect_filesystem(disk.folder / "a" / "b.zarr")
        assert (found.path, found.total, found.block) == (disk.folder, 2**20, os.sysconf("SC_PAGESIZE"))
        assert 0 < found.free <= found.total
        assert found.free_files is not None
        assert 0 < found.free_files < 50
        (disk.folder / "file").write_bytes(bytes(found.block * 10))
        after = inspect_filesystem(disk.folder)
        assert found.free - after.free == found.block * 10
        assert after.free_files == found.free_files - 1


def test_a_filesystem_without_a_limit_of_files_has_none(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=0") as disk:
        assert inspect_filesystem(disk.folder).free_files is None


@given(size=st.integers(0, 10**12), block=st.sampled_from([512, 4096, 65536]))
def test_sizes_are_rounded_up_to_blocks(size: int, block: int) -> None:
    rounded = round_up(size, block)
    assert rounded % block == 0
    assert 0 <= rounded - size < block


def test_full_disks_and_quotas_are_full() -> None:
    assert is_full(OSError(errno.ENOSPC, ""))
    assert is_full(OSError(errno.EDQUOT, ""))
    assert not is_full(OSError(errno.EACCES, ""))
    assert not is_full(ValueError())
    assert not is_full(None)


@pytest.mark.parametrize(
    ("number", "kind", "texts"),
    [
        (errno.ENOSPC, NotEnoughSpaceError, ["the disk is full (", " free); "]),
        (errno.EDQUOT, NotEnoughSpaceError, ["the quota is used up; "]),
        (errno.EIO, StoreError, ["cannot be written: Input/output error; check the disk; "]),
        (errno.EROFS, StoreError, ["Read-only file system; make its filesystem writable or name another"]),
        (errno.EACCES, StoreError, ["Permission denied; change its permissions or name another path; "]),
        (errno.EMFILE, StoreError, ["Too many open files; allow more open files, such as with: ulimit -n"]),
    ],
)
def test_an_error_of_the_system_says_where_and_what_to_do(
    tmp_path: Path, number: int, kind: type[Exception], texts: list[str]
) -> None:
    shown = explain_failed_write(tmp_path, OSError(number, os.strerror(number)), state="go on")
    assert type(shown) is kind
    assert str(shown).startswith(f"{tmp_path}: ")
    assert str(shown).endswith("; go on") or kind is NotEnoughSpaceError
    for text in texts:
        assert text in str(shown)


def test_a_filesystem_without_room_for_files_is_not_called_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=1") as disk:
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        shown = str(explain_failed_write(disk.folder / "a", error, state="go on"))
    assert shown.endswith("a: the filesystem has no room for more files; go on")
