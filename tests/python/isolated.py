"""Run code in new processes, in forked children, and in several threads at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

import mnistcnn

Result = TypeVar("Result")


def run_script(
    script: str, *, timeout_seconds: float | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process that imports the same package and the test modules.

    ``variables`` are added to the environment.
    """
    package = Path(mnistcnn.__file__).parents[1]  # directory of the package under test
    python_path = os.pathsep.join([str(Path(__file__).parent), str(package)])
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_seconds,
        env={**os.environ, "PYTHONPATH": python_path, **variables},
    )


def call_with_instruction_set(expression: str, isa: str) -> str:
    """Return the output of ``print(expression)``, where ``expression`` is ``module.function(...)`` of a test module.

    With ``"avx2"``, PyTorch uses AVX2 too, as on a CPU without AVX-512. Skip the test if the CPU does not support the
    instruction set.
    """
    code = f"import {expression.partition('.')[0]}; print({expression})"
    pytorch = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"} if isa == "avx2" else {}
    process = run_script(code, MNISTCNN_ISA=isa, **pytorch)
    if process.returncode != 0 and "MNISTCNN_ISA" in process.stderr:
        pytest.skip(f"this CPU does not support {isa}")
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def succeeds_in_forked_child(check: Callable[[], bool], *, seconds: int) -> bool:
    """Return whether ``check()`` is true in a forked child, which is ended after ``seconds``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(seconds)  # end a child that hangs
            status = 0 if check() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def run_in_threads(calls: Sequence[Callable[[], Result]], *, timeout_seconds: float = 120) -> list[Result]:
    """Run each call in a thread of its own, all at the same time, and return their results; raise their exceptions."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Result]) -> Result:
        start.wait(timeout_seconds)
        return call()

    pool = ThreadPoolExecutor(len(calls))
    try:
        futures = [pool.submit(run, call) for call in calls]
        return [future.result(timeout_seconds) for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
