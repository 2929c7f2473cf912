"""How far the gradients of our engines and of PyTorch lie from those in float64, over seeds, as a table in Markdown.

    python benchmarks/gradient_error.py
    python benchmarks/gradient_error.py --networks session7_net1 --seeds 10

A run: fresh weights, a batch of noise (on a plain background every maximum would be a tie), one forward in training
mode and one backward. Its error is the length of the difference of all parameters' gradients by the length of the
gradient. Rounding moves it little, unless a ReLU or a maximum goes the other way; such runs are counted, the others
make the median.
Networks with dropout are refused: each side would draw other masks.
"""

from __future__ import annotations

import argparse
import copy
import statistics

import torch
import torch.nn.functional as F
from contenders import torch_network
from timing import markdown
from torch import nn

import mnistcnn

NETWORKS = ("session7_net1", "session7_net2", "assignment7_model2", "budget_model1")
FAR = 3e-4  # an error above it is no rounding


def gradient(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of the mean loss by all parameters: f64 [parameters]."""
    F.cross_entropy(network.train()(images), labels).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    return torch.cat([each.flatten().double() for each in gradients if each is not None])


def errors(name: str, seed: int, batch_size: int) -> dict[str, float]:
    """Of one run, for each contender."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, 1, 28, 28, generator=random)
    labels = torch.randint(10, (batch_size,), generator=random)
    model = mnistcnn.create_model(name, seed=seed)
    if any(node["op"].startswith("dropout") and node["fields"]["probability"] > 0 for node in model._network.nodes):
        raise ValueError(f"network '{name}' has dropout, and each side would draw other masks; choose another network")
    twin = torch_network(model)
    truth = gradient(copy.deepcopy(twin).double(), images.double(), labels)
    found = {"PyTorch": gradient(twin, images, labels)}
    for engine in ("aten", "lanes"):
        ours = mnistcnn.create_model(name, seed=seed)
        ours.engine = engine
        found[engine] = gradient(ours, images, labels)
    return {label: ((each - truth).norm() / truth.norm()).item() for label, each in found.items()}


def rows(name: str, seeds: int, batch_size: int) -> list[list[str]]:
    """A network's lines of the table, one for each contender."""
    runs = [errors(name, seed, batch_size) for seed in range(seeds)]
    lines = []
    for label in runs[0]:
        all_of_it = [run[label] for run in runs]
        near = [error for error in all_of_it if error <= FAR]
        median = f"{statistics.median(near):.1e}" if near else "-"
        lines.append([name, label, str(len(all_of_it) - len(near)), median, f"{max(all_of_it):.1e}"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    lines = [row for name in arguments.networks for row in rows(name, arguments.seeds, arguments.batch_size)]
    print(
        f"Relative error of the gradient beside float64; {arguments.seeds} seeds, batches of {arguments.batch_size}.\n"
    )
    print(markdown(["network", "gradients by", f"runs above {FAR:g}", "median of the others", "largest"], lines))


if __name__ == "__main__":
    main()
