"""Time per training epoch of the published networks: the engines `lanes` and `aten`, and PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.native import core
from mnistcnn.optim.optimizers import SGD

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model

EPOCH = 60_000  # images per epoch: the size of the MNIST training set
IMPLEMENTATIONS = ("lanes", "aten", "torch")
_BATCH = 128
_MIN_SECONDS = 0.15  # minimum duration of one measurement
_MAX_BATCHES = 64


@dataclass(frozen=True)
class EpochTimes:
    """Seconds per training epoch of 60,000 images, including SGD. None if not measured or not supported."""

    network: str
    parameters: int  # number of parameters
    threads: int
    lanes: float | None
    aten: float | None
    torch: float | None  # the same network in PyTorch

    @property
    def ratio(self) -> float | None:
        """Return the time of PyTorch divided by the time of `lanes`; None if one of them is missing."""
        return None if self.lanes is None or self.torch is None else self.torch / self.lanes

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of the times and their ratio, ready for JSON."""
        return {**asdict(self), "torch_per_lanes": self.ratio}


def bench(
    names: Sequence[str] | None = None,
    *,
    implementations: Sequence[str] = IMPLEMENTATIONS,
    threads: int = 1,
    repeats: int = 3,
) -> Iterator[EpochTimes]:
    """Measure the time per training epoch of networks, and yield each result when it is available.

    Up to 64 batches of 128 images are trained ``repeats`` times. The minimum time is scaled to 60,000 images. Compare
    times of the same call only, because the speed of a machine varies over time.

    Parameters
    ----------
    names
        Names of published networks. Default: None, all of them.
    implementations
        Implementations to measure: "lanes", "aten" and "torch" (the same network in ``torch.nn``).
    threads
        Number of threads.
    repeats
        Number of measurements of each implementation.

    Examples
    --------
    >>> import mnistcnn
    >>> times, = mnistcnn.profile.bench(["budget_model3"], implementations=["lanes"], repeats=1)
    >>> times.network, times.lanes > 0, times.torch
    ('budget_model3', True, None)
    """
    from mnistcnn.data.datasets import load
    from mnistcnn.nn.zoo import check_name, list_models

    chosen = list_models() if names is None else list(names)
    for name in chosen:
        check_name(name)
    wrong = [implementation for implementation in implementations if implementation not in IMPLEMENTATIONS]
    if wrong:
        raise ValueError(f"implementations must contain only {', '.join(map(repr, IMPLEMENTATIONS))}, got {wrong[0]!r}")
    threads, repeats = whole_number("threads", threads, maximum=1024), whole_number("repeats", repeats)
    images = load("digits")[0][: _MAX_BATCHES * _BATCH]
    return (_measured(name, images, implementations, threads, repeats) for name in chosen)


def _measured(name: str, images: ImageSet, implementations: Sequence[str], threads: int, repeats: int) -> EpochTimes:
    from mnistcnn.nn.zoo import create_model

    model = create_model(name)
    runs: dict[str, Callable[[ImageSet], float]] = {}
    for implementation in implementations:
        if implementation == "torch":
            runs[implementation] = _in_torch(model, threads)
        elif implementation == "aten" or core.lanes_unsupported_reason(model._network) is None:
            runs[implementation] = _in_engine(model, implementation, threads)
    seconds = {implementation: _seconds_per_image(run, images, repeats) * EPOCH for implementation, run in runs.items()}
    return EpochTimes(
        name, model.parameter_count, threads, *(seconds.get(implementation) for implementation in IMPLEMENTATIONS)
    )


def _seconds_per_image(run: Callable[[ImageSet], float], images: ImageSet, repeats: int) -> float:
    """Return the minimum time over several runs of at least _MIN_SECONDS or _MAX_BATCHES."""
    run(images[:_BATCH])  # warm-up
    batches = 1
    seconds = run(images[:_BATCH])
    while seconds < _MIN_SECONDS and batches < _MAX_BATCHES:
        batches = min(_MAX_BATCHES, 4 * batches)
        seconds = run(images[: batches * _BATCH])
    for _ in range(repeats - 1):
        seconds = min(seconds, run(images[: batches * _BATCH]))
    return seconds / (batches * _BATCH)


def _in_engine(model: Model, engine: str, threads: int) -> Callable[[ImageSet], float]:
    from mnistcnn.training.trainer import Trainer

    def run(images: ImageSet) -> float:
        trainer = Trainer(
            model, batch_size=_BATCH, optimizer=_zero_rate_sgd(), engine=engine, threads=threads, progress=False
        )
        begin = time.perf_counter()
        for _ in trainer.epochs(images, epochs=1):
            pass
        return time.perf_counter() - begin

    return run


def _zero_rate_sgd() -> SGD:
    """Return SGD with learning rate 0: it costs the same time and does not change the weights."""
    return SGD(lr=0.0, momentum=0.9)


def _in_torch(model: Model, threads: int) -> Callable[[ImageSet], float]:
    """Return a function that times a PyTorch training loop: f32 images in memory, batches by index, loss, accuracy."""
    network: torch.nn.Module = model.to_torch().train()
    loss_of = (
        torch.nn.functional.nll_loss if model.outputs == "log_probabilities" else torch.nn.functional.cross_entropy
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)

    def run(images: ImageSet) -> float:
        inputs, labels = model.prepare(images.images), torch.tensor(images.labels)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        losses, correct = 0.0, 0
        for chosen in torch.split(torch.randperm(len(images)), _BATCH):
            batch, wanted = inputs[chosen], labels[chosen]
            optimizer.zero_grad()
            outputs = network(batch)
            loss = loss_of(outputs, wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses += float(loss.detach()) * len(chosen)
            correct += int((outputs.detach().argmax(1) == wanted).sum())
        seconds = time.perf_counter() - begin
        torch.set_num_threads(before)
        return seconds

    return run
