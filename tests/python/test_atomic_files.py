"""Atomic file writes: devices, symbolic links and full disks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from mnistcnn._internal.atomic_files import replacing, write_whole


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
