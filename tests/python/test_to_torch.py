"""`to_torch` returns a PyTorch module that computes the same outputs, with the same names."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

import mnistcnn
from mnistcnn.nn.layers import LAYER_KINDS
from mnistcnn.nn.torch_layers import _STEPS
from networks import NETWORKS
from random_graphs import random_graph

IMAGES = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def test_every_layer_has_a_torch_module():
    assert set(_STEPS) == set(LAYER_KINDS)


@pytest.mark.parametrize("name", ["session7_net", "budget_model3", "assignment7_model4", "era5_net"])
def test_networks_of_the_zoo(name: str):
    model = mnistcnn.create_model(name, seed=2)
    module = model.to_torch()
    assert not isinstance(module, mnistcnn.Model)
    assert list(module.state_dict()) == list(model.state_dict())
    assert all(type(each).__module__.startswith("torch") for each in module.modules())
    torch.testing.assert_close(module.eval()(IMAGES), model.eval()(IMAGES), rtol=1e-4, atol=1e-5)
    model.load_state_dict(module.state_dict())


def test_a_chain_is_a_sequential():
    model = mnistcnn.Model(
        [mnistcnn.layers.Conv2d(4, 3, padding="same"), mnistcnn.layers.ReLU(), mnistcnn.layers.Flatten()]
    )
    module = model.to_torch()
    assert isinstance(module, nn.Sequential)
    assert [type(each) for each in module] == [nn.Conv2d, nn.ReLU, nn.Flatten]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("seed", range(3000, 3040))
def test_random_networks(seed: int):
    graph = random_graph(seed)
    model = mnistcnn.Model(graph.layers, graph.input_shape, seed=seed).eval()
    module = model.to_torch()
    images = torch.randn(3, *graph.input_shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        torch.testing.assert_close(module(images), model(images), rtol=1e-3, atol=1e-4)
    assert list(module.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("share", [True, False])
def test_memory(share: bool):
    model = mnistcnn.create_model("budget_model3", seed=2)
    module = model.to_torch(copy=not share)
    with torch.no_grad():
        next(module.parameters()).add_(1)
    assert torch.equal(next(module.parameters()), next(model.parameters())) == share
    buffers = zip(module.buffers(), model.buffers(), strict=True)
    assert all((mine.data_ptr() == its.data_ptr()) == share for mine, its in buffers)


def test_a_converted_module():
    module = NETWORKS["ResNet"]()
    model = mnistcnn.from_torch(module)
    assert model.to_torch(copy=False).get_parameter("stem.weight") is module.get_parameter("stem.weight")
    torch.testing.assert_close(model.to_torch().eval()(IMAGES), module.eval()(IMAGES))


def test_state_dicts_load_into_a_class_of_the_user():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 3, 5), nn.Linear(1728, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(x).relu().flatten(1))

    layers = {
        "conv": mnistcnn.layers.Conv2d(3, 5),
        "act": mnistcnn.layers.ReLU(),
        "f": mnistcnn.layers.Flatten(),
        "fc": mnistcnn.layers.Linear(10),
    }
    model = mnistcnn.Model(layers, seed=4)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    net = Net()
    net.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(net(IMAGES), model(IMAGES))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The TorchScript type system:UserWarning")
def test_torchscript_and_torch_export():
    model = mnistcnn.create_model("session7_net", seed=2).eval()
    module = model.to_torch().eval()
    wanted = model(IMAGES)
    scripted = torch.jit.script(module)
    torch.testing.assert_close(scripted(IMAGES), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.jit.trace(module, IMAGES[:2])(IMAGES), wanted, rtol=1e-4, atol=1e-5)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(module, (IMAGES,), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(IMAGES[:3]), wanted[:3], rtol=1e-4, atol=1e-5)


def test_dropout_in_evaluation_and_uneven_borders():
    uneven = mnistcnn.from_torch(nn.Sequential(nn.ZeroPad2d((1, 0, 2, 0)), nn.Conv2d(1, 2, 3, 2)))
    assert [op for _, op, _, _ in uneven.rows] == ["conv2d"]  # the padding becomes part of the convolution
    torch.testing.assert_close(uneven.to_torch()(IMAGES), uneven(IMAGES))
    module = mnistcnn.Model([mnistcnn.layers.Dropout(0.5, always=True), mnistcnn.layers.Flatten()]).to_torch().eval()
    assert 0.4 < (module(torch.ones(1, 1, 28, 28)) == 0).float().mean() < 0.6
    assert copy.deepcopy(module)(IMAGES).shape == (4, 784)


def test_names_that_are_not_identifiers(tmp_path: Any):
    model = mnistcnn.Model({"conv 1": mnistcnn.layers.Conv2d(2, 3), "forward_": mnistcnn.layers.Flatten()})
    torch.testing.assert_close(model.to_torch()(IMAGES), model(IMAGES))
