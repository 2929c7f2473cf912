"""Pooling layers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from mnistcnn.nn.layers.base import Layer, Size, pair


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """Maximum over windows; equivalent to ``torch.nn.MaxPool2d``.

    Parameters
    ----------
    kernel_size
        Height and width of the window: an integer or a pair.
    stride
        Step between windows: an integer or a pair. Default: ``kernel_size``.
    padding
        Border of minus infinity added around the input: an integer or a pair.
    dilation
        Distance between elements of a window: an integer or a pair.
    ceil_mode
        Whether to round the output size up instead of down.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.MaxPool2d(2, 2)
    MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    """

    op: ClassVar[str] = "maxpool2d"
    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0
    dilation: Size = 1
    _: KW_ONLY
    ceil_mode: bool = False

    def fields(self) -> dict[str, Any]:
        kernel = pair("kernel_size", self.kernel_size)
        return {
            "kernel": kernel,
            "stride": kernel if self.stride is None else pair("stride", self.stride),
            "padding": pair("padding", self.padding),
            "dilation": pair("dilation", self.dilation),
            "ceil_mode": self.ceil_mode,
        }


@dataclass(frozen=True)
class AvgPool2d(Layer):
    """Mean over windows; equivalent to ``torch.nn.AvgPool2d``.

    Parameters
    ----------
    kernel_size
        Height and width of the window: an integer or a pair.
    stride
        Step between windows: an integer or a pair. Default: ``kernel_size``.
    padding
        Zeros added around the input: an integer or a pair.
    ceil_mode
        Whether to round the output size up instead of down.
    count_include_pad
        Whether the padding counts as elements of the window.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.AvgPool2d(2)
    AvgPool2d(kernel_size=2, stride=None, padding=0, ceil_mode=False, count_include_pad=True)
    """

    op: ClassVar[str] = "avgpool2d"
    kernel_size: Size
    stride: Size | None = None
    padding: Size = 0
    ceil_mode: bool = False
    count_include_pad: bool = True

    def fields(self) -> dict[str, Any]:
        kernel = pair("kernel_size", self.kernel_size)
        return {
            "kernel": kernel,
            "stride": kernel if self.stride is None else pair("stride", self.stride),
            "padding": pair("padding", self.padding),
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
        }


@dataclass(frozen=True)
class AdaptiveAvgPool2d(Layer):
    """Average pooling to a given output size; equivalent to ``torch.nn.AdaptiveAvgPool2d``.

    Parameters
    ----------
    output_size
        Height and width of the output: an integer or a pair. 1 is global average pooling.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.AdaptiveAvgPool2d(1)
    AdaptiveAvgPool2d(output_size=1)
    """

    op: ClassVar[str] = "adaptive_avgpool2d"
    output_size: Size

    def fields(self) -> dict[str, Any]:
        return {"output": pair("output_size", self.output_size)}


@dataclass(frozen=True)
class Amax(Layer):
    """Maximum over one dimension, which keeps size 1; equivalent to ``torch.amax`` with ``keepdim=True``.

    Equal maxima share the gradient evenly.

    Parameters
    ----------
    dimension
        Dimension to reduce, counted from 0 without the batch.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Amax(0)
    Amax(dimension=0)
    """

    op: ClassVar[str] = "amax"
    dimension: int
