from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch

import mnistcnn

torch.set_num_threads(min(2, torch.get_num_threads()))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started deaf to Ctrl-C


def pytest_configure(config: pytest.Config) -> None:
    # Said once per reason and process, so that which test meets it depends on which ran before.
    config.addinivalue_line("filterwarnings", "ignore:the aten engine runs this network:UserWarning")


@pytest.fixture(scope="session")
def mnist() -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    """The real MNIST. A machine without it skips what needs it; CI has it, and fails if it hasn't."""
    try:
        return mnistcnn.load("mnist", download=False)
    except OSError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs the real MNIST in MNISTCNN_DATA: {error}")
        pytest.skip("the real MNIST is not on this machine (set MNISTCNN_DATA)")


@pytest.fixture(scope="session")
def digits() -> tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]:
    return mnistcnn.load("digits")


@pytest.fixture
def data(digits: tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]) -> mnistcnn.ImageSet:
    """Few images, for short runs."""
    return digits[0][:300]


@pytest.fixture
def torch_randomness_restored() -> Iterator[None]:
    """The same random numbers of PyTorch for every test, and those of before after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
