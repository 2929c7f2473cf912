"""Normalization layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from mnistcnn._internal.checks import whole_number
from mnistcnn.nn.layers.base import POSITIVE, Layer


@dataclass(frozen=True)
class _RunningNorm(Layer):
    _limits: ClassVar[dict[str, tuple[float, float]]] = {"eps": POSITIVE, "momentum": (0.0, 1.0)}
    _: KW_ONLY
    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track_running_stats: bool = True

    def fields(self) -> dict[str, Any]:
        return {
            "eps": float(self.eps),
            "momentum": -1.0 if self.momentum is None else float(self.momentum),
            "affine": self.affine,
            "track_running_stats": self.track_running_stats,
        }


@dataclass(frozen=True)
class BatchNorm2d(_RunningNorm):
    """Batch normalization of the channels of feature maps; equivalent to ``torch.nn.BatchNorm2d``.

    Parameters
    ----------
    eps
        Added to the variance for numerical stability.
    momentum
        Weight of the newest batch in the running statistics. None: average all batches equally.
    affine
        Whether to apply a trainable scale and shift to every channel.
    track_running_stats
        Whether to store running statistics and use them in evaluation. False: always use the batch's statistics.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.BatchNorm2d()
    BatchNorm2d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    """

    op: ClassVar[str] = "batchnorm2d"


@dataclass(frozen=True)
class BatchNorm1d(_RunningNorm):
    """Batch normalization of inputs of shape [features]; equivalent to ``torch.nn.BatchNorm1d``.

    Parameters
    ----------
    eps
        Added to the variance for numerical stability.
    momentum
        Weight of the newest batch in the running statistics. None: average all batches equally.
    affine
        Whether to apply a trainable scale and shift to every feature.
    track_running_stats
        Whether to store running statistics and use them in evaluation. False: always use the batch's statistics.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.BatchNorm1d(momentum=None)
    BatchNorm1d(eps=1e-05, momentum=None, affine=True, track_running_stats=True)
    """

    op: ClassVar[str] = "batchnorm1d"


@dataclass(frozen=True)
class InstanceNorm2d(_RunningNorm):
    """Normalization of each channel of each image; equivalent to ``torch.nn.InstanceNorm2d``.

    Parameters
    ----------
    eps
        Added to the variance for numerical stability.
    momentum
        Weight of the newest batch in the running statistics. None: average all batches equally.
    affine
        Whether to apply a trainable scale and shift to every channel.
    track_running_stats
        Whether to store running statistics and use them in evaluation. False: always use the image's statistics.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.InstanceNorm2d(affine=True)
    InstanceNorm2d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=False)
    """

    op: ClassVar[str] = "instancenorm2d"
    _: KW_ONLY
    affine: bool = False
    track_running_stats: bool = False


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Normalization of groups of channels of each image; equivalent to ``torch.nn.GroupNorm``.

    Parameters
    ----------
    num_groups
        Number of groups; must divide the number of channels.
    eps
        Added to the variance for numerical stability.
    affine
        Whether to apply a trainable scale and shift to every channel.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.GroupNorm(4)
    GroupNorm(num_groups=4, eps=1e-05, affine=True)
    """

    op: ClassVar[str] = "groupnorm"
    _limits: ClassVar[dict[str, tuple[float, float]]] = {"eps": POSITIVE}
    num_groups: int
    _: KW_ONLY
    eps: float = 1e-5
    affine: bool = True

    def fields(self) -> dict[str, Any]:
        return {"groups": self.num_groups, "eps": float(self.eps), "affine": self.affine}


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalization of each image over its last dimensions; equivalent to ``torch.nn.LayerNorm``.

    Parameters
    ----------
    normalized_shape
        Sizes of the last dimensions, over which mean and variance are computed.
    eps
        Added to the variance for numerical stability.
    affine
        Whether to apply a trainable scale to every element (``elementwise_affine`` in PyTorch).
    bias
        Whether to add a trainable shift to every element. Only used with ``affine=True``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.LayerNorm((8, 28, 28))
    LayerNorm(normalized_shape=(8, 28, 28), eps=1e-05, affine=True, bias=True)
    """

    op: ClassVar[str] = "layernorm"
    _limits: ClassVar[dict[str, tuple[float, float]]] = {"eps": POSITIVE}
    normalized_shape: int | tuple[int, ...]
    _: KW_ONLY
    eps: float = 1e-5
    affine: bool = True
    bias: bool = True

    def fields(self) -> dict[str, Any]:
        sizes = self.normalized_shape if isinstance(self.normalized_shape, Sequence) else (self.normalized_shape,)
        return {
            "normalized_shape": [whole_number("normalized_shape", size) for size in sizes],
            "eps": float(self.eps),
            "affine": self.affine,
            "bias": self.bias,
        }
