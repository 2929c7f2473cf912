"""Optimizers as values: what to do, not the state of doing it."""

from __future__ import annotations

from dataclasses import dataclass

from mnistcnn.checks import finite_number


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent, with the arithmetic of ``torch.optim.SGD``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.SGD(lr=0.01, momentum=0.9)
    SGD(lr=0.01, momentum=0.9, dampening=0.0, weight_decay=0.0, nesterov=False)
    """

    lr: float = 0.01
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Refuses values without a meaning."""
        for name in ("lr", "momentum", "weight_decay"):
            object.__setattr__(self, name, finite_number(name, getattr(self, name)))
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov=True needs a momentum above 0 and dampening=0")
