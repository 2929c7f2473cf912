from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch

import mnistcnn
from mnistcnn._internal.values import Value

torch.set_num_threads(min(2, torch.get_num_threads()))
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs with SIGINT ignored


@pytest.fixture(autouse=True)
def _values_of_the_test_unregistered() -> Iterator[None]:
    """Remove the schedules, losses and transforms that a test defines, which would be listed in error messages."""
    before = set(Value._registry)
    yield
    for name in Value._registry.keys() - before:
        if not Value._registry[name].__module__.startswith("mnistcnn."):  # those are registered once, by an import
            del Value._registry[name]


@pytest.fixture(scope="session")
def mnist() -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    """Return the MNIST data set; skip the test if it is missing. In CI a missing data set is an error."""
    try:
        return mnistcnn.load("mnist", download=False)
    except OSError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI requires MNIST in MNISTCNN_DATA: {error}")
        pytest.skip("MNIST not found; set MNISTCNN_DATA to its directory")


@pytest.fixture(scope="session")
def digits() -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    return mnistcnn.load("digits")


@pytest.fixture
def data(digits: tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]) -> mnistcnn.ImageSet:
    """Return a small training set."""
    return digits[0][:300]


@pytest.fixture
def torch_randomness_restored() -> Iterator[None]:
    """Seed PyTorch's generator for the test and restore its state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def torch_threads_restored() -> Iterator[None]:
    """Restore PyTorch's number of threads after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_torch_thread(torch_threads_restored: None) -> None:
    """Run PyTorch on one thread, which is faster for small batches."""
    torch.set_num_threads(1)
