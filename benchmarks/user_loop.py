"""Compare losses and times of a user's training loop with plain PyTorch and with `mnistcnn.accelerate`.

    python benchmarks/user_loop.py [--networks session7_net era5_net] [--batch-size 128] [--threads 2]

The loop, the loss and torch.optim.SGD are the same; images are normalized floats in memory. Plain PyTorch runs eager,
with channels_last tensors and compiled, each in float32 and under autocast to bfloat16 ("bf16"); accelerate runs in
float32. Dropout is disabled for the comparison of the losses, and enabled for the times.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from contenders import load
from timing import foreign_load_text, heading, markdown, take_turns
from torch import nn

import mnistcnn

STEPS_COMPARED = 50
MODES = ("eager", "channels_last", "compile")
LABELS = [label for mode in MODES for label in (mode, f"{mode}, bf16")]


class Loop:
    """Usual training loop in PyTorch."""

    def __init__(
        self,
        network: nn.Module,
        images: Sequence[torch.Tensor],
        labels: Sequence[torch.Tensor],
        loss: Callable[..., Any],
        bf16: bool = False,
    ) -> None:
        self.network, self.images, self.labels, self.loss = network.train(), images, labels, loss
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        self.position = 0

    def step(self) -> torch.Tensor:
        """Train on one batch and return its loss."""
        images, labels = self.images[self.position], self.labels[self.position]
        self.position = (self.position + 1) % len(self.images)
        self.optimizer.zero_grad()
        with self.autocast:
            loss: torch.Tensor = self.loss(self.network(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def steps(self, count: int) -> None:
        """Train for a number of steps."""
        for _ in range(count):
            self.step()


def without_dropout(module: nn.Module) -> nn.Module:
    for each in module.modules():
        if isinstance(each, nn.Dropout | nn.Dropout2d):
            each.p = 0.0
    return module


def compare_losses(module: nn.Module, make: Callable[..., Loop]) -> None:
    """Print the loss of every tenth step, and the largest difference of the losses from float64."""
    plain, exact = without_dropout(copy.deepcopy(module)), without_dropout(copy.deepcopy(module)).double()
    loops = {
        "PyTorch": make(plain),
        "accelerate": make(mnistcnn.accelerate(without_dropout(copy.deepcopy(module)))),
        "PyTorch, float64": make(exact),
    }
    loops["PyTorch, float64"].images = [each.double() for each in loops["PyTorch, float64"].images[:STEPS_COMPARED]]
    losses = {name: [loop.step().item() for _ in range(STEPS_COMPARED)] for name, loop in loops.items()}
    shown = [0, *range(9, STEPS_COMPARED, 10)]
    rows = [[str(step + 1), *(f"{losses[name][step]:.7f}" for name in losses)] for step in shown]
    print(markdown(["step", *losses], rows))
    true = losses["PyTorch, float64"]
    for name in ("PyTorch", "accelerate"):
        most = max(abs(a - b) for a, b in zip(losses[name], true, strict=True))
        print(f"\nLargest difference of {name} from float64 in {STEPS_COMPARED} steps: {most:.1e}")


def times_row(name: str, module: nn.Module, make: Callable[..., Loop], steps: int, arguments: Any) -> list[str]:
    """Return a row of the table of times: the network and the seconds per epoch of each contender."""
    contenders = {}
    for mode in MODES:
        if mode == "compile" and name not in arguments.compile:
            continue
        for bf16 in (False, True):
            network = copy.deepcopy(module)
            layout = torch.channels_last if mode == "channels_last" else torch.contiguous_format
            network = network.to(memory_format=layout)  # type: ignore[call-overload]
            loop = make(torch.compile(network) if mode == "compile" else network, bf16)
            loop.images = [images.contiguous(memory_format=layout) for images in loop.images]
            contenders[f"{mode}, bf16" if bf16 else mode] = loop.steps
    contenders["accelerate"] = make(mnistcnn.accelerate(copy.deepcopy(module))).steps
    turns = take_turns(contenders, arguments.seconds, arguments.rounds, steps)
    epochs = {label: steps * seconds for label, seconds in turns.medians.items()}
    for label, reason in turns.failed.items():
        print(f"\n{name}, {label}: not measured: {reason}")
    print(f"\n{name}: {foreign_load_text(turns.foreign_load)}")
    ours = epochs["accelerate"]
    fastest = min((label for label in epochs if label != "accelerate"), key=epochs.__getitem__)
    cells = [f"{epochs[label]:.2f}" if label in epochs else "" for label in LABELS]
    return [name, *cells, f"{ours:.2f}", f"{epochs[fastest] / ours:.1f} ({fastest})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["session7_net", "era5_net"], choices=mnistcnn.list_models())
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="of measurement for each network")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--compile", nargs="*", metavar="NETWORK", default=["session7_net", "era5_net"],
        help="networks to measure with torch.compile too; compilation takes minutes (none: --compile without a name)",
    )  # fmt: skip
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = load(arguments.batch_size)
    heading(f"A user's loop: batch {arguments.batch_size}, {arguments.threads} threads")
    rows = []
    for name in arguments.networks:
        model = mnistcnn.create_model(name, seed=1)
        model.normalization = mnistcnn.Normalization(0.1307, 0.3081)
        images = model.prepare(data.images).split(arguments.batch_size)
        labels = torch.tensor(data.labels).split(arguments.batch_size)
        loss = F.nll_loss if model.outputs == "log_probabilities" else F.cross_entropy

        def make(network: Any, bf16: bool = False, given: tuple[Any, ...] = (images, labels, loss)) -> Loop:
            if isinstance(network, mnistcnn.Model):
                network.threads = arguments.threads
            return Loop(network, *given, bf16)

        module = model.to_torch()
        print(f"\n## Losses of {name}\n")
        compare_losses(module, make)
        rows.append(times_row(name, module, make, len(images), arguments))
    print("\n## Seconds per epoch\n")
    print(markdown(["network", *LABELS, "accelerate", "speedup over the fastest PyTorch"], rows))


if __name__ == "__main__":
    main()
