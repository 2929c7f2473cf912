"""Tensors that several layers use: one tensor, whose gradient is the sum over its uses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import update_bn

import mnistcnn
from mnistcnn._internal.native import core
from mnistcnn.nn.input_checks import model_view
from reference import ENGINES, distance, length


class Net(nn.Module):
    """Layers ``a``, ``b``, ... and a forward given as a function."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], torch.Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self._function = forward
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.out = nn.LazyLinear(10)
        with torch.no_grad():
            self(torch.zeros(2, 1, 12, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self._function(self, x).flatten(1))


def prelu(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.act(net.b(net.act(net.a(x))))


def conv_three_times(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    for _ in range(3):
        x = torch.tanh(net.b(x))
    return x


def norm_twice(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.norm(net.b(torch.relu(net.norm(net.a(x)))))


def tied(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = torch.tanh(net.a(x))
    return net.b(x) + F.conv2d(2 * x, net.b.weight, None, padding=1)


def linear_twice(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.fc(torch.tanh(net.fc(x.flatten(1))))


def group_norm_twice(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.norm(torch.tanh(net.norm(net.a(x))))


NETS: dict[str, Callable[[], Net]] = {
    "PReLU used twice": lambda: Net(prelu, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3), act=nn.PReLU()),
    "PReLU per channel": lambda: Net(prelu, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3), act=nn.PReLU(4)),
    "convolution used three times": lambda: Net(
        conv_three_times, a=nn.Conv2d(1, 6, 3), b=nn.Conv2d(6, 6, 3, padding=1)
    ),
    "batch norm used twice": lambda: Net(
        norm_twice, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3, bias=False), norm=nn.BatchNorm2d(4)
    ),
    "batch norm with cumulative average": lambda: Net(
        norm_twice, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3), norm=nn.BatchNorm2d(4, momentum=None)
    ),
    "weight without its bias": lambda: Net(tied, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 5, 3, padding=1)),
    "small linear layer": lambda: Net(linear_twice, fc=nn.Linear(144, 144)),
    "large linear layer": lambda: Net(
        lambda net, x: linear_twice(net, F.pad(x, (0, 14, 0, 3))), fc=nn.Linear(390, 390)
    ),
    "group norm": lambda: Net(group_norm_twice, a=nn.Conv2d(1, 4, 3), norm=nn.GroupNorm(2, 4)),
}


def made(name: str) -> Net:
    torch.manual_seed(3)
    net = NETS[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
        for key, buffer in net.named_buffers():
            if "running" in key:
                buffer.add_(0.1)
    return net


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_outputs_gradients_and_statistics(name: str, training: bool, engine: str) -> None:
    """A float32 sum of a few thousand terms has a relative error of about 1e-6."""
    net = made(name)
    exact = copy.deepcopy(net).double().train(training)
    model = mnistcnn.from_torch(net, (1, 12, 12)).train(training)
    model.engine = engine
    own = {model: net, exact: exact}
    images = torch.rand(37, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    results = []
    for network, inputs in ((model, images), (exact, images.double())):
        leaf = inputs.clone().requires_grad_()
        outputs = network(leaf)
        (outputs * torch.linspace(-1, 1, 10, dtype=inputs.dtype)).sum().backward()
        gradients = [parameter.grad for parameter in own[network].parameters()]
        results.append([outputs.detach(), leaf.grad, *gradients, *own[network].buffers()])
    longest = max(length(each) for each in results[1][2 : 2 + len(gradients)])
    for actual, wanted in zip(*results, strict=True):
        assert distance(actual, wanted) <= 2e-5 * length(wanted) + 1e-6 * longest


@pytest.mark.parametrize("name", NETS)
def test_native_training_matches_torch(name: str) -> None:
    """Five steps on the same batches."""
    net = made(name)
    twin = copy.deepcopy(net).double()
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (40, 1, 12, 12), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (40,), generator=generator)
    data = mnistcnn.ImageSet.from_arrays(images.numpy(), labels.numpy(), classes=10)
    model = mnistcnn.from_torch(net, (1, 12, 12), normalization=mnistcnn.Normalization(0.5, 0.3))
    recipe = mnistcnn.Recipe(optimizer=mnistcnn.optim.SGD(lr=0.01, momentum=0.9), epochs=1, batch_size=8, shuffle=False)
    mnistcnn.train(model, data, recipe, progress=False)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.01, momentum=0.9)
    for part in range(5):
        batch = slice(8 * part, 8 * part + 8)
        optimizer.zero_grad()
        F.cross_entropy(twin((images[batch].double() / 255 - 0.5) / 0.3), labels[batch]).backward()
        optimizer.step()
    for actual, wanted in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        assert distance(actual, wanted) <= 1e-5 * length(wanted) + 1e-7


def norm_of_one_input(net: Any, x: torch.Tensor) -> torch.Tensor:
    x = net.b(net.a(x))
    return torch.relu(net.norm(x)) + torch.tanh(net.norm(x))


def recomputed(net: Net, engine: str) -> tuple[Any, list[torch.Tensor]]:
    """Recompute the running statistics of a network. Return an earlier copy of it in float64, and the batches."""
    torch.manual_seed(4)
    twin = copy.deepcopy(net).double()
    images = torch.randint(0, 256, (40, 1, 12, 12), dtype=torch.uint8)
    model = mnistcnn.from_torch(net, (1, 12, 12), normalization=mnistcnn.Normalization(0.5, 0.3))
    core.testing.recompute_statistics(model_view(model, engine), images, batch_size=16, seed=0)
    return twin, list(((images.double() / 255 - 0.5) / 0.3).split(16))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("forward", "momentum"), [(norm_of_one_input, 0.1), (norm_twice, None)])
def test_recomputed_statistics_equal_update_bn(forward: Any, momentum: float | None, engine: str) -> None:
    """update_bn gives all uses of a norm the same weight, so both uses have the same input or the same weight."""
    net = Net(forward, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3), norm=nn.BatchNorm2d(4, momentum=momentum))
    twin, batches = recomputed(net, engine)
    update_bn(batches, twin)
    for (name, actual), wanted in zip(net.named_buffers(), twin.buffers(), strict=True):
        assert distance(actual, wanted) <= 1e-5 * length(wanted), name


