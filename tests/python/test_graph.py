"""From nested layers to named nodes, and what wrong networks are told."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mnistcnn
import mnistcnn.layers as m
from mnistcnn.nn.graph import build_rows
from reference import Twin


def names(layers: Any) -> list[str]:
    return [name for name, _, _, _ in build_rows(layers)]


def inputs(layers: Any) -> dict[str, list[str]]:
    """Each node's inputs by name."""
    rows = build_rows(layers)
    called = ["input", *(name for name, _, _, _ in rows)]
    return {name: [called[each + 1] for each in before] for name, _, before, _ in rows}


# ---- names


def test_lists_are_numbered_as_in_sequential():
    layers = [m.Conv2d(2, 3), [m.ReLU(), m.Conv2d(2, 3)], m.Flatten()]
    assert names(layers) == ["0", "1.0", "1.1", "2"]
    torch_names = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(2, 2, 3)), torch.nn.Flatten()
    ).state_dict()
    assert list(mnistcnn.Model(layers).state_dict()) == list(torch_names)


def test_mappings_give_their_keys():
    assert names({"stem": m.Conv2d(2, 3), "body": {"a": m.ReLU(), "b": [m.Tanh()]}}) == ["stem", "body.a", "body.b.0"]


def test_a_single_layer_is_a_network():
    assert names(m.Flatten()) == ["0"]
    assert mnistcnn.Model(m.Flatten()).output_shape == (784,)
    assert names(m.Residual(m.Tanh())) == ["0.0", "0.add"]


def test_chains_take_the_node_before():
    assert inputs([m.ReLU(), [m.Tanh()], m.Flatten()]) == {"0": ["input"], "1.0": ["0"], "2": ["1.0"]}


def test_residuals():
    plain = {"x": m.ReLU(), "block": m.Residual([m.Conv2d(1, 1), m.Tanh()])}
    assert inputs(plain)["block.add"] == ["block.1", "x"]
    with_shortcut = {"block": m.Residual({"conv": m.Conv2d(2, 1)}, shortcut=[m.Conv2d(2, 1), m.BatchNorm2d()])}
    assert inputs(with_shortcut) == {
        "block.conv": ["input"],
        "block.shortcut.0": ["input"],
        "block.shortcut.1": ["block.shortcut.0"],
        "block.add": ["block.conv", "block.shortcut.1"],
    }


def test_branches():
    layers = [m.ReLU(), m.Branches([m.Tanh(), [m.Sigmoid(), m.ReLU()], []])]
    assert inputs(layers) == {
        "0": ["input"],
        "1.0.0": ["0"],
        "1.1.0": ["0"],
        "1.1.1": ["1.1.0"],
        "1.concat": ["1.0.0", "1.1.1", "0"],
    }
    assert mnistcnn.Model(layers).output_shape == (3, 28, 28)
    assert names([m.Branches({"left": m.ReLU(), "right": m.Tanh()})]) == ["0.left.0", "0.right.0", "0.concat"]


def test_named_inputs_are_looked_up_from_the_inside_out():
    layers = {
        "a": m.ReLU(),
        "block": {"a": m.Tanh(), "b": m.Node(m.Add(), ("a", "input")), "c": m.Node(m.Add(), ("block.a", "b"))},
        "last": m.Node(m.Add(), ("a", "block", "block.a")),
    }
    found = inputs(layers)
    assert found["block.b"] == ["block.a", "input"]
    assert found["block.c"] == ["block.a", "block.b"]
    assert found["last"] == ["a", "block.c", "block.a"]


def test_nested_forks_compute_what_they_say():
    """Written out with torch operators."""
    layers = {
        "stem": m.Conv2d(3, 3, padding=1),
        "block": m.Residual([m.Branches([m.Tanh(), m.Conv2d(2, 1)]), m.Conv2d(3, 1)]),
        "sum": m.Node(m.Add(), ("stem", "block", "stem")),
    }
    model = mnistcnn.Model(layers, (1, 5, 5), seed=1)
    x = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    p = dict(model.named_parameters())
    conv = torch.nn.functional.conv2d
    stem = conv(x, p["stem.weight"], p["stem.bias"], padding=1)
    both = torch.cat([stem.tanh(), conv(stem, p["block.0.1.0.weight"], p["block.0.1.0.bias"])], 1)
    block = conv(both, p["block.1.weight"], p["block.1.bias"]) + stem
    torch.testing.assert_close(model(x), stem + block + stem)
    torch.testing.assert_close(Twin(model)(x), stem + block + stem)


