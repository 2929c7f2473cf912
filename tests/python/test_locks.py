"""Locks on directories: other processes and threads, forked processes, and release."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mnistcnn._internal.locks import FolderLock


def locked_elsewhere(folder: Path) -> bool:
    """Return whether another process finds the directory locked."""
    code = "from mnistcnn._internal.locks import FolderLock; import pathlib, sys; FolderLock(pathlib.Path(sys.argv[1]))"
    process = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert process.returncode == 0 or "BlockingIOError" in process.stderr, process.stderr
    return process.returncode != 0


def locked_in_another_thread(folder: Path) -> bool:
    with ThreadPoolExecutor(1) as pool:
        return isinstance(pool.submit(FolderLock, folder).exception(), BlockingIOError)


def test_lock_excludes_other_processes_and_threads(tmp_path: Path):
    with FolderLock(tmp_path):
        assert locked_elsewhere(tmp_path)
        assert locked_in_another_thread(tmp_path)
        assert not locked_in_another_thread(tmp_path.parent)
    assert not locked_elsewhere(tmp_path)
    assert not locked_in_another_thread(tmp_path)


def test_lock_is_released_with_its_object(tmp_path: Path):
    held = FolderLock(tmp_path)
    held.release()
    held.release()
    assert not locked_in_another_thread(tmp_path)
    held = FolderLock(tmp_path)
    assert locked_in_another_thread(tmp_path)
    del held
    assert not locked_in_another_thread(tmp_path)


def test_thread_that_locks_twice_gets_the_lock_again(tmp_path: Path):
    first = FolderLock(tmp_path)
    second = FolderLock(tmp_path)
    first.release()
    assert locked_in_another_thread(tmp_path)
    second.release()
    assert not locked_in_another_thread(tmp_path)


def test_forked_process_neither_keeps_nor_takes_the_lock(tmp_path: Path):
    held = FolderLock(tmp_path)
    reads, writes = os.pipe()
    tried, has_tried = os.pipe()
    child = os.fork()
    if child == 0:  # the child ends when the parent closes the pipe
        os.close(writes)
        try:
            FolderLock(tmp_path)
        except BlockingIOError:
            held.release()
            os.write(has_tried, b"1")
            os.read(reads, 1)
            os._exit(0)
        os._exit(1)
    os.close(reads)
    os.close(has_tried)
    assert os.read(tried, 1) == b"1"
    os.close(tried)
    assert locked_in_another_thread(tmp_path)
    held.release()
    assert not locked_in_another_thread(tmp_path)
    os.close(writes)
    assert os.waitpid(child, 0)[1] == 0


def test_file_systems_without_locks_are_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def flock(handle: int, kind: int) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with FolderLock(tmp_path), FolderLock(tmp_path):
        pass
