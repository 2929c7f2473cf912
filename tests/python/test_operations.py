"""Operations that `from_torch` converts, on both engines, compared with PyTorch in float64."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from messages import own_message
from mnistcnn.convert.from_torch import model_of
from reference import ENGINES, distance, length

pytestmark = [
    pytest.mark.usefixtures("torch_randomness_restored", "one_torch_thread"),
    pytest.mark.filterwarnings("ignore:the engine computes only the outputs of"),
]

SEEDS = range(3)


class _Around(nn.Module):
    """A convolution [N, 6, 8, 8], one function of its output, and a linear layer."""

    def __init__(self, function: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.function, self.conv = function, nn.Conv2d(1, 6, 6, 3)
        for name, layer in layers.items():
            self.add_module(name, layer)
        with torch.no_grad():
            size = self.function(self, self.conv(torch.zeros(3, 1, 28, 28))).reshape(3, -1).shape[1]
        self.fc = nn.Linear(size, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.function(self, self.conv(x))
        return self.fc(y.reshape(y.size(0), y[0].numel()))


def check(module: nn.Module, engine: str, seed: int, *, images: torch.Tensor | None = None) -> None:
    """Compare outputs and all gradients with those of the module, computed in float64.

    The tolerance is ten times the error of PyTorch in float32, plus 2e-5 of the tensor's norm (a few hundred roundings
    of 6e-8). For gradients that nearly cancel, 1e-6 of the largest gradient is added.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    single, exact = copy.deepcopy(module), copy.deepcopy(module).double()
    model = mnistcnn.from_torch(module)
    model.engine = engine
    if images is None:
        images = torch.randn(5, 1, 28, 28, generator=generator)
    output_gradients = torch.randn(5, 10, generator=generator)
    for training in (True, False):
        actual, desired, double = (
            _outputs_and_gradients(network.train(training), own, images.to(dtype), output_gradients.to(dtype))
            for network, own, dtype in (
                (model, module, torch.float32),  # the model has the parameters of the module
                (single, single, torch.float32),
                (exact, exact, torch.float64),
            )
        )
        longest = max(length(each) for each in double[1:] if each is not None)
        for position, (computed, in_single_precision, wanted) in enumerate(zip(actual, desired, double, strict=True)):
            where = f"tensor {position}, seed {seed}, {'training' if training else 'evaluation'}"
            if position == 1 and wanted is None:  # images before a detach: zeros are allowed instead of None
                assert computed is None or not computed.any(), where
                continue
            assert (computed is None) == (wanted is None), where
            if wanted is not None:
                allowed = (
                    2e-5 * length(wanted)
                    + 10 * distance(in_single_precision, wanted)
                    + (1e-6 * longest if position else 0)
                )
                assert distance(computed, wanted) <= allowed, where


def _outputs_and_gradients(
    network: nn.Module, own: nn.Module, images: torch.Tensor, output_gradients: torch.Tensor
) -> list[torch.Tensor | None]:
    leaf = images.clone().requires_grad_()
    own.zero_grad()
    outputs = network(leaf)
    outputs.backward(output_gradients)
    return [outputs.detach(), leaf.grad, *(parameter.grad for parameter in own.parameters())]


