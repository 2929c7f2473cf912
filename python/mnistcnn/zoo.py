"""The published networks, layer by layer as their authors wrote them.

The order of batch norm, activation and dropout differs from network to network, and so does what the last layer
gives; none of it is tidied up here.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mnistcnn.checks import did_you_mean, whole_number
from mnistcnn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaxPool2d,
    ReLU,
)
from mnistcnn.normalization import MNIST, UNIT, Normalization

if TYPE_CHECKING:
    from mnistcnn.model import Model

Network = dict[str, Layer | list[Layer]]


def _conv(channels: int, kernel: int = 3, padding: int = 0) -> list[Layer]:
    return [Conv2d(channels, kernel, padding=padding, bias=False)]


def _conv_norm_relu(channels: int, kernel: int = 3, padding: int = 0) -> list[Layer]:
    return [*_conv(channels, kernel, padding), BatchNorm2d(), ReLU()]


def _conv_relu_norm_drop(channels: int, padding: int = 0, p: float = 0.1) -> list[Layer]:
    return [*_conv(channels, 3, padding), ReLU(), BatchNorm2d(), Dropout(p)]


def _conv_norm_leaky_drop(channels: int) -> list[Layer]:
    return [*_conv(channels), BatchNorm2d(), LeakyReLU(0.1), Dropout(0.0)]


def assignment7_model1(classes: int) -> Network:
    """The large skeleton: seven convolutions with biases."""
    return {
        "conv1": Conv2d(32, 3, padding=1),
        "relu1": ReLU(),
        "conv2": Conv2d(64, 3, padding=1),
        "relu2": ReLU(),
        "pool1": MaxPool2d(2),
        "conv3": Conv2d(128, 3, padding=1),
        "relu3": ReLU(),
        "conv4": Conv2d(256, 3, padding=1),
        "relu4": ReLU(),
        "pool2": MaxPool2d(2),
        "conv5": Conv2d(512, 3),
        "relu5": ReLU(),
        "conv6": Conv2d(1024, 3),
        "relu6": ReLU(),
        "conv7": Conv2d(classes, 3),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def assignment7_model2(classes: int) -> Network:
    """Batch norm, and a last convolution as large as its map."""
    return {
        "convblock1": _conv_norm_relu(10, padding=1),
        "convblock2": _conv_norm_relu(10, padding=1),
        "convblock3": _conv_norm_relu(20, padding=1),
        "pool1": MaxPool2d(2),
        "convblock4": _conv_norm_relu(10, 1),
        "convblock5": _conv_norm_relu(10, padding=1),
        "convblock6": _conv_norm_relu(20, padding=1),
        "pool2": MaxPool2d(2),
        "convblock7": _conv_norm_relu(10, 1),
        "convblock8": _conv(classes, 7),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def assignment7_model3(classes: int) -> Network:
    """Global average pooling instead of the large convolution; its log-probabilities follow a ReLU."""
    return {
        "convblock1": _conv_norm_relu(10, padding=1),
        "convblock2": _conv_norm_relu(10, padding=1),
        "convblock3": _conv_norm_relu(20, padding=1),
        "dropout1": Dropout(0.25),
        "pool1": MaxPool2d(2),
        "convblock4": _conv_norm_relu(10, 1),
        "convblock5": _conv_norm_relu(10, padding=1),
        "convblock6": _conv_norm_relu(20, padding=1),
        "dropout2": Dropout(0.25),
        "pool2": MaxPool2d(2),
        "convblock7": _conv_norm_relu(classes, 1),
        "gap": AvgPool2d(7),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def _assignment7_456(channels: tuple[int, ...], classes: int) -> Network:
    first, second, third, fourth, fifth, sixth = channels
    return {
        "convblock1": _conv_relu_norm_drop(first),
        "convblock2": _conv_relu_norm_drop(second),
        "convblock3": _conv(10, 1),
        "pool1": MaxPool2d(2),
        "convblock4": _conv_relu_norm_drop(third),
        "convblock5": _conv_relu_norm_drop(fourth),
        "convblock6": _conv_relu_norm_drop(fifth),
        "convblock7": _conv_relu_norm_drop(sixth, padding=1),
        "gap": AvgPool2d(6),
        "convblock8": _conv(classes, 1),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def assignment7_model4(classes: int) -> Network:
    """Batch norm after the activation, dropout in every block."""
    return _assignment7_456((16, 16, 16, 16, 16, 16), classes)


def assignment7_model5(classes: int) -> Network:
    """Model 4 with a narrower beginning."""
    return _assignment7_456((8, 8, 16, 16, 16, 16), classes)


def assignment7_model6(classes: int) -> Network:
    """Model 5 with other widths."""
    return _assignment7_456((8, 8, 8, 8, 32, 16), classes)


def assignment7_model7(classes: int) -> Network:
    """Four blocks and a global average."""
    return {
        "convblock1": _conv_relu_norm_drop(8),
        "convblock2": _conv_relu_norm_drop(16),
        "convblock3": _conv(10, 1),
        "pool1": MaxPool2d(2),
        "convblock4": _conv_relu_norm_drop(16),
        "convblock5": _conv_relu_norm_drop(16),
        "gap": AdaptiveAvgPool2d(1),
        "convblock6": _conv(classes, 1),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def assignment7_model8(classes: int) -> Network:
    """Leaky ReLUs, and a dropout of probability 0."""
    return {
        "convblock1": _conv_norm_leaky_drop(8),
        "convblock2": _conv_norm_leaky_drop(16),
        "convblock3": _conv(8, 1),
        "pool1": MaxPool2d(2),
        "convblock4": _conv_norm_leaky_drop(12),
        "convblock5": _conv_norm_leaky_drop(16),
        "convblock6": _conv_norm_leaky_drop(24),
        "gap": AdaptiveAvgPool2d(1),
        "convblock7": _conv(classes, 1),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def era5_net(classes: int) -> Network:
    """Four wide convolutions and two linear layers, nothing with a bias; pooling comes before the activation."""
    return {
        "conv1": Conv2d(32, 3, bias=False),
        "relu1": ReLU(),
        "conv2": Conv2d(64, 3, bias=False),
        "pool1": MaxPool2d(2),
        "relu2": ReLU(),
        "conv3": Conv2d(128, 3, bias=False),
        "relu3": ReLU(),
        "conv4": Conv2d(256, 3, bias=False),
        "pool2": MaxPool2d(2),
        "relu4": ReLU(),
        "flatten": Flatten(),
        "fc1": Linear(50, bias=False),
        "relu5": ReLU(),
        "fc2": Linear(classes, bias=False),
        "log_softmax": LogSoftmax(),
    }


def _budget_12(widths: tuple[int, int, int], dropout: Network, classes: int) -> Network:
    first, second, hidden = widths
    return {
        "conv1": Conv2d(first, 3, padding=1),
        "relu1": ReLU(),
        "pool1": MaxPool2d(2),
        "conv2": Conv2d(second, 3, padding=1),
        "relu2": ReLU(),
        "pool2": MaxPool2d(2),
        **dropout,
        "flatten": Flatten(),
        "fc1": Linear(hidden),
        "relu3": ReLU(),
        "fc2": Linear(classes),
    }


def budget_model1(classes: int) -> Network:
    """Two convolutions and two linear layers; gives logits."""
    return _budget_12((8, 16, 32), {}, classes)


def budget_model2(classes: int) -> Network:
    """Model 1, narrower and with dropout; gives logits."""
    return _budget_12((6, 12, 24), {"dropout": Dropout(0.2)}, classes)


def budget_model3(classes: int) -> Network:
    """Convolutions down to a single pixel; gives logits that passed a ReLU."""
    network: Network = {}
    for index, channels in enumerate((4, 8, 12, 16), start=1):
        network |= {
            f"conv{index}": Conv2d(channels, 3, padding=1),
            f"bn{index}": BatchNorm2d(),
            f"relu{index}": ReLU(),
            f"pool{index}": MaxPool2d(2),
            f"dropout{index}": Dropout(0.15),
        }
    return network | {
        "conv5": Conv2d(classes, 3, padding=1),
        "bn5": BatchNorm2d(),
        "relu5": ReLU(),
        "gap": AdaptiveAvgPool2d(1),
        "flatten": Flatten(),
    }


def session7_net1(classes: int) -> Network:
    """The session's first step: 15,580 parameters."""
    return {
        "convblock1": _conv_norm_relu(8, padding=1),
        "convblock2": _conv_norm_relu(8, padding=1),
        "convblock3": _conv_norm_relu(8),
        "pool1": MaxPool2d(2),
        "convblock4": _conv_norm_relu(16, padding=1),
        "convblock5": _conv_norm_relu(16),
        "convblock6": _conv_norm_relu(16, padding=1),
        "convblock7": _conv_norm_relu(32),
        "convblock8": _conv(10),
        "convblock9": _conv(classes),
        "gap": AvgPool2d(5),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def session7_net2(classes: int) -> Network:
    """The second step: 12,704 parameters; its log-probabilities follow a ReLU."""
    return {
        "convblock1": _conv_norm_relu(8, padding=1),
        "convblock2": _conv_norm_relu(8, padding=1),
        "convblock3": _conv_norm_relu(8),
        "pool1": MaxPool2d(2),
        "convblock4": _conv_norm_relu(16, padding=1),
        "convblock5": _conv_norm_relu(16),
        "convblock6": _conv_norm_relu(16, padding=1),
        "convblock7": _conv_norm_relu(16),
        "convblock8": [*_conv(10), ReLU()],
        "convblock9": [*_conv(10), ReLU()],
        "convblock10": [*_conv(classes), ReLU()],
        "gap": AvgPool2d(3),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def session7_net(classes: int) -> Network:
    """The third step, 7,596 parameters. Its last pool sees only the top-left 3x3 of a 5x5 map."""
    return {
        "convblock1": _conv_norm_relu(4),
        "convblock2": _conv_norm_relu(4),
        "convblock3": [*_conv_norm_relu(4), Dropout(0.01)],
        "pool1": MaxPool2d(2),
        "convblock4": _conv_norm_relu(8, 1),
        "convblock5": _conv_norm_relu(8),
        "convblock6": [*_conv_norm_relu(8, padding=1), Dropout(0.01)],
        "convblock7": _conv_norm_relu(16),
        "convblock8": [*_conv_norm_relu(16), Dropout(0.01)],
        "convblock9": _conv_norm_relu(16, padding=1),
        "convblock10": _conv(classes, 1),
        "gap": AvgPool2d(3),
        "flatten": Flatten(),
        "log_softmax": LogSoftmax(),
    }


def recognition_cnn(classes: int) -> Network:
    """Two convolutions and three linear layers, 3.3 million parameters; gives logits."""
    return {
        "L1": [Conv2d(32, 3, padding=1), ReLU(), MaxPool2d(2)],
        "L2": [Conv2d(64, 3, padding=1), ReLU(), MaxPool2d(2)],
        "flatten": Flatten(),
        "L3": Linear(1000),
        "relu3": ReLU(),
        "L4": Linear(100),
        "relu4": ReLU(),
        "L5": Linear(classes),
    }


_NETWORKS: dict[str, Callable[[int], Network]] = {
    network.__name__: network
    for network in (
        *(assignment7_model1, assignment7_model2, assignment7_model3, assignment7_model4),
        *(assignment7_model5, assignment7_model6, assignment7_model7, assignment7_model8),
        *(era5_net, budget_model1, budget_model2, budget_model3),
        *(session7_net1, session7_net2, session7_net, recognition_cnn),
    )
}
_NORMALIZATIONS: dict[str, Normalization] = {"assignment7_model8": UNIT}  # its author fed pixels / 255; else MNIST


def list_models(pattern: str = "*") -> list[str]:
    """The names of the published networks, all or those that a pattern such as ``"session7*"`` fits.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.list_models("session7*")
    ['session7_net1', 'session7_net2', 'session7_net']
    """
    return [name for name in _NETWORKS if fnmatchcase(name, pattern)]


def check_name(name: str) -> None:
    """Refuses a name that is not in the zoo."""
    if name not in _NETWORKS:
        hint = did_you_mean(name, _NETWORKS) or "."
        raise ValueError(f"there is no model {name!r}{hint} Choose from: {', '.join(_NETWORKS)}")


def create_model(
    name: str,
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    seed: int = 0,
) -> Model:
    """A published network with fresh weights.

    Pixels are normalised with MNIST's mean and deviation (``assignment7_model8``: pixels / 255, as its author did);
    set ``model.normalization`` to change that, or to None to take the training set's.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.create_model("session7_net", seed=1).parameter_count
    7596
    """
    from mnistcnn.model import Model

    check_name(name)
    num_classes = whole_number("num_classes", num_classes)
    in_channels = whole_number("in_channels", in_channels)
    return Model(
        _NETWORKS[name](num_classes),
        (in_channels, 28, 28),
        seed=seed,
        name=name,
        normalization=_NORMALIZATIONS.get(name, MNIST),
    )
