"""Layers with a linear map: convolution and fully connected layer."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

from mnistcnn.nn.layers.base import Layer, Size, pair


@dataclass(frozen=True)
class Conv2d(Layer):
    """2-D convolution; equivalent to ``torch.nn.Conv2d``.

    Parameters
    ----------
    out_channels
        Number of output channels.
    kernel_size
        Height and width of the kernel: an integer or a pair.
    stride
        Step between applications of the kernel: an integer or a pair.
    padding
        Zeros added around the input: an integer, a pair (height, width), ``"same"`` (requires stride 1) or
        ``"valid"`` (none).
    dilation
        Distance between kernel elements: an integer or a pair.
    groups
        Number of groups of channels that are convolved separately.
    bias
        Whether to add a trainable bias to every output channel.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Conv2d(16, 3, padding="same")
    Conv2d(out_channels=16, kernel_size=3, stride=1, padding='same', dilation=1, groups=1, bias=True)
    """

    op: ClassVar[str] = "conv2d"
    out_channels: int
    kernel_size: Size
    _: KW_ONLY
    stride: Size = 1
    padding: Size | Literal["same", "valid"] = 0
    dilation: Size = 1
    groups: int = 1
    bias: bool = True

    def fields(self) -> dict[str, Any]:
        kernel = pair("kernel_size", self.kernel_size)
        stride = pair("stride", self.stride)
        dilation = pair("dilation", self.dilation)
        return {
            "out_channels": self.out_channels,
            "kernel": kernel,
            "stride": stride,
            "padding": self._border(kernel, stride, dilation),
            "dilation": dilation,
            "groups": self.groups,
            "bias": self.bias,
        }

    def _border(
        self, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        """Return the padding (top, bottom, left, right)."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            if stride != (1, 1):
                raise ValueError(f'padding="same" requires stride 1, got stride={self.stride!r}')
            rows, columns = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
            return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
        if isinstance(self.padding, str):
            raise ValueError(f'padding must be "same", "valid", an integer or a pair, got {self.padding!r}')
        height, width = pair("padding", self.padding)
        return height, height, width, width


@dataclass(frozen=True)
class Linear(Layer):
    """Fully connected layer for inputs of shape [features]; equivalent to ``torch.nn.Linear``.

    Parameters
    ----------
    out_features
        Number of outputs.
    bias
        Whether to add a trainable bias to every output.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Linear(10)
    Linear(out_features=10, bias=True)
    """

    op: ClassVar[str] = "linear"
    out_features: int
    _: KW_ONLY
    bias: bool = True
