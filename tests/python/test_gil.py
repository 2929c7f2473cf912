"""Native calls that take long release the GIL, so that other Python threads continue."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.layers import Conv2d, Flatten, Linear, LogSoftmax, ReLU
from mnistcnn.optim import averaging, losses, optimizers
from runs import CoreRun

IMAGES, CLASSES = 400, 20  # NumPy releases the GIL when it copies more than 500 elements, as for test results


class Counter:
    """Thread that counts while it holds the GIL, and releases the GIL after each step."""

    def __init__(self) -> None:
        self.value, self._stop = 0, False
        self._thread = threading.Thread(target=self._count)

    def _count(self) -> None:
        while not self._stop:
            self.value += 1
            time.sleep(0)

    def __enter__(self) -> Counter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join()


@pytest.fixture(autouse=True)
def no_forced_switches() -> Iterator[None]:
    """Let threads switch only when one of them releases the GIL itself."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


def releases_the_gil(call: Callable[[], object]) -> bool:
    """Return whether another thread runs during one of many calls. If the call keeps the GIL, it never does."""
    results = []  # kept, because PyTorch releases the GIL when it frees a tensor
    with Counter() as counter:
        before = counter.value
        for _ in range(300):
            results.append(call())
            if counter.value != before:
                return True
    return False


def make_calls() -> dict[str, Callable[[], Any]]:
    model = mnistcnn.Model([Conv2d(32, 3), Flatten(), Linear(10), LogSoftmax()], seed=1)
    network, deep = model._network, mnistcnn.Model([ReLU()] * 1000)._definition
    outputs, labels = torch.zeros(IMAGES, CLASSES), torch.zeros(IMAGES, dtype=torch.int64)
    loss = losses.native("auto", model)
    average, exchanged = (averaging.native(mnistcnn.optim.SWA(1), model) for _ in range(2))
    core.testing.after_epoch(exchanged, network, model.tensors(), epoch=0)
    average_state = average.state()
    optimizer = core.testing.Optimizer(
        network, optimizers.settings(mnistcnn.optim.Adam()), trainable=[(0, network.parameter_count)], undecayed=[]
    )
    state = optimizer.state()
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 1, 28, 28), dtype=np.uint8)
    run = CoreRun(model, mnistcnn.ImageSet.from_arrays(images, np.arange(8)), averages=mnistcnn.optim.EMA())
    run_state = run.native.state()
    engine = core.Engine(network, "lanes", 1)
    return {
        "score": lambda: core.score(outputs, labels, kind="logits"),
        "loss_and_gradients": lambda: core.testing.loss_and_gradients(loss, outputs, labels),
        "Averaging": lambda: core.Averaging(network, model.tensors(), averaging.settings(mnistcnn.optim.SWA(1)) or {}),
        "Averaging.after_epoch": lambda: core.testing.after_epoch(average, network, model.tensors(), epoch=1),
        "Averaging.exchange": lambda: exchanged.exchange(network, model.tensors()),
        "Averaging.state": average.state,
        "Averaging.restore": lambda: average.restore(average_state),
        "Optimizer": lambda: core.testing.Optimizer(
            network, optimizers.settings(mnistcnn.optim.Adam()), trainable=[], undecayed=[]
        ),
        "Optimizer.state": optimizer.state,
        "Optimizer.restore": lambda: optimizer.restore(state),
        "TrainingRun.state": run.native.state,
        "TrainingRun.restore": lambda: run.native.restore(run_state, epochs=0, steps=0),
        "Network": lambda: core.Network(**deep),
        "Network.initial_tensors": lambda: network.initial_tensors(seed=1),
        "Engine": lambda: core.Engine(network, "lanes", 1),
        "Engine.forward": lambda: engine.forward(
            model.tensors(), torch.zeros(16, 1, 28, 28), training=False, seed=0, keep=False, keep_images=False
        ),
    }


CALLS = make_calls()


@pytest.mark.parametrize("name", CALLS)
def test_native_calls_release_the_gil(name: str):
    assert releases_the_gil(CALLS[name])


def test_the_check_detects_a_call_that_keeps_the_gil():
    assert not releases_the_gil(lambda: sum(range(1000)))
