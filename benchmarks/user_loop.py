"""Compare losses and times of a user's training loop with plain PyTorch and with `mnistcnn.accelerate`.

    python benchmarks/user_loop.py [--network session7_net] [--batch-size 128] [--threads 2]

The loop, the loss and torch.optim.SGD are the same; images are normalized floats in memory. Dropout is disabled for the
comparison of the losses, and enabled for the times.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from contenders import load
from timing import heading, markdown, take_turns
from torch import nn

import mnistcnn

STEPS_COMPARED = 50


class Loop:
    """Usual training loop in PyTorch."""

    def __init__(
        self,
        network: nn.Module,
        images: Sequence[torch.Tensor],
        labels: Sequence[torch.Tensor],
        loss: Callable[..., Any],
    ) -> None:
        self.network, self.images, self.labels, self.loss = network.train(), images, labels, loss
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        self.position = 0

    def step(self) -> torch.Tensor:
        """Train on one batch and return its loss."""
        images, labels = self.images[self.position], self.labels[self.position]
        self.position = (self.position + 1) % len(self.images)
        self.optimizer.zero_grad()
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


def compare_losses(module: nn.Module, make: Callable[[nn.Module], Loop]) -> None:
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


def compare_times(module: nn.Module, make: Callable[[nn.Module], Loop], steps: int, arguments: Any) -> None:
    """Print the seconds per epoch of each contender."""
    contenders = {"eager": make(copy.deepcopy(module)).steps}
    if not arguments.no_compile:
        contenders["compile"] = make(torch.compile(copy.deepcopy(module))).steps  # type: ignore[arg-type]
    contenders["accelerate"] = make(mnistcnn.accelerate(copy.deepcopy(module))).steps
    turns = take_turns(contenders, arguments.seconds, arguments.rounds, steps)
    epochs = {name: steps * seconds for name, seconds in turns.medians.items()}
    rows = [[name, f"{seconds:.2f}", f"{seconds / epochs['accelerate']:.1f}"] for name, seconds in epochs.items()]
    print("\n" + markdown(["user's loop", "s / epoch", "relative to accelerate"], rows))
    for name, reason in turns.failed.items():
        print(f"\n{name} was not measured: {reason}")
    best = min(seconds for name, seconds in epochs.items() if name != "accelerate")
    print(f"\naccelerate is {best / epochs['accelerate']:.1f} times as fast as the fastest PyTorch variant.")
    if turns.foreign_load is not None:
        print(f"Other processes used {100 * turns.foreign_load:.0f} % of the CPU time.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="session7_net")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="do not measure torch.compile")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = load(arguments.batch_size)
    model = mnistcnn.create_model(arguments.network, seed=1)
    model.normalization = mnistcnn.Normalization(0.1307, 0.3081)
    images = model.prepare(data.images).split(arguments.batch_size)
    labels = torch.tensor(data.labels).split(arguments.batch_size)
    loss = F.nll_loss if model.outputs == "log_probabilities" else F.cross_entropy

    def make(network: nn.Module) -> Loop:
        if isinstance(network, mnistcnn.Model):
            network.threads = arguments.threads
        return Loop(network, images, labels, loss)

    heading(f"A user's loop: {arguments.network}, batch {arguments.batch_size}, {arguments.threads} threads")
    print()
    module = model.to_torch()
    compare_losses(module, make)
    compare_times(module, make, len(images), arguments)


if __name__ == "__main__":
    main()