def _gate(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(F.adaptive_avg_pool2d(x, 1))


def _in_place(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = _gate(x)
    x *= y
    return x


def _expand_of_five_dimensions(net: Any, x: torch.Tensor) -> torch.Tensor:
    groups = x.view(-1, 2, 3, 8, 8)
    return torch.tanh(groups * groups.mean(2, True).mean(4, True).expand_as(groups))


def _ties(x: torch.Tensor) -> torch.Tensor:
    """Return many equal values: the zeros of a ReLU."""
    return F.relu(x - 0.5)


FUNCTIONS: dict[str, Any] = {
    "F.mish": lambda net, x: F.mish(x * 3),
    "F.mish in place": lambda net, x: F.mish(x, inplace=True),
    "F.softplus": lambda net, x: F.softplus(x),
    "F.softplus with beta and threshold": lambda net, x: F.softplus(x, 2.5, 1.5),
    "F.softplus with keywords": lambda net, x: F.softplus(x * 40, beta=0.5, threshold=10),
    "mish as tanh and softplus": lambda net, x: x * torch.tanh(F.softplus(x)),
    "expand": lambda net, x: x * _gate(x).expand(-1, -1, 8, 8),
    "expand by sizes": lambda net, x: _gate(x).expand(x.size(0), 6, x.size(2), x.size(3)) * x,
    "expand_as": lambda net, x: x * _gate(x).expand_as(x),
    "expand_as, added": lambda net, x: x + _gate(x).expand_as(x),
    "expand alone": lambda net, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 3, 2),
    "expand of channels": lambda net, x: x * torch.sigmoid(x.mean(1, keepdim=True)).expand_as(x),
    "expand of rows of features": lambda net, x: x.flatten(2) * x.flatten(2).mean(2, True).expand(-1, 6, 64),
    "expand of five dimensions": _expand_of_five_dimensions,
    "broadcast_to": lambda net, x: torch.broadcast_to(_gate(x), x.shape) * x,
    "repeat": lambda net, x: x * _gate(x).repeat(1, 1, 8, 8),
    "expand of the images": lambda net, x: torch.tanh(net.images[:, :, :8, :8].expand(-1, 6, -1, -1)) * x,
    "repeat of the images": lambda net, x: net.images.repeat(1, 3, 1, 1)[:, :, ::9, 1::9].mean((2, 3)) + x[:, 0, :3, 0],
    "repeat of larger dimensions": lambda net, x: x.repeat(1, 2, 1, 3),
    "tile": lambda net, x: x.tanh().tile((1, 1, 2, 1)),
    "sum of broadcast values": lambda net, x: x - x.mean((2, 3), keepdim=True),
    "sum of two that both broadcast": lambda net, x: x.mean(2, keepdim=True) + x.mean(3, keepdim=True),
    "product of two that both broadcast": lambda net, x: x.mean(2, keepdim=True) * x.mean(3, keepdim=True),
    "division of values": lambda net, x: x.tanh() / (1.5 + torch.sigmoid(x)),
    "division by a gate": lambda net, x: x / (1 + _gate(x)),
    "division of a gate": lambda net, x: _gate(x) / (2 + x.tanh()),
    "division in place": lambda net, x: (x * 2).div_(1 + _gate(x)),
    "division by a constant": lambda net, x: torch.div(x, 3.7),
    "a number divided": lambda net, x: 2.5 / (1.5 + torch.sigmoid(x)),
    "reciprocal": lambda net, x: (2 + x.tanh()).reciprocal(),
    "detach": lambda net, x: x * torch.sigmoid(x.detach()),
    "detach of one of several readers": lambda net, x: x.detach() + torch.tanh(x) * x,
    "detach as the only reader": lambda net, x: torch.tanh(x.detach()),
    "detach of the images": lambda net, x: x * F.avg_pool2d(net.images.detach(), 6, 3),
    "detach in place": lambda net, x: (x * torch.tanh(x)).detach_() + x,
    "detach of a gate": lambda net, x: x * _gate(x).detach().expand_as(x),
    "data": lambda net, x: x + x.data * 2,
    "amax": lambda net, x: x.amax((2, 3)),
    "amax with keepdim": lambda net, x: x * torch.amax(x, dim=(-2, -1), keepdim=True),
    "amax of channels": lambda net, x: x.amax(1),
    "amax with ties": lambda net, x: _ties(x).amax((2, 3)),
    "amax of columns with ties": lambda net, x: _ties(x).amax(3),
    "amin with ties": lambda net, x: (-_ties(x)).amin((2, 3)),
    "maximum": lambda net, x: torch.maximum(x[:, :3], x[:, 3:]),
    "max of two": lambda net, x: torch.max(x[:, :3], x[:, 3:]),
    "maximum with ties": lambda net, x: torch.max(_ties(x[:, :3]), _ties(x[:, 3:])),
    "maximum with a broadcast value": lambda net, x: torch.maximum(x, x.mean((2, 3), keepdim=True)),
    "method maximum": lambda net, x: x[:, :3].maximum(x[:, 3:]),
    "minimum with ties": lambda net, x: torch.minimum(_ties(x[:, :3]), _ties(x[:, 3:])),
    "min of two": lambda net, x: torch.min(x[:, :3], other=x[:, 3:]),
    "sum of a stack": lambda net, x: torch.stack([x, x.tanh(), x * x]).sum(0),
    "sum of a stack by keyword": lambda net, x: torch.stack([x.tanh(), x], dim=0).sum(dim=0),
    "mean of a stack": lambda net, x: torch.stack((x, x.tanh(), x * x)).mean(0),
    "amax of a stack with ties": lambda net, x: torch.stack([_ties(x[:, :3]), _ties(x[:, 3:])]).amax(0),
    "mean of a stack by a negative dimension": lambda net, x: torch.stack([x, x.tanh()], -5).mean(-5),
    "sum of a stack of one": lambda net, x: torch.stack([x]).sum(0),
    "amax of a stack after the batch dimension": lambda net, x: torch.stack([x, x.tanh(), -x], dim=-1).amax(-1),
    "sum of a stack after the batch dimension": lambda net, x: torch.stack([x, x.tanh()], 1).sum(1),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_matches_pytorch(name: str, engine: str):
    for seed in SEEDS:
        torch.manual_seed(seed)
        check(_RemembersImages(FUNCTIONS[name]), engine, seed)


class _RemembersImages(_Around):
    """An `_Around` whose function may read the images."""

    images = torch.zeros(3, 1, 28, 28)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.images = x
        return super().forward(x)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layer", [nn.Mish(), nn.Mish(inplace=True), nn.Softplus(), nn.Softplus(3, 1)])
def test_an_activation_layer_matches_pytorch(layer: nn.Module, engine: str):
    for seed in SEEDS:
        torch.manual_seed(seed)
        check(_Around(lambda net, x: net.act(x * 4), act=layer), engine, seed)


# ---- clamps

CLAMPS: dict[str, Any] = {
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "clamp(max=0)": lambda x: torch.clamp(x, max=0),
    "clamp(min=0.5)": lambda x: x.clamp(min=0.5),
    "clamp(min=-0.5)": lambda x: x.clamp(-0.5),
    "clamp(max=-0.5)": lambda x: x.clamp(max=-0.5),
    "clip(max=3)": lambda x: x.clip(max=3),
    "clamp_(0, 1)": lambda x: x.clamp_(0, 1),
    "clamp(-100, 100)": lambda x: x.clamp(-100, 100),
    "clamp(0, 0)": lambda x: x.clamp(0, 0),
    "clamp(1, 0)": lambda x: x.clamp(1, 0),
    "clamp(min=1e-6)": lambda x: x.clamp(min=1e-6),
    "hardtanh": F.hardtanh,
    "hardtanh(0, 3)": lambda x: F.hardtanh(x, 0, 3),
    "hardtanh(-100, 100)": nn.Hardtanh(-100, 100),
    "hardtanh(-1e6, 3)": nn.Hardtanh(-1e6, 3),
}  # fmt: skip
NARROW = ("hardtanh", "hardtanh(0, 3)")  # a scaled ReLU6, which rounds


class _Pointwise(nn.Module):
    """A function of the images, of which PyTorch does not change the images."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function, self.scale = function, nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x * self.scale)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CLAMPS)
def test_values_and_gradients_of_a_clamp_at_its_bounds(name: str, engine: str):
    """Values between the bounds are exact, and gradients equal those of PyTorch at the bounds and elsewhere."""
    module = _Pointwise(CLAMPS[name])
    model = mnistcnn.from_torch(module, (16,))
    model.engine = engine
    special = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 100.0, -100.0, 1e-6, 1e-30, 1.5e-3, -7.0, 250.0, -250.0]
    images = torch.cat([torch.tensor([special]), torch.randn(20, 16, generator=torch.Generator().manual_seed(1))])
    found = []
    for network, shape in ((model, (1, 4, 4)), (module, (16,))):
        leaf = images.clone().requires_grad_()
        outputs = network(leaf.reshape(-1, *shape)).reshape(-1, 16)
        outputs.sum().backward()
        found.append((outputs.detach(), leaf.grad))
    (values, gradients), (expected, expected_gradients) = found
    torch.testing.assert_close(values, expected, rtol=2e-5, atol=1e-6 if name in NARROW else 0)
    if name not in NARROW:
        unchanged = expected == images
        assert values[unchanged].equal(images[unchanged])
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-6, atol=0)


# ---- squeeze-and-excitation


def _linear_gate(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net.up(F.relu(net.down(x)))


def _pool_view(net: Any, x: torch.Tensor) -> torch.Tensor:
    b, c, _, _ = x.size()
    y = net.pool(x).view(b, c)
    return x * net.act(_linear_gate(net, y)).view(b, c, 1, 1)


def _pool_view_expand_as(net: Any, x: torch.Tensor) -> torch.Tensor:
    b, c, _, _ = x.shape
    y = net.act(_linear_gate(net, net.pool(x).view(b, c))).view(b, c, 1, 1)
    return x * y.expand_as(x)


def _mean_tuple(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = net.act(_linear_gate(net, x.mean((2, 3))))
    return x.mul(y[:, :, None, None])


def _mean_of_a_view(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = net.act(_linear_gate(net, x.view(x.size(0), x.size(1), -1).mean(dim=2)))
    return x * y.unsqueeze(-1).unsqueeze(-1)


def _mean_list_convolutions(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = net.conv_up(F.silu(net.conv_down(x.mean([2, 3], keepdim=True))))
    return x * net.act(y)


def _flatten_in_place(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = net.act(_linear_gate(net, torch.flatten(net.pool(x), 1))).reshape(-1, x.size(1), 1, 1)
    x *= y
    return x


def _method_in_place(net: Any, x: torch.Tensor) -> torch.Tensor:
    return x.mul_(net.act(net.conv_up(F.relu(net.conv_down(net.pool(x))))))


def _residual(net: Any, x: torch.Tensor) -> torch.Tensor:
    y = net.act(_linear_gate(net, net.pool(x).flatten(1)))
    return F.relu(x + x * y[..., None, None].expand(-1, -1, x.size(2), x.size(3)))


def _function_hardsigmoid(net: Any, x: torch.Tensor) -> torch.Tensor:
    return x * F.hardsigmoid(net.conv_up(F.relu(net.conv_down(F.adaptive_avg_pool2d(x, (1, 1))))), inplace=True)


BLOCKS = (
    _pool_view, _pool_view_expand_as, _mean_tuple, _mean_of_a_view, _mean_list_convolutions, _flatten_in_place,
    _method_in_place, _residual, _function_hardsigmoid,
)  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Hardsigmoid()], ids=["Sigmoid", "Hardsigmoid"])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__.strip("_"))
def test_squeeze_and_excitation_in_common_coding_styles(block: Any, gate: nn.Module, engine: str):
    torch.manual_seed(3)
    layers = {"down": nn.Linear(6, 3), "up": nn.Linear(3, 6), "pool": nn.AdaptiveAvgPool2d(1), "act": gate}
    convolutions = {"conv_down": nn.Conv2d(6, 2, 1), "conv_up": nn.Conv2d(2, 6, 1, bias=False)}
    check(_Around(block, **layers, **convolutions), engine, 3)


def test_an_expanded_gate_is_multiplied_without_a_copy():
    model = mnistcnn.from_torch(_Around(lambda net, x: x * _gate(x).expand_as(x)))
    assert "expand" not in {op for _, op, _, _ in model.rows}


# ---- detach


@pytest.mark.parametrize("engine", ENGINES)
def test_detached_parameters_get_no_gradient(engine: str):
    """Parameters before a detach keep ``grad`` None. Training does not change them, including weight decay."""
    torch.manual_seed(0)
    module = _Around(lambda net, x: torch.tanh(x).detach())
    check(module, engine, 0)
    assert module.conv.weight.grad is None
    before = module.conv.weight.detach().clone()
    labels = torch.arange(40) % 10
    images = torch.randint(0, 255, (40, 1, 28, 28), dtype=torch.uint8)
    digits = mnistcnn.ImageSet.from_arrays(images.numpy(), labels.numpy())
    mnistcnn.train(
        module, digits, epochs=1, batch_size=20, optimizer=mnistcnn.optim.SGD(lr=0.1, weight_decay=0.1), progress=False,
        engine=engine,
    )  # fmt: skip
    assert torch.equal(module.conv.weight, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_detach_before_one_of_several_outputs(engine: str):
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head, self.probe = nn.Linear(784, 8), nn.Linear(8, 10), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = F.relu(self.body(x.flatten(1)))
            return self.head(features), self.probe(features.detach())

    module = TwoHeads()
    exact = copy.deepcopy(module)
    model = mnistcnn.accelerate(module)
    model_of(module).engine = engine
    images = torch.randn(5, 1, 28, 28)
    for used in ((0, 1), (1,), (0,)):
        for network in (model, exact):
            network.zero_grad()
            outputs = network(images)
            sum(outputs[each].square().sum() for each in used).backward()
        for computed, wanted in zip(model.parameters(), exact.parameters(), strict=True):
            assert (computed.grad is None) == (wanted.grad is None), used
            if wanted.grad is not None:
                torch.testing.assert_close(computed.grad, wanted.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_amax_of_a_row_with_nan_has_nan_gradients(engine: str):
    """As in PyTorch: only at the elements of this row."""
    model = mnistcnn.Model([mnistcnn.layers.Amax(2), mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)], (1, 6, 6))
    model.engine = engine
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    images[1, 0, 2, 3] = torch.nan
    leaf = images.clone().requires_grad_()
    (model(leaf) * torch.linspace(-1, 1, 10)).sum().backward()
    expected = torch.zeros(3, 1, 6, 6, dtype=torch.bool)
    expected[1, 0, 2] = True
    assert leaf.grad is not None
    assert leaf.grad.isnan().equal(expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_of_amax_on_the_background_of_a_digit(engine: str, digits: Any):
    """Equal patches of an image have equal outputs, so each gets the same share of the gradient."""
    torch.manual_seed(0)
    convolutions = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolutions, self.fc = convolutions, nn.Linear(16 * 28, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.convolutions(x).amax(3).flatten(1))

    exact = copy.deepcopy(Net()).double()
    model = mnistcnn.from_torch(Net())
    model.engine = engine
    exact.load_state_dict(model.state_dict())
    images = torch.tensor(digits[0].images[:16]).float().div(255)
    output_gradients = torch.randn(16, 10)
    results = [_outputs_and_gradients(net, net, images.to(dtype), output_gradients.to(dtype))
               for net, dtype in ((model, torch.float32), (exact, torch.float64))]  # fmt: skip
    computed, wanted = results[0][1], results[1][1]
    # A misplaced gradient is as large as the gradient itself; sums of a few hundred terms differ by 1e-6 of it.
    assert (computed - wanted).abs().max() <= 1e-5 * wanted.abs().max()


# ---- unsupported operations

UNSUPPORTED: dict[str, tuple[Any, str]] = {
    "expand in front": (lambda net, x: x.flatten(1).expand(x.size(0), *x.flatten(1).shape).mean(0),
                        "function expand: it adds dimensions in front of the batch"),
    "stack alone": (lambda net, x: torch.stack([x, x]).tanh().sum(0),
                    r"function stack: it stacks tensors along dimension 0, .*sum\(0\)"),
    "stack, max": (lambda net, x: torch.stack([x, x.tanh()]).max(0)[0], r"function max: .*use amax\(0\)"),
    "whole amax": (lambda net, x: x / x.amax(), "function amax: .*over all images of the batch"),
    "whole max": (lambda net, x: x / x.max(), "function max: .*over all images of the batch"),
    "amax of images": (lambda net, x: x - x.amax(0), "function amax: it operates along dimension 0"),
    "maximum with a number": (lambda net, x: torch.maximum(x, torch.tensor(0.1)),
                              "function maximum: it compares with a constant; use torch.clamp"),
    "min of rows": (lambda net, x: x + x.min(2, True)[0], "function min: .*two tensors only"),
    "ranks": (lambda net, x: x + x[:, 0], "function add: it adds values of shapes .*does not broadcast"),
    "rounding": (lambda net, x: torch.div(x, 2.0, rounding_mode="floor"),
                 "function div: rounding_mode='floor' is not supported"),
    "zero": (lambda net, x: x / 0.0, "function div: it divides by the constant 0"),
    "parameter below": (lambda net, x: x / net.fc.bias[0], "parameter 'fc.bias' directly"),
}  # fmt: skip


@pytest.mark.parametrize(
    "function",
    [lambda x: x + x.mean(dim=()), lambda x: F.hardtanh(x, 0.0, 0.0)],
    ids=["mean over no dimension", "hardtanh"],
)
def test_arguments_that_a_handler_does_not_expect(function: Any):
    with pytest.raises(mnistcnn.ConversionError, match=r"test_operations.py:\d+: .*its arguments are not supported"):
        mnistcnn.from_torch(_Pointwise(function), (16,))


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_the_error_names_the_operation_and_the_line(case: str):
    function, message = UNSUPPORTED[case]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(784, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(function(self, x).reshape(len(x), -1)[:, :784])

    with pytest.raises(mnistcnn.ConversionError) as caught:
        mnistcnn.from_torch(Net())
    text = own_message(caught.value, __file__)
    assert re.search(rf"^test_operations.py:\d+: .*{message}", text), text
