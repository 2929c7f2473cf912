"""Atomic file writes: devices, symbolic links, full disks, permissions, and files of killed and of other writers."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from mnistcnn._internal import atomic_files
from mnistcnn._internal.atomic_files import remove_parts, replacing, write_whole


def test_a_device_or_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"pipe is a device or a pipe"):
        write_whole(pipe, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("existing", [True, False])
def test_a_symbolic_link_is_kept_and_its_target_replaced(tmp_path: Path, existing: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    if existing:
        target.write_bytes(b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert list((tmp_path / "elsewhere").iterdir()) == [target]


def test_the_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    raises = pytest.raises(OSError, match=r"file could not be written \(No space left on device\)")
    with raises as caught, replacing(tmp_path / "file"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_partial_file_of_a_killed_process_is_removed(tmp_path: Path):
    left = tmp_path / ".file.abcd0123.part"
    left.write_bytes(b"half")
    other = tmp_path / ".other.abcd0123.part"
    other.write_bytes(b"half")
    folder = tmp_path / ".file.abcd4567.part"
    folder.mkdir()
    pipe = tmp_path / ".file.abcd89ab.part"
    os.mkfifo(pipe)
    write_whole(tmp_path / "file", b"new")
    assert sorted(tmp_path.iterdir()) == sorted([folder, pipe, other, tmp_path / "file"])


def test_partial_file_of_another_writer_is_kept(tmp_path: Path):
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write(b"first")
        write_whole(path, b"second")
        remove_parts(tmp_path, "file")
        assert path.read_bytes() == b"second"
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_partial_file_that_is_removed_before_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    removals = iter([tmp_path])
    original = atomic_files.lock

    def lock(handle: int, *, wait: bool) -> bool:
        for folder in removals:
            remove_parts(folder, "file")
            assert list(folder.iterdir()) == []
        return original(handle, wait=wait)

    monkeypatch.setattr(atomic_files, "lock", lock)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_nothing_is_removed_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def flock(handle: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    left = tmp_path / ".file.abcd0123.part"
    left.write_bytes(b"half")
    write_whole(tmp_path / "file", b"new")
    assert sorted(tmp_path.iterdir()) == [left, tmp_path / "file"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_umask_is_not_changed_while_a_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The umask belongs to the process: another thread could create a file with it."""

    def fail(mask: int) -> int:
        raise AssertionError("os.umask was called")

    monkeypatch.setattr(os, "umask", fail)
    write_whole(tmp_path / "file", b"new")


def test_directory_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(PermissionError, match=r"file could not be written \(Permission denied\)"):
        write_whole(tmp_path / "file", b"new")


def test_permissions_of_a_replaced_file_are_kept(tmp_path: Path):
    path = tmp_path / "private.json"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
