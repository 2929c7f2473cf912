"""Dropout in converted networks: rate, scale and shape of the masks as in PyTorch, in training and in evaluation."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mnistcnn
from messages import own_message
from mnistcnn._internal.native import core

pytestmark = [
    pytest.mark.usefixtures("torch_randomness_restored"),
    pytest.mark.filterwarnings("ignore:dropout2d:UserWarning"),
]
SHAPE = (8, 6, 6)
ONES = torch.ones(256, *SHAPE)
Forward = Callable[[Any, torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """A forward around a function, with a convolution that keeps every value."""

    def __init__(self, function: Forward, **members: Any) -> None:
        super().__init__()
        self.same = nn.Conv2d(8, 8, 1, groups=8, bias=False)
        nn.init.ones_(self.same.weight)
        self.function, self.p = function, 0.25
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, self.same(x))


def _in_place(net: Any, x: torch.Tensor) -> torch.Tensor:
    F.dropout(x, 0.5, net.training, inplace=True)
    return x


def _in_place_by_name(net: Any, x: torch.Tensor) -> torch.Tensor:
    torch.dropout_(x, 0.5, net.training)
    return x


def _in_training_only(net: Any, x: torch.Tensor) -> torch.Tensor:
    if net.training:
        x = F.dropout(x, 0.5)
    return F.dropout(torch.relu(x), 0.2, net.training)


def _two_in_training_only(net: Any, x: torch.Tensor) -> torch.Tensor:
    kept = x
    if net.training:
        x = F.dropout2d(F.dropout(x, 0.5), 0.2)
    return x + kept


DROPOUTS: dict[str, Forward] = {
    "follows": lambda net, x: F.dropout(x, 0.5, training=net.training),
    "positions": lambda net, x: F.dropout(x, 0.75, net.training),
    "keywords": lambda net, x: F.dropout(input=x, p=0.5, training=net.training, inplace=False),
    "member": lambda net, x: nn.functional.dropout(x, net.p, net.training),
    "stays on": lambda net, x: F.dropout(x, 0.5),
    "stays on, default": lambda net, x: F.dropout(x),
    "never": lambda net, x: F.dropout(x, 0.5, training=False),
    "of nothing": lambda net, x: F.dropout(x, 0.0),
    "of all": lambda net, x: F.dropout(x, 1.0, net.training),
    "by p": lambda net, x: F.dropout(x, 0.5 if net.training else 0.0),
    "torch": lambda net, x: torch.dropout(x, 0.5, net.training),
    "torch, keywords": lambda net, x: torch.dropout(x, p=0.5, train=net.training),
    "in place": _in_place,
    "in place by name": _in_place_by_name,
    "in training only": _in_training_only,
    "two in training only": _two_in_training_only,
    "last, in training only": lambda net, x: F.dropout(x, 0.5) if net.training else x,
    "of nothing, in training only": lambda net, x: F.dropout(x, 0.0) if net.training else x,
    "features": lambda net, x: F.dropout(x.flatten(1), 0.5, net.training),
    "channels": lambda net, x: F.dropout2d(x, 0.5, net.training),
    "channels stay on": lambda net, x: F.dropout2d(x, 0.5),
    "channels of features": lambda net, x: F.dropout2d(x.flatten(1), 0.5, net.training),
    "channels of rows": lambda net, x: F.dropout1d(x.flatten(2), 0.5, net.training),
    "channels of volumes": lambda net, x: F.dropout3d(x.unsqueeze(2), 0.5, net.training),
    "feature dropout": lambda net, x: torch.feature_dropout(x, 0.5, net.training),
    "both": lambda net, x: F.dropout(F.dropout2d(x, 0.5, net.training), 0.2),
}
KEEP_MAPS = [kind for kind in DROPOUTS if not kind.startswith(("features", "channels of", "of all"))]
LAYERS: dict[str, tuple[Callable[[], nn.Module], Forward]] = {
    "Dropout": (lambda: nn.Dropout(0.5), lambda net, x: net.drop(x)),
    "Dropout in place": (lambda: nn.Dropout(0.5, inplace=True), lambda net, x: net.drop(x)),
    "Dropout1d": (lambda: nn.Dropout1d(0.5), lambda net, x: net.drop(x.flatten(2))),
    "Dropout2d": (lambda: nn.Dropout2d(0.5), lambda net, x: net.drop(x)),
    "Dropout3d": (lambda: nn.Dropout3d(0.5), lambda net, x: net.drop(x[:, :, None])),
    "in a block": (lambda: Net(DROPOUTS["follows"]), lambda net, x: net.drop(x)),
    "in a block in a block": (lambda: nn.Sequential(nn.Tanh(), Net(DROPOUTS["stays on"])), lambda net, x: net.drop(x)),
}


def statistics(outputs: torch.Tensor) -> tuple[set[float], float, float]:
    """Return the set of values, the fraction of kept elements, and the fraction of dropped channels."""
    maps = outputs.detach().reshape(-1, 8, 36)
    values = {round(value, 4) for value in maps.unique().tolist()}
    return values, (maps != 0).float().mean().item(), (maps == 0).all(2).float().mean().item()


def check_against_pytorch(module: nn.Module) -> None:
    """Compare with PyTorch in both modes, in alternation, including whether two calls have different masks."""
    model = mnistcnn.from_torch(module, SHAPE)
    assert core.lanes_unsupported_reason(model._network) is None
    for training in (True, False, True):
        model.train(training), module.train(training)
        desired, actual = [module(ONES) for _ in range(2)], [model(ONES) for _ in range(2)]
        with torch.no_grad():
            actual.append(model(ONES))
        values, kept, dropped = statistics(desired[0])
        for each in actual:
            assert statistics(each)[0] == values
            assert statistics(each)[1:] == pytest.approx((kept, dropped), abs=0.06)
        changes = not torch.equal(*desired)
        assert torch.equal(actual[0], actual[1]) is not changes
        assert torch.equal(actual[1], actual[2]) is not changes


@pytest.mark.parametrize("kind", DROPOUTS)
def test_a_function(kind: str):
    check_against_pytorch(Net(DROPOUTS[kind]))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer(kind: str):
    make, function = LAYERS[kind]
    check_against_pytorch(Net(function, drop=make()))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed: int):
    """Several kinds of dropout in a chain of nested modules."""
    print("seed", seed)
    draw = random.Random(seed)
    module: nn.Module = nn.Identity()
    for _ in range(draw.randint(2, 4)):
        keeps_maps = [
            kind for kind in DROPOUTS if Net(DROPOUTS[kind])(ONES[:2]).shape[1:] == SHAPE and "all" not in kind
        ]
        layers = [Net(DROPOUTS[draw.choice(keeps_maps)]), nn.Dropout2d(0.2), nn.Dropout(0.3)]
        module = nn.Sequential(module, draw.choice(layers))
    check_against_pytorch(module)


@pytest.mark.parametrize("training", [True, False])
def test_a_module_traced_by_torch_fx_keeps_its_mode(training: bool):
    """torch.fx stores the flag as a constant, so the traced module does not follow its mode in PyTorch either."""
    module = Net(lambda net, x: F.dropout(net.drop(x), 0.5, net.training), drop=nn.Dropout2d(0.2))
    check_against_pytorch(torch.fx.symbolic_trace(module.train(training)))


@pytest.mark.parametrize("always", [False, True])
def test_gradients_use_the_mask_of_the_outputs(always: bool):
    """Also if another forward pass runs in between, so that the first one is repeated."""
    model = mnistcnn.from_torch(Net(DROPOUTS["stays on" if always else "follows"]), SHAPE).train(not always)
    images = ONES.clone().requires_grad_()
    outputs = model(images)
    model(images)
    outputs.sum().backward()
    assert torch.equal(images.grad, outputs)


def test_chunks_of_a_large_batch_have_different_masks():
    """Without gradients, a batch is computed in chunks."""
    model = mnistcnn.from_torch(Net(DROPOUTS["stays on"]), SHAPE).eval()
    with torch.no_grad():
        outputs = model(torch.ones(2048, *SHAPE))
    assert not torch.equal(outputs[:1024], outputs[1024:])


def test_a_block_in_another_mode_runs_in_pytorch():
    module = nn.Sequential(Net(DROPOUTS["follows"]), nn.Tanh())
    model = mnistcnn.accelerate(module, SHAPE)
    module[0].eval()
    with pytest.warns(mnistcnn.EngineWarning, match="in another mode"):
        assert statistics(model(ONES))[1] == 1.0
    model.train()
    assert statistics(model(ONES))[1] == pytest.approx(0.5, abs=0.05)


UNSUPPORTED: dict[str, tuple[Forward, str]] = {
    "alpha": (lambda net, x: F.alpha_dropout(x, 0.5, net.training), "the function alpha_dropout; use Drop"),
    "feature alpha": (lambda net, x: F.feature_alpha_dropout(x, 0.5, net.training), "feature_alpha_dropout; use Drop"),
    "bernoulli": (lambda net, x: x * torch.bernoulli(torch.full_like(x, 0.5)), "the function bernoulli; use Dropout"),
    "whole images": (lambda net, x: F.dropout3d(x, 0.5, net.training), "dropout3d: it drops whole images"),
    "other rate": (lambda net, x: F.dropout(x, 0.5 if net.training else 0.2), "drops 0.5 in training and 0.2 in eval"),
    "inverted flag": (lambda net, x: F.dropout(x, 0.5, not net.training), "dropout' .*in evaluation mode while"),
    "evaluation only": (lambda net, x: x if net.training else F.dropout(x), "only in evaluation .* 'dropout'"),
    "not dropout": (lambda net, x: torch.relu(x) if net.training else x, "only in training it ends with 'relu'"),
    "another layer": (lambda net, x: F.dropout(x.tanh() if net.training else x.sin()), "not support the function sin"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_the_error_names_the_unsupported_operation(case: str):
    function, message = UNSUPPORTED[case]
    with pytest.raises(mnistcnn.ConversionError) as caught:
        mnistcnn.from_torch(Net(function), SHAPE)
    assert re.search(message, own_message(caught.value, __file__))
    assert "test_modes.py:" in str(caught.value)
