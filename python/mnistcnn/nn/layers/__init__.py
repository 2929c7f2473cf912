"""Layers: settings, without weights and computation."""

from mnistcnn.nn.layers.activation import (
    ELU,
    GELU,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from mnistcnn.nn.layers.arithmetic import Add, Concat, Detach, Multiply, Reciprocal, ScaleShift
from mnistcnn.nn.layers.base import LAYER_KINDS as LAYER_KINDS
from mnistcnn.nn.layers.base import Layer as Layer
from mnistcnn.nn.layers.blocks import Branches, Node, Residual
from mnistcnn.nn.layers.blocks import Layers as Layers
from mnistcnn.nn.layers.dropout import Dropout, Dropout2d
from mnistcnn.nn.layers.linear import Conv2d, Linear
from mnistcnn.nn.layers.normalization import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm
from mnistcnn.nn.layers.pooling import AdaptiveAvgPool2d, Amax, AvgPool2d, MaxPool2d
from mnistcnn.nn.layers.shape import Expand, Flatten, Pad, Permute, Reshape, Slice

# The public layers, which `mnistcnn.layers` exports.
__all__ = [
    "ELU",
    "GELU",
    "AdaptiveAvgPool2d",
    "Add",
    "Amax",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Branches",
    "Concat",
    "Conv2d",
    "Detach",
    "Dropout",
    "Dropout2d",
    "Expand",
    "Flatten",
    "GroupNorm",
    "Hardswish",
    "InstanceNorm2d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Mish",
    "Multiply",
    "Node",
    "PReLU",
    "Pad",
    "Permute",
    "ReLU",
    "ReLU6",
    "Reciprocal",
    "Reshape",
    "Residual",
    "ScaleShift",
    "SiLU",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Tanh",
]
