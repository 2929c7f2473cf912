"""Killed processes, several processes on one directory, and full disks. MNISTCNN_ATTACKS multiplies the kills."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import mnistcnn
from fuzzing import TIMES
from killed_run import recipe, run
from mnistcnn import Checkpoint
from mnistcnn.study.log import append
from runs import digest
from studies import made_setting, made_trial

EPOCHS = recipe().epochs
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["warmed"])
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server ignores modules that it does not find


def send_result(folder: str, results: Connection) -> None:
    try:
        results.send(run(folder))
    except Exception as error:
        results.send(f"{type(error).__name__}: {error}")


class Run:
    """Training run in another process."""

    def __init__(self, folder: Path) -> None:
        self._results, results = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=send_result, args=(str(folder), results))
        self._process.start()
        results.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> bool:
        """Send SIGKILL; return False if the process had ended."""
        self._process.kill()
        self._process.join()
        return self._process.exitcode == -signal.SIGKILL

    def result(self) -> str:
        """Wait for the end; return the digest of the weights or the error."""
        result: str = self._results.recv()
        self._process.join()
        return result


def latest(folder: Path) -> int:
    return (Checkpoint(str(folder)).epochs or [0])[-1]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the digest of the weights of an uninterrupted run. The first call starts the server of the forks."""
    result = run(None)
    assert Run(tmp_path_factory.mktemp("run")).result() == result
    return result


# ---- kills


def test_killed_at_random_moments(expected: str, tmp_path: Path):
    """Send SIGKILL repeatedly at random times after the start, also while a checkpoint is being written."""
    rng = random.Random(1)  # the moments depend on the load of the machine as well
    folder = tmp_path / "uninterrupted"
    start = time.perf_counter()
    assert Run(folder).result() == expected
    longest = time.perf_counter() - start
    completed = 0
    reached: list[int] = []
    while len(reached) < round(40 * TIMES):
        if latest(folder) == EPOCHS:  # complete: start a new run
            assert run(str(folder)) == expected
            completed += 1
            folder = tmp_path / f"run{completed}"
        process = Run(folder)
        time.sleep(rng.uniform(0, longest))
        if process.kill():
            reached.append(latest(folder))
        else:
            assert process.result() == expected
    print(f"killed after epochs {reached}, {completed} runs completed in between")
    assert any(0 < epoch < EPOCHS for epoch in reached), "no run was killed between two of its checkpoints"
    assert run(str(folder)) == expected
    assert all(path.name.startswith("epoch-") for path in folder.iterdir())  # no partial files


def test_killed_while_a_file_is_written(tmp_path: Path):
    """The file is always complete, and the next writer removes what the killed ones left."""
    path = tmp_path / "file"
    contents = [bytes([digit]) * 5_000_000 for digit in range(2)]
    code = """
import sys
from pathlib import Path
from mnistcnn._internal.atomic_files import write_whole
print("started", flush=True)
while True:
    for digit in range(2):
        write_whole(Path(sys.argv[1]), bytes([digit]) * 5_000_000)
"""
    left = 0
    for number in range(round(10 * TIMES)):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02 + 0.003 * (number % 10))
            process.kill()
        left += len(list(tmp_path.glob(".*.part")))
        assert not path.exists() or path.read_bytes() in contents
    assert left > 0, "no process was killed while it was writing"
    mnistcnn.History().to_json(path)
    assert list(tmp_path.iterdir()) == [path]


# ---- several processes


def test_processes_on_one_directory(expected: str, tmp_path: Path):
    """One of them trains, with the expected weights. The others are refused, or find its result if they start late."""
    for attempt in range(max(1, round(5 * TIMES))):
        folder = tmp_path / str(attempt)
        results = [process.result() for process in [Run(folder) for _ in range(3)]]
        refused = f"BlockingIOError: another run is using the checkpoint directory {folder}"
        assert expected in results
        assert all(each == expected or each.startswith(refused) for each in results), results
        assert run(str(folder)) == expected


def test_directory_of_a_killed_process_is_free(expected: str, tmp_path: Path):
    process = Run(tmp_path)
    while latest(tmp_path) == 0:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(BlockingIOError, match="another run is using"):
        run(str(tmp_path))
    assert process.kill()
    assert run(str(tmp_path)) == expected


# ---- full disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip(f"a file system can be mounted by root only: {mounted.stderr.strip() if mounted else 'no mount'}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, free: int) -> Path:
    """Write a file that leaves ``free`` bytes on the disk, and return its path."""
    status = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * (status.f_bavail * status.f_bsize - free))
    return filler


@pytest.mark.parametrize("free", [0, 8192, 300_000])
def test_checkpoints_on_a_full_disk(free: int, disk: Path, expected: str):
    """The run ends with an error, earlier checkpoints are intact, and the run can be resumed on a larger disk."""
    folder = disk / "run"
    folder.mkdir()
    filler = fill(disk, free)
    with pytest.raises(OSError, match=r"(No space left on device)"):
        run(str(folder))
    assert all(path.name.startswith("epoch-") for path in folder.iterdir())  # no partial files
    filler.unlink()
    assert run(str(folder)) == expected


def test_files_on_a_full_disk(disk: Path, monkeypatch: pytest.MonkeyPatch):
    model = mnistcnn.create_model("budget_model3", seed=1)
    saved, log, table = model.save(disk / "model.safetensors"), disk / "log.jsonl", disk / "history.csv"
    append(log, made_setting(), made_trial(0, 0.99))
    history = made_trial(0, 0.99).history
    history.to_csv(table)
    fill(disk, 0)
    before = {path: path.read_bytes() for path in disk.iterdir()}
    other = mnistcnn.create_model("budget_model3", seed=2)
    for write in (
        lambda: other.save(saved),
        lambda: [append(log, made_setting("m" * 5000), made_trial(1, 0.99)) for _ in range(2)],
        lambda: history.to_csv(table),
        lambda: history.to_json(disk / "new.json"),
    ):
        with pytest.raises(OSError, match="No space left on device"):
            write()
        assert {path: path.read_bytes() for path in disk.iterdir()} == before
    assert digest(mnistcnn.load_model(saved)) == digest(model)
    assert len(mnistcnn.experiments(log)) == 1
    monkeypatch.setenv("MNISTCNN_CACHE", str(disk / "cache"))
    assert len(mnistcnn.load("digits")[1]) == 10_000  # the cache is optional
