"""Seconds per epoch of our engines beside the same network in plain PyTorch, in one run.

    python benchmarks/epoch.py --models session7_net recognition_cnn --threads 2

All contenders have the same data in memory, the same batches, SGD with momentum, and the same number of threads; each
does what its users would do: PyTorch a loop that gathers uint8 images, normalises them and steps (set_to_none, no
metrics beside the loss's sum), mnistcnn one call of `train`. Rounds are interleaved, so that a machine that slows down
slows down everybody; medians are reported. An epoch is extrapolated from the steps that were measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from mnistcnn._native import core

EPOCH = 60_000  # images


# ---- the same network in torch.nn: a chain, as all published networks are


def _pool(kind: type[nn.Module]) -> Callable[[dict[str, Any], int], nn.Module]:
    return lambda f, _: kind(f["kernel"], f["stride"], f["padding"])


TORCH_LAYERS: dict[str, Callable[[dict[str, Any], int], nn.Module]] = {
    "conv2d": lambda f, channels: nn.Conv2d(
        channels, f["out_channels"], f["kernel"], f["stride"], (f["padding"][0], f["padding"][2]), bias=f["bias"]
    ),
    "linear": lambda f, features: nn.Linear(features, f["out_features"], bias=f["bias"]),
    "batchnorm2d": lambda _, channels: nn.BatchNorm2d(channels),
    "maxpool2d": _pool(nn.MaxPool2d),
    "avgpool2d": _pool(nn.AvgPool2d),
    "adaptive_avgpool2d": lambda f, _: nn.AdaptiveAvgPool2d(f["output"]),
    "relu": lambda *_: nn.ReLU(),
    "leaky_relu": lambda f, _: nn.LeakyReLU(f["negative_slope"]),
    "dropout": lambda f, _: nn.Dropout(f["probability"]),
    "flatten": lambda *_: nn.Flatten(),
    "log_softmax": lambda *_: nn.LogSoftmax(1),
}


def torch_network(model: mnistcnn.Model) -> nn.Sequential:
    """With the model's weights."""
    layers = [TORCH_LAYERS[node["op"]](node["fields"], node["input_shapes"][0][0]) for node in model._network.nodes]
    network = nn.Sequential(*layers)
    network.load_state_dict(dict(zip(network.state_dict(), model.state_dict().values(), strict=True)))
    return network.train()


# ---- contenders: each is a function that makes a number of steps


class PyTorch:
    """A training loop as it is usually written, with the images in memory."""

    def __init__(self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, variant: str) -> None:
        self.images, self.labels = torch.tensor(data.images), torch.tensor(data.labels)
        self.batch_size = batch_size
        network = torch_network(model)
        self.layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        network.to(memory_format=self.layout)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        self.network = torch.compile(network) if variant == "compile" else network
        self.loss = F.nll_loss if model.outputs == "log_probabilities" else F.cross_entropy
        (self.scale,), (self.shift,) = model.pixel_normalization.scale, model.pixel_normalization.shift

    def steps(self, count: int) -> None:
        """Makes a number of steps."""
        order = torch.randperm(len(self.images))[: count * self.batch_size]
        total = torch.zeros(())
        for indices in order.split(self.batch_size):
            images = self.images[indices].float().mul_(self.scale).add_(self.shift)
            self.optimizer.zero_grad()
            loss = self.loss(self.network(images.contiguous(memory_format=self.layout)), self.labels[indices])
            loss.backward()
            self.optimizer.step()
            total += loss.detach()


class Ours:
    """One call of `mnistcnn.train`'s own loop."""

    def __init__(
        self, model: mnistcnn.Model, data: mnistcnn.ImageSet, batch_size: int, engine: str, threads: int
    ) -> None:
        optimizer = mnistcnn.SGD(lr=0.01, momentum=0.9)
        self.trainer = mnistcnn.Trainer(
            model, batch_size=batch_size, optimizer=optimizer, engine=engine, threads=threads, progress=False
        )
        self.data, self.batch_size = data, batch_size

    def steps(self, count: int) -> None:
        """Makes a number of steps."""
        for _ in self.trainer.epochs(self.data[: count * self.batch_size], epochs=1):
            pass


