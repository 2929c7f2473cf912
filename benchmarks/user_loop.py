"""Compare losses and times of a user's training loop with plain PyTorch and with `mnistcnn.accelerate`.

    python benchmarks/user_loop.py [--networks session7_net era5_net] [--batch-size 128] [--threads 2]

The loop, the loss and torch.optim.SGD are the same; images are normalized floats in memory. Plain PyTorch runs eager,
with channels_last tensors and compiled, each in float32 and under autocast to bfloat16 ("bf16"); accelerate runs in
float32. Dropout is disabled for the comparison of the losses, and enabled for the times.
"""

from __future__ import annotations

import argparse
import copy
from itertools import cycle, islice

import torch
from contenders import Loss, TorchStep, load, torch_loss
from timing import foreign_load_text, heading, markdown, take_turns
from torch import nn

import mnistcnn

STEPS_COMPARED = 50
VARIANTS = [f"{mode}{precision}" for mode in ("eager", "channels_last", "compile") for precision in ("", " bf16")]
Batches = list[tuple[torch.Tensor, torch.Tensor]]  # images and labels


class Loop(TorchStep):
    """Usual training loop in PyTorch, over batches in memory."""

    def __init__(self, network: nn.Module, batches: Batches, loss: Loss, variant: str = "eager") -> None:
        super().__init__(network, loss, variant)
        self.batches = cycle([(images.contiguous(memory_format=self.layout), labels) for images, labels in batches])

    def steps(self, count: int) -> None:
        """Train for a number of steps."""
        for _ in range(count):
            self.step(*next(self.batches))


def without_dropout(module: nn.Module) -> nn.Module:
    for each in module.modules():
        if isinstance(each, nn.Dropout | nn.Dropout2d):
            each.p = 0.0
    return module


def compare_losses(module: nn.Module, batches: Batches, loss: Loss) -> None:
    """Print the loss of every tenth step, and the largest difference of the losses from float64."""
    plain, ours, exact = (without_dropout(copy.deepcopy(module)) for _ in range(3))
    networks = {"PyTorch": plain, "accelerate": mnistcnn.accelerate(ours), "PyTorch, float64": exact.double()}
    losses = {}
    for name, network in networks.items():
        loop, dtype = TorchStep(network, loss), next(network.parameters()).dtype
        compared = islice(cycle(batches), STEPS_COMPARED)
        losses[name] = [loop.step(images.to(dtype), labels).item() for images, labels in compared]
    shown = [0, *range(9, STEPS_COMPARED, 10)]
    rows = [[str(step + 1), *(f"{losses[name][step]:.7f}" for name in losses)] for step in shown]
    print(markdown(["step", *losses], rows))
    true = losses["PyTorch, float64"]
    for name in ("PyTorch", "accelerate"):
        most = max(abs(a - b) for a, b in zip(losses[name], true, strict=True))
        print(f"\nLargest difference of {name} from float64 in {STEPS_COMPARED} steps: {most:.1e}")


def times_row(name: str, module: nn.Module, batches: Batches, loss: Loss, arguments: argparse.Namespace) -> list[str]:
    """Return a row of the table of times: the network and the seconds per epoch of each contender."""
    contenders = {}
    for variant in VARIANTS:
        if not variant.startswith("compile") or name in arguments.compile:
            contenders[variant] = Loop(copy.deepcopy(module), batches, loss, variant).steps
    contenders["accelerate"] = Loop(mnistcnn.accelerate(copy.deepcopy(module)), batches, loss).steps
    turns = take_turns(contenders, arguments.seconds, arguments.rounds, len(batches))
    epochs = {label: len(batches) * seconds for label, seconds in turns.medians.items()}
    for label, reason in turns.failed.items():
        print(f"\n{name}, {label}: not measured: {reason}")
    print(f"\n{name}: {foreign_load_text(turns.foreign_load)}")
    ours = epochs["accelerate"]
    fastest = min((label for label in epochs if label != "accelerate"), key=epochs.__getitem__)
    cells = [f"{epochs[label]:.2f}" if label in epochs else "" for label in VARIANTS]
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
        batches = list(zip(images, torch.tensor(data.labels).split(arguments.batch_size), strict=True))
        module, loss = model.to_torch(), torch_loss(model)
        print(f"\n## Losses of {name}\n")
        compare_losses(module, batches, loss)
        rows.append(times_row(name, module, batches, loss, arguments))
    print("\n## Seconds per epoch\n")
    print(markdown(["network", *VARIANTS, "accelerate", "speedup over the fastest PyTorch"], rows))


if __name__ == "__main__":
    main()