@pytest.mark.parametrize("engine", ENGINES)
def test_momentum_determines_the_weights_of_the_uses_of_a_norm(engine: str) -> None:
    net: Any = Net(norm_twice, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 4, 3), norm=nn.BatchNorm2d(4, momentum=0.3))
    twin, batches = recomputed(net, engine)
    inputs: list[torch.Tensor] = []
    twin.norm.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    for batch in batches:
        twin(batch)
    weights = [0.7 / 1.7 / len(batches), 1 / 1.7 / len(batches)] * len(batches)
    for name, values in (
        ("running_mean", [each.mean((0, 2, 3)) for each in inputs]),
        ("running_var", [each.var((0, 2, 3)) for each in inputs]),
    ):
        wanted: Any = sum(weight * each for weight, each in zip(weights, values, strict=True))
        assert distance(getattr(net.norm, name), wanted) <= 1e-5 * length(wanted), name
    assert int(net.norm.num_batches_tracked) == 2 * len(batches)


@pytest.mark.parametrize("name", NETS)
def test_every_format_of_the_model_shares_tensors(name: str, tmp_path: Path) -> None:
    """A file, a plain model, a PyTorch module, a copy and an ONNX file compute the same outputs."""
    net = made(name)
    model = mnistcnn.from_torch(net, (1, 12, 12)).eval()
    images = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model(images)
        loaded = mnistcnn.load_model(model.save(tmp_path / "net.safetensors")).eval()
        assert loaded(images).equal(wanted)
        assert loaded.parameter_count == model.parameter_count == sum(each.numel() for each in net.parameters())
        assert len(list(loaded.parameters())) == len(list(net.parameters()))
        for plain in (loaded.to_torch(), loaded.to_torch(copy=False)):
            torch.testing.assert_close(plain(images), wanted, rtol=1e-4, atol=1e-5)
            assert len(list(plain.parameters())) == len(list(net.parameters()))
        assert copy.deepcopy(model)(images).equal(wanted)
        import onnxruntime

        mnistcnn.export_onnx(loaded, tmp_path / "net.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-5)


def test_a_frozen_shared_tensor_gets_no_gradient() -> None:
    net = made("PReLU used twice")
    net.act.weight.requires_grad_(False)
    model = mnistcnn.from_torch(net, (1, 12, 12))
    model(torch.rand(4, 1, 12, 12)).sum().backward()
    assert net.act.weight.grad is None
    assert net.a.weight.grad is not None


def test_a_tensor_in_two_roles_raises() -> None:
    net = Net(lambda net, x: F.prelu(net.a(x), net.a.bias), a=nn.Conv2d(1, 4, 3))
    with pytest.raises(mnistcnn.ConversionError, match=r"'a.bias' is the bias of 'a' .* and the weight of 'prelu'"):
        mnistcnn.from_torch(net, (1, 12, 12))
