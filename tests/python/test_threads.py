"""Threads and processes: floating-point mode, OpenMP threads, fork, exit of the interpreter."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn._internal.native import core

needs_openmp = pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this PyTorch has no OpenMP")


def random_set(count: int) -> mnistcnn.ImageSet:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    return mnistcnn.ImageSet.from_arrays(images, generator.integers(0, 10, count), classes=10)


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process that imports the same packages."""
    package = Path(mnistcnn.__file__).parents[1]
    python_path = os.pathsep.join([str(Path(__file__).parent), str(package)])
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": python_path},
    )


# ---- floating-point mode


@pytest.fixture
def subnormal_numbers_restored() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("torch_threads", [1, 3])  # 3 threads of PyTorch run an engine with 3 threads
def test_all_threads_use_the_floating_point_mode_of_the_caller(
    threads: int, torch_threads: int, subnormal_numbers_restored
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(torch_threads)
    model = mnistcnn.Model([mnistcnn.layers.Conv2d(8, 5, bias=False)]).eval()
    model.threads = threads
    with torch.no_grad():
        next(model.parameters()).fill_(1e-20)
        images = torch.full((1024, 1, 28, 28), 1e-20)
        assert model(images).gt(0).all()  # products of 1e-40 are subnormal; this call starts the threads
        if not torch.set_flush_denormal(True):
            pytest.skip("this CPU cannot flush subnormal numbers")
        flushed = model(images)
        torch.set_flush_denormal(False)
        assert flushed.eq(0).all()
        assert model(images).gt(0).all()
        torch.set_num_threads(before)
        assert (torch.full((1_000_000,), 1e-20) * 1e-20).gt(0).all()  # PyTorch's threads have their own mode again