def contenders(name: str, data: mnistcnn.ImageSet, arguments: argparse.Namespace) -> dict[str, Callable[[int], None]]:
    """Who takes part; each has the same first weights."""

    def fresh() -> mnistcnn.Model:
        return mnistcnn.create_model(name, seed=1)

    variants = ["eager", "channels_last", *(["compile"] if arguments.compile else [])]
    engines = ["aten", *(["lanes"] if core.lanes_refusal(fresh()._network) is None else [])]
    size, threads = arguments.batch_size, arguments.threads
    theirs = {f"torch {each}": PyTorch(fresh(), data, size, each).steps for each in variants}
    return theirs | {f"mnistcnn {each}": Ours(fresh(), data, size, each, threads).steps for each in engines}


# ---- measuring


def measure(
    found: dict[str, Callable[[int], None]], steps: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds per step of every round; what could not run, with its reason."""
    times: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for label, run in found.items():  # warming up: allocations, and the compiler's work
        try:
            run(3)
            times[label] = []
        except Exception as error:  # a compiler that is missing or fails is no reason to measure nothing
            if "compile" not in label:
                raise
            failed[label] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    for index in range(rounds):
        labels = list(times)
        for label in labels[index % len(labels) :] + labels[: index % len(labels)]:
            start = time.perf_counter()
            found[label](steps)
            times[label].append((time.perf_counter() - start) / steps)
    return times, failed


def benchmark(name: str, data: mnistcnn.ImageSet, arguments: argparse.Namespace) -> dict[str, Any]:
    times, failed = measure(contenders(name, data, arguments), arguments.steps, arguments.rounds)
    steps_per_epoch = EPOCH / arguments.batch_size
    medians = {label: statistics.median(each) * steps_per_epoch for label, each in times.items()}
    fastest_torch = min(seconds for label, seconds in medians.items() if label.startswith("torch"))
    return {
        "model": name,
        "seconds_per_epoch": medians,
        "spread": {label: (max(each) - min(each)) / statistics.median(each) for label, each in times.items()},
        "ratio_to_eager": {label: medians["torch eager"] / seconds for label, seconds in medians.items()},
        "ratio_to_fastest_torch": {label: fastest_torch / seconds for label, seconds in medians.items()},
        "failed": failed,
    }


def show(result: dict[str, Any]) -> None:
    print(f"\n{result['model']}")
    print(f"  {'':<22}{'s / epoch':>10}{'spread':>9}{'x eager':>9}{'x fastest torch':>17}")
    for label, seconds in result["seconds_per_epoch"].items():
        print(
            f"  {label:<22}{seconds:>10.2f}{100 * result['spread'][label]:>7.0f} %"
            f"{result['ratio_to_eager'][label]:>9.2f}{result['ratio_to_fastest_torch'][label]:>17.2f}"
        )
    for label, reason in result["failed"].items():
        print(f"  {label:<22}left out: {reason}")


def machine() -> str:
    """The processor's name, as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor() or platform.machine()


def load(steps: int, batch_size: int) -> mnistcnn.ImageSet:
    """The training set of MNIST where it is on this machine, else that of digits."""
    try:
        data = mnistcnn.load("mnist", download=False)[0]
    except OSError:
        data = mnistcnn.load("digits")[0]
    if steps * batch_size > len(data):
        raise SystemExit(f"{steps} steps of {batch_size} images are more than the {len(data):,} images of an epoch")
    return data


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["session7_net", "budget_model3"], help="names, or all")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=60, help="measured steps per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="without torch.compile")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to a file")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", module="torch")
    data = load(arguments.steps, arguments.batch_size)
    names = mnistcnn.list_models() if arguments.models == ["all"] else arguments.models
    print(f"{machine()}, {arguments.threads} of {os.cpu_count()} threads;", end=" ")
    print(f"torch {torch.__version__}, mnistcnn {mnistcnn.__version__}")
    print(f"{data.name}: epochs of {EPOCH:,} images in batches of {arguments.batch_size}, extrapolated from", end=" ")
    print(f"{arguments.steps} steps, median of {arguments.rounds} interleaved rounds")
    results = []
    for name in names:
        results.append(benchmark(name, data, arguments))
        show(results[-1])
    if arguments.json:
        facts = {"machine": machine(), "torch": torch.__version__, "data": data.name, **vars(arguments)}
        with open(arguments.json, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump({**facts, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
