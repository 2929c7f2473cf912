"""The forward pass of an empty batch returns empty outputs and zero gradients, as in PyTorch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import mnistcnn
from reference import ENGINES

pytestmark = pytest.mark.usefixtures("torch_randomness_restored")


def _with_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 5, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(), nn.Linear(432, 10)
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_empty_outputs_and_zero_gradients(training: bool, engine: str):
    """In training, batch norm increments num_batches_tracked and keeps its running statistics, as in PyTorch."""
    module = _with_norm().train(training)
    twin = copy.deepcopy(module)
    model = mnistcnn.from_torch(module)
    model.engine = engine
    results = []
    for network in (model, twin):
        images = torch.zeros(0, 1, 28, 28, requires_grad=True)
        outputs = network(images)
        outputs.sum().backward()
        results.append([outputs, images.grad, *(p.grad for p in network.parameters()), *network.buffers()])
    for mine, wanted in zip(*results, strict=True):
        assert mine.shape == wanted.shape
        assert torch.equal(mine, wanted)
    with torch.no_grad():
        assert model(torch.zeros(0, 1, 28, 28)).shape == (0, 10)
        assert model(torch.zeros(0, 1, 28, 28, dtype=torch.uint8)).shape == (0, 10)


def test_an_empty_batch_of_a_model_and_of_flat_images():
    model = mnistcnn.create_model("session7_net")
    assert model(torch.zeros(0, 1, 28, 28)).shape == (0, 10)
    flat = mnistcnn.accelerate(nn.Sequential(nn.Linear(784, 10)), (784,))
    assert flat(torch.zeros(0, 784)).shape == (0, 10)
    with pytest.raises(ValueError, match="at least one image"):
        mnistcnn.predict(model, torch.zeros(0, 1, 28, 28))
    with pytest.raises(ValueError, match=r"takes images \[N, 1, 28, 28\], got \[0, 1, 27, 28\]"):
        model(torch.zeros(0, 1, 27, 28))


def test_an_empty_batch_of_several_outputs():
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(784, 10), nn.Linear(784, 4)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"one": self.one(x.flatten(1)), "two": self.two(x.flatten(1))}

    model = mnistcnn.accelerate(TwoHeads())
    outputs = model(torch.zeros(0, 1, 28, 28))
    assert {key: tuple(each.shape) for key, each in outputs.items()} == {"one": (0, 10), "two": (0, 4)}
    outputs["one"].sum().backward()
    assert torch.equal(model.one.weight.grad, torch.zeros(10, 784))
    assert model.two.weight.grad is None
