from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def trained_model(digits: tuple[mnistcnn.ImageSet, mnistcnn.ImageSet]) -> mnistcnn.Model:
    """Return a model with a good accuracy on digits, in evaluation mode. Tests must not change it."""
    model = mnistcnn.create_model("session7_net", seed=1)
    mnistcnn.train(model, digits[0], epochs=2, progress=False)
    return model.eval()


@pytest.fixture
def dask_client() -> Iterator[Any]:
    """Return the client of a local Dask cluster with two workers; skip the test if distributed is missing."""
    distributed = pytest.importorskip("distributed")
    import dask

    with dask.config.set({"distributed.worker.daemon": True, "distributed.comm.timeouts.connect": "30s"}):
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        with cluster, distributed.Client(cluster) as client:
            yield client


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set proxies that refuse connections."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def offline(no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make MNIST unavailable: no local copy and no network."""
    monkeypatch.delenv("MNISTCNN_DATA", raising=False)
    monkeypatch.setenv("MNISTCNN_CACHE", str(tmp_path / "cache"))


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
