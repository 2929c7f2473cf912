"""Features that are read from the graph of a network: batch normalization, dropout, global pooling, Linear."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mnistcnn
from mnistcnn.course.structure import Feature, features
from mnistcnn.layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, Flatten, Linear

Head = Callable[[torch.Tensor], torch.Tensor]


class Net(nn.Module):
    """Convolution with 8 channels of 26x26, and a function of its outputs."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.unused = nn.Sequential(nn.BatchNorm2d(8), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 10))
        self.point = nn.Conv2d(8, 10, 1)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x)).flatten(1)


def found(head: Head) -> dict[str, Feature]:
    return features(mnistcnn.from_torch(Net(head)))


@pytest.mark.parametrize(
    "head",
    [
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.avg_pool2d(x, 26),
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((-1, -2), keepdim=True),
        lambda x: x.mean(3).mean(2),
        lambda x: x.flatten(2).mean(2),
        lambda x: x.transpose(1, 3).mean((1, 2)),
        lambda x: x.sum((2, 3)) / 676,
        lambda x: F.adaptive_avg_pool2d(F.avg_pool2d(x, 3), 1),  # of the smaller map: 24 of 26 positions are used
    ],
)
def test_mean_over_all_positions_is_global_average_pooling(head: Head) -> None:
    assert len(found(head)["gap"].nodes) == 1


@pytest.mark.parametrize(
    "head",
    [
        lambda x: x,
        lambda x: x.mean(3),
        lambda x: x.mean(1),
        lambda x: x.mean((1, 2)),
        lambda x: x.mean((1, 2, 3), keepdim=True),
        lambda x: x.amax((2, 3)),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 26, 1, 13),
        lambda x: F.adaptive_avg_pool2d(x, (1, 2)),
    ],
)
def test_other_reductions_are_not_global_average_pooling(head: Head) -> None:
    assert found(head)["gap"].nodes == ()


def test_pool_that_covers_part_of_the_map_is_named() -> None:
    assert str(found(lambda x: F.avg_pool2d(x, 20))["gap"]) == "none; avg_pool2d averages 20x20 of a 26x26 map"
    assert "averages 3x3 of a 5x5 map" in str(features(mnistcnn.create_model("session7_net"))["gap"])


def test_pool_of_a_single_position_has_no_effect() -> None:
    model = mnistcnn.Model([Conv2d(10, 28), AdaptiveAvgPool2d(1), Flatten()])
    assert str(features(model)["gap"]) == "none; 1 has no effect: its input is a 1x1 map"


def test_global_pool_of_the_image_itself() -> None:
    assert features(mnistcnn.Model([AvgPool2d(28), Flatten(), Linear(10)]))["gap"].nodes == ("0",)


def test_modules_that_are_not_called_do_not_count() -> None:
    assert {name: each.nodes for name, each in found(lambda x: x).items()} == dict.fromkeys(
        ("batchnorm", "dropout", "gap", "linear"), ()
    )


def test_functions_count_as_layers() -> None:
    net = Net(lambda x: x)
    net.weight = nn.Parameter(torch.ones(10, 8))
    net.head = lambda x: F.linear(F.dropout(x.mean((2, 3)), 0.1, net.training), net.weight)
    counts = {name: len(each.nodes) for name, each in features(mnistcnn.from_torch(net)).items()}
    assert counts == {"batchnorm": 0, "dropout": 1, "gap": 1, "linear": 1}


def test_dropout_without_effect_or_in_evaluation_is_named() -> None:
    assert str(found(lambda x: F.dropout(x, 0.0))["dropout"]) == "none; dropout has no effect: p is 0 or training=False"
    assert "drops in evaluation too" in str(found(lambda x: F.dropout(x, 0.1))["dropout"])
    assert str(found(lambda x: F.dropout2d(x, 0.1, False))["dropout"]).startswith("none; dropout2d has no")


def test_convolution_that_covers_the_map_is_named_but_is_not_linear() -> None:
    net = Net(lambda x: x)
    net.head = lambda x: net.point(x.mean((2, 3), keepdim=True))
    linear = features(mnistcnn.from_torch(net))["linear"]
    assert linear.nodes == ()
    assert "the kernel of point covers the whole map, which is equivalent to Linear" in str(linear)
    net.head = lambda x: net.point(x).mean((2, 3))
    assert str(features(mnistcnn.from_torch(net))["linear"]) == "none"


def test_long_lists_of_layers_are_shortened() -> None:
    assert str(Feature(("a", "b", "c", "d", "e"))) == "a, b, c and 2 more"
