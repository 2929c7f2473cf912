"""Dropout layers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from mnistcnn.nn.layers.base import Layer


@dataclass(frozen=True)
class _Dropout(Layer):
    _limits: ClassVar[dict[str, tuple[float, float]]] = {"p": (0.0, 1.0)}
    p: float = 0.5
    inplace: bool = field(default=False, repr=False, compare=False)
    _: KW_ONLY
    always: bool = False

    def fields(self) -> dict[str, Any]:
        return {"probability": float(self.p), "always": self.always}


@dataclass(frozen=True)
class Dropout(_Dropout):
    """Dropout: set elements to zero with probability ``p`` in training and scale the rest by ``1 / (1 - p)``.

    With ``always=True`` it also drops in evaluation, as ``F.dropout(x)`` without ``training=self.training`` does. Each
    call of the model then draws a new mask; `mnistcnn.test` and `mnistcnn.predict` draw the same masks in every call.

    Parameters
    ----------
    p
        Probability of setting an element to zero.
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.
    always
        Whether to drop in evaluation too.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Dropout(0.1)
    Dropout(p=0.1, always=False)
    """

    op: ClassVar[str] = "dropout"


@dataclass(frozen=True)
class Dropout2d(_Dropout):
    """Dropout of whole channels: set each to zero with probability ``p`` in training and scale the rest.

    The remaining channels are multiplied by ``1 / (1 - p)``. See `Dropout` for ``always``.

    Parameters
    ----------
    p
        Probability of setting a channel to zero.
    inplace
        Has no effect; accepted for compatibility with ``torch.nn``.
    always
        Whether to drop in evaluation too.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.layers.Dropout2d(0.1)
    Dropout2d(p=0.1, always=False)
    """

    op: ClassVar[str] = "dropout2d"
