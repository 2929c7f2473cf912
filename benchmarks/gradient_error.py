"""Measure the relative errors of outputs and gradients in float32, of both engines and of PyTorch; print a table.

    python benchmarks/gradient_error.py
    python benchmarks/gradient_error.py --networks session7_net1 --seeds 10

A run uses new weights, a batch of noise (a constant background would make every maximum a tie), one forward in training
mode and one backward. The error of the gradient is the norm of the difference from the gradient in float64, divided by
the norm of that gradient, over all parameters; the error of the outputs is computed in the same way. Rounding changes
the gradient little unless the sign of a ReLU input or the position of a maximum changes. Such runs are counted; the
median of the gradient is over the other runs.
Networks with dropout raise ValueError, since each contender would use other masks.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from contenders import torch_network
from timing import markdown
from torch import nn

import mnistcnn

NETWORKS = ("session7_net1", "session7_net2", "assignment7_model2", "budget_model1")
FAR = 3e-4  # larger errors are not caused by rounding alone


@dataclass(frozen=True)
class Errors:
    """Relative errors in one run."""

    outputs: float
    gradient: float


def outputs_and_gradient(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the outputs, f64 [images, classes], and the gradient of the mean loss, f64 [parameters]."""
    outputs = network.train()(images)
    F.cross_entropy(outputs, labels).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    return outputs.detach().double(), torch.cat([each.flatten().double() for each in gradients if each is not None])


def errors(name: str, seed: int, batch_size: int) -> dict[str, Errors]:
    """Return the errors of each contender in one run."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, 1, 28, 28, generator=random)
    labels = torch.randint(10, (batch_size,), generator=random)
    model = mnistcnn.create_model(name, seed=seed)
    if any(node["op"].startswith("dropout") and node["fields"]["probability"] > 0 for node in model._network.nodes):
        raise ValueError(f"network '{name}' has dropout, whose masks differ between contenders; choose another network")
    twin = torch_network(model)
    truth = outputs_and_gradient(copy.deepcopy(twin).double(), images.double(), labels)
    contenders: dict[str, nn.Module] = {"PyTorch": twin}
    for engine in ("aten", "lanes"):
        ours = mnistcnn.create_model(name, seed=seed)
        ours.engine = engine
        contenders[engine] = ours
    found = {}
    for label, network in contenders.items():
        computed = outputs_and_gradient(network, images, labels)
        relative = [((c - t).norm() / t.norm()).item() for c, t in zip(computed, truth, strict=True)]
        found[label] = Errors(*relative)
    return found


def rows(name: str, seeds: int, batch_size: int) -> list[list[str]]:
    """Return the rows of a network, one for each contender."""
    runs = [errors(name, seed, batch_size) for seed in range(seeds)]
    lines = []
    for label in runs[0]:
        outputs = statistics.median(run[label].outputs for run in runs)
        gradients = [run[label].gradient for run in runs]
        near = [error for error in gradients if error <= FAR]
        median = f"{statistics.median(near):.1e}" if near else "-"
        above = str(len(gradients) - len(near))
        lines.append([name, label, f"{outputs:.1e}", above, median, f"{max(gradients):.1e}"])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    lines = [row for name in arguments.networks for row in rows(name, arguments.seeds, arguments.batch_size)]
    print(f"Relative errors against float64; {arguments.seeds} seeds, batches of {arguments.batch_size}.\n")
    gradient = [f"gradient: runs above {FAR:g}", "median of the others", "maximum"]
    print(markdown(["network", "computed by", "outputs: median", *gradient], lines))


if __name__ == "__main__":
    main()