# ---- wrong networks: the node, and what is wrong with it


@pytest.mark.parametrize(
    ("layers", "error", "text"),
    [
        (
            [m.Conv2d(2, 31)],
            ValueError,
            r"node '0' \(conv2d\): the kernel's height 31 is larger than the padded input's 28 \(input \[1, 28, 28\]\)",
        ),
        (
            [m.MaxPool2d(20), m.MaxPool2d(2)],
            ValueError,
            r"node '1' \(maxpool2d\): the kernel's height 2 is larger than the padded input's 1 \(input \[1, 1, 1\]\)",
        ),
        ([m.Conv2d(2, 3, dilation=14)], ValueError, r"node '0' \(conv2d\): the kernel's height 29 is larger"),
        (
            [m.Linear(10)],
            ValueError,
            r"node '0' \(linear\): requires a flat input .* \[1, 28, 28\]; put a Flatten\(\) before it",
        ),
        (
            [m.Flatten(), m.Conv2d(2, 3)],
            ValueError,
            r"node '1' \(conv2d\): convolution .* feature map .* \[784\]",
        ),
        ([m.Flatten(), m.MaxPool2d(2)], ValueError, r"node '1' \(maxpool2d\): max pooling .* feature map .* \[784\]"),
        (
            [m.Flatten(), m.BatchNorm2d()],
            ValueError,
            r"node '1' \(batchnorm2d\): batch norm 2d .* feature map .* \[784\]",
        ),
        ([m.BatchNorm1d()], ValueError, r"node '0' \(batchnorm1d\): .* flat input .* \[1, 28, 28\]; use BatchNorm2d"),
        (
            [m.Conv2d(3, 3, groups=2)],
            ValueError,
            r"node '0' \(conv2d\): groups=2 must divide both the 1 input channels and the 3 output channels",
        ),
        ([m.GroupNorm(2)], ValueError, r"node '0' \(groupnorm\): groups=2 must divide the 1 channels"),
        (
            [m.LayerNorm((28, 27))],
            ValueError,
            r"node '0' \(layernorm\): normalized_shape \[28, 27\] .* input \[1, 28, 28\]",
        ),
        ([m.PReLU(3)], ValueError, r"node '0' \(prelu\): count=3 must be 1 or the number of channels, 1"),
        (
            [m.AvgPool2d(2, padding=2)],
            ValueError,
            r"node '0' \(avgpool2d\): padding \[2, 2\] must be at most half of the kernel \[2, 2\]",
        ),
        ([m.Dropout(1.5)], ValueError, r"node '0' \(dropout\): probability 1.5 must be between 0 and 1"),
        ([m.Flatten(), m.Dropout2d(0.5)], ValueError, r"node '1' \(dropout2d\): dropout 2d .* feature map .* \[784\]"),
        ([m.Conv2d(0, 3)], ValueError, r"node '0' \(conv2d\): out_channels=0 must be at least 1"),
        ([m.Conv2d(2, 3, stride=0)], ValueError, r"node '0' \(conv2d\): stride=0 must be at least 1"),
        ([m.Conv2d(2, 3, padding=-1)], ValueError, r"node '0' \(conv2d\): padding=-1 must not be negative"),
        ([m.AdaptiveAvgPool2d(0)], ValueError, r"node '0' \(adaptive_avgpool2d\): output=0 must be at least 1"),
        ([m.BatchNorm2d(eps=0.0)], ValueError, r"node '0' \(batchnorm2d\): eps=0 must be above 0"),
        (
            [m.BatchNorm2d(momentum=-0.5)],
            ValueError,
            r"node '0' \(batchnorm2d\): momentum must not be negative, got -0.5",
        ),
        ([m.Permute((0, 1))], ValueError, r"node '0' \(permute\): .*\[1, 28, 28\]"),
        ([m.Permute((0, 1, 1))], ValueError, r"node '0' \(permute\)"),
        ([m.Slice(1, 3, 40)], ValueError, r"node '0' \(slice\)"),
        ([m.Slice(3, 0, 1)], ValueError, r"node '0' \(slice\)"),
        ([m.Expand((3, 28))], ValueError, r"node '0' \(expand\): cannot expand .*\[1, 28, 28\] to shape \[3, 28\]"),
        ([m.Expand((3, 28, 56))], ValueError, r"node '0' \(expand\): .* only dimensions of size 1 can change"),
        ([m.Expand((0, 28, 28))], ValueError, r"node '0' \(expand\): shape=0 must be at least 1"),
        ([m.Amax(3)], ValueError, r"node '0' \(amax\): dimension 3 is out of range .* \[1, 28, 28\]"),
        ([m.Softplus(0.0)], ValueError, r"node '0' \(softplus\): beta=0 must be finite and not 0"),
        ([m.Add()], ValueError, r"node '0' \(add\): requires two or more inputs, got 1"),
        (
            {"a": m.Conv2d(2, 3), "b": m.Node(m.Add(), ("a", "input"))},
            ValueError,
            r"node 'b' \(add\): requires inputs of the same shape, got \[2, 26, 26\] and \[1, 28, 28\]",
        ),
        (
            {"a": m.MaxPool2d(2), "b": m.Node(m.Concat(), ("a", "input"))},
            ValueError,
            r"node 'b' \(concat\): .* same height and width, got \[1, 14, 14\] and \[1, 28, 28\]",
        ),
        (
            {"a": m.ReLU(), "b": m.Node(m.Tanh(), ("a", "input"))},
            ValueError,
            r"node 'b' \(tanh\): requires one input, got 2",
        ),
        ({"b": m.Node(m.Add(), ())}, ValueError, r"node 'b' has no input"),
        (
            {"b": m.Node(m.Tanh(), ("later",)), "later": m.ReLU()},
            ValueError,
            r"node 'b' takes the input 'later', but before it there are only: input",
        ),
        (
            [m.Residual([m.Conv2d(2, 3)])],
            ValueError,
            r"node '0.add' \(add\): requires inputs of the same shape, got \[2, 26, 26\] and \[1, 28, 28\]",
        ),
        ([m.Residual({"add": m.Tanh()})], ValueError, r"node '0.add' \(add\): another node has the same name"),
        (
            [m.Conv2d(2, 3, stride=2, padding="same")],
            ValueError,
            r"node '0' \(conv2d\): padding=\"same\" needs stride 1, got stride=2",
        ),
        (
            [m.Conv2d(2, 3, padding="full")],
            ValueError,
            r"node '0' \(conv2d\): padding must be \"same\", \"valid\", an integer or a pair, got 'full'",
        ),
        (
            [m.Conv2d(2, 2.5)],
            TypeError,
            r"node '0' \(conv2d\): kernel_size must be an integer or a pair of integers \(height, width\), got 2.5",
        ),
        ([m.Conv2d(2, (3, 3, 3))], TypeError, r"node '0' \(conv2d\): kernel_size must be"),
        ([m.Linear("ten")], ValueError, r"linear: out_features='ten' has the wrong type"),
        ([m.GELU("fast")], ValueError, r"node '0' \(gelu\): approximate must be"),
        ([m.Conv2d(2**31, 3)], ValueError, r"node '0' \(conv2d\): .* too large"),
        ([], ValueError, "a network needs at least one layer"),
        ({"a.b": m.ReLU()}, ValueError, "a layer's name must be a non-empty string without dots, got 'a.b'"),
        ({"": m.ReLU()}, ValueError, "a layer's name must be a non-empty string without dots, got ''"),
        ({3: m.ReLU()}, ValueError, "a layer's name must be a non-empty string without dots, got 3"),
        (
            [torch.nn.ReLU()],
            TypeError,
            r"ReLU\(\) at '0' is not a layer; use mnistcnn's layers here, such as mnistcnn.layers.ReLU\(\)",
        ),
        ([m.ReLU], TypeError, r"at '0' is not a layer; call it: add \(\)"),
        (["relu"], TypeError, r"'relu' at '0' is not a layer"),
        (None, TypeError, r"None in the list of layers is not a layer"),
    ],
)
def test_wrong_networks(layers: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        mnistcnn.Model(layers)


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28, 1), (0, 28, 28), (1, -1, 28), (1, 2.5, 28), "abc", 28])
def test_wrong_input_shapes(shape: Any):
    with pytest.raises(
        ValueError, match=r"input_shape must be \(channels, height, width\), whole numbers of at least 1"
    ):
        mnistcnn.Model([m.Flatten()], shape)
