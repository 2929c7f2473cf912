"""Call a function of a test module in a new process that may use one instruction set only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mnistcnn


def call_with_instruction_set(expression: str, isa: str) -> str:
    """Return what ``print(expression)`` writes, where ``expression`` is ``module.function(...)`` of the tests.

    Skips the test on a machine without the instruction set.
    """
    code = f"import {expression.partition('.')[0]}; print({expression})"
    package = Path(mnistcnn.__file__).parents[1]  # the one under test, wherever it lies
    search = os.pathsep.join([str(Path(__file__).parent), str(package)])
    environment = {**os.environ, "MNISTCNN_ISA": isa, "PYTHONPATH": search}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0 and "MNISTCNN_ISA" in done.stderr:
        pytest.skip(f"this machine has no {isa}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
