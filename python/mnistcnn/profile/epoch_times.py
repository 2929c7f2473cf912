"""Time per training epoch of the published networks: the engines `lanes` and `aten`, and PyTorch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.native import core
from mnistcnn.optim.optimizers import SGD

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model

EPOCH = 60_000  # images per epoch: the size of the MNIST training set
ENGINES = ("lanes", "aten")
TORCH_MODES = ("torch", "torch channels_last", "torch bf16", "torch channels_last bf16")
COMPILED_MODES = ("torch compile", "torch compile bf16")
_IMPLEMENTATIONS = (*ENGINES, *TORCH_MODES, *COMPILED_MODES)
_BATCH = 128
_MIN_SECONDS = 0.15  # minimum duration of one measurement
_MAX_BATCHES = 64


@dataclass(frozen=True)
class EpochTimes:
    """Seconds per training epoch of 60,000 images, including SGD.

    Attributes
    ----------
    network
        Name of the network.
    parameters
        Number of parameters.
    threads
        Number of threads.
    seconds
        Seconds by implementation; without "lanes" if the engine does not support the network.
    """

    network: str
    parameters: int
    threads: int
    seconds: Mapping[str, float]

    @property
    def fastest_torch(self) -> str | None:
        """Return the fastest mode of PyTorch, for example "torch channels_last bf16"; None if none was measured."""
        modes = [name for name in self.seconds if name not in ENGINES]
        return min(modes, key=self.seconds.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """Return the time of the fastest mode of PyTorch divided by the time of `lanes`; None if one is missing."""
        mode = self.fastest_torch
        return None if mode is None or "lanes" not in self.seconds else self.seconds[mode] / self.seconds["lanes"]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of the times, the fastest mode of PyTorch and the ratio, ready for JSON."""
        return {
            "network": self.network,
            "parameters": self.parameters,
            "threads": self.threads,
            "seconds": dict(self.seconds),
            "fastest_torch": self.fastest_torch,
            "torch_per_lanes": self.ratio,
        }


def bench(
    names: Sequence[str] | None = None,
    *,
    implementations: Sequence[str] = (*ENGINES, *TORCH_MODES),
    threads: int = 1,
    repeats: int = 3,
) -> Iterator[EpochTimes]:
    """Measure the time per training epoch of networks, and yield each result when it is available.

    Up to 64 batches of 128 images are trained ``repeats`` times, in turns by all implementations. The minimum time of
    each is scaled to 60,000 images. Compare times of the same call only, because the speed of a machine varies over
    time.

    Parameters
    ----------
    names
        Names of published networks. Default: None, all of them.
    implementations
        Implementations to measure. Engines: "lanes", "aten". The network in ``torch.nn``: "torch", "torch
        channels_last", "torch compile", and each of these with " bf16" for autocast to bfloat16. Default: all but those
        with "compile", whose compilation takes minutes and needs a C++ compiler.
    threads
        Number of threads.
    repeats
        Number of measurements of each implementation.

    Examples
    --------
    >>> import mnistcnn
    >>> times, = mnistcnn.profile.bench(["budget_model3"], implementations=["lanes"], repeats=1)
    >>> times.network, times.seconds["lanes"] > 0, times.fastest_torch
    ('budget_model3', True, None)
    """
    from mnistcnn.data.datasets import load
    from mnistcnn.nn.zoo import check_name, list_models

    chosen = list_models() if names is None else list(names)
    for name in chosen:
        check_name(name)
    for name in implementations:
        if name not in _IMPLEMENTATIONS:
            raise ValueError(
                f"implementations must contain only {', '.join(map(repr, _IMPLEMENTATIONS))}, got {name!r}"
            )
    threads, repeats = whole_number("threads", threads, maximum=1024), whole_number("repeats", repeats)
    images = load("digits")[0][: _MAX_BATCHES * _BATCH]
    return (_measured(name, images, implementations, threads, repeats) for name in chosen)


def _measured(name: str, images: ImageSet, implementations: Sequence[str], threads: int, repeats: int) -> EpochTimes:
    from mnistcnn.nn.zoo import create_model

    model = create_model(name)
    runs: dict[str, Callable[[ImageSet], float]] = {}
    for each in implementations:
        if each not in ENGINES:
            runs[each] = _in_torch(model, each.split()[1:], threads)
        elif each == "aten" or core.lanes_unsupported_reason(model._network) is None:
            runs[each] = _in_engine(model, each, threads)
    batches = {each: _batches_to_time(run, images) for each, run in runs.items()}
    seconds = dict.fromkeys(runs, math.inf)
    for _ in range(repeats):
        for each, run in runs.items():
            count = batches[each] * _BATCH
            seconds[each] = min(seconds[each], run(images[:count]) / count * EPOCH)
    return EpochTimes(name, model.parameter_count, threads, seconds)


def _batches_to_time(run: Callable[[ImageSet], float], images: ImageSet) -> int:
    """Return a number of batches that takes at least _MIN_SECONDS, at most _MAX_BATCHES."""
    run(images[:_BATCH])  # warm-up
    batches = 1
    while run(images[: batches * _BATCH]) < _MIN_SECONDS and batches < _MAX_BATCHES:
        batches = min(_MAX_BATCHES, 4 * batches)
    return batches


def _in_engine(model: Model, engine: str, threads: int) -> Callable[[ImageSet], float]:
    from mnistcnn.training.trainer import Trainer

    def run(images: ImageSet) -> float:
        trainer = Trainer(
            model, batch_size=_BATCH, optimizer=zero_rate_sgd(), engine=engine, threads=threads, progress=False
        )
        begin = time.perf_counter()
        for _ in trainer.epochs(images, epochs=1):
            pass
        return time.perf_counter() - begin

    return run


def zero_rate_sgd() -> SGD:
    """Return SGD with learning rate 0: it costs the same time and does not change the weights."""
    return SGD(lr=0.0, momentum=0.9)


def _in_torch(model: Model, mode: Sequence[str], threads: int) -> Callable[[ImageSet], float]:
    """Return a function that times a PyTorch training loop: f32 images in memory, batches by index, loss, accuracy.

    ``mode`` may contain "channels_last", "compile" and "bf16".
    """
    layout = torch.channels_last if "channels_last" in mode else torch.contiguous_format
    module = model.to_torch().train().to(memory_format=layout)  # type: ignore[call-overload]
    network: Callable[[torch.Tensor], torch.Tensor] = torch.compile(module) if "compile" in mode else module
    loss_of = (
        torch.nn.functional.nll_loss if model.outputs == "log_probabilities" else torch.nn.functional.cross_entropy
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0, momentum=0.9)

    def run(images: ImageSet) -> float:
        inputs, labels = model.prepare(images.images), torch.tensor(images.labels)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        losses, correct = 0.0, 0
        try:
            for chosen in torch.split(torch.randperm(len(images)), _BATCH):
                batch, wanted = inputs[chosen].contiguous(memory_format=layout), labels[chosen]
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in mode):
                    outputs = network(batch)
                    loss = loss_of(outputs, wanted)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses += float(loss.detach()) * len(chosen)
                correct += int((outputs.detach().argmax(1) == wanted).sum())
            return time.perf_counter() - begin
        finally:
            torch.set_num_threads(before)

    return run
