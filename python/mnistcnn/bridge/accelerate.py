"""A user's own module, made fast in place: their loop, loss and optimizer stay as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from mnistcnn.bridge.adopted import AdoptedModel
from mnistcnn.bridge.errors import ConversionError
from mnistcnn.bridge.from_torch import converted, fingerprint, traced
from mnistcnn.bridge.inputs import Entrance
from mnistcnn.model import Model


class AcceleratedModel(AdoptedModel):
    """An `AdoptedModel` that looks like the author's module."""

    def __repr__(self) -> str:
        return repr(self._original)

    def train(self, mode: bool = True) -> AcceleratedModel:
        """Set the mode, and convert the module again if it has changed, for example a dropout probability.

        If it can't be converted any more, it runs in PyTorch, with a warning.
        """
        if fingerprint(self._original) != self._seen:
            images = Entrance(self._plan.input_shape, (self._plan.image_shape,))
            with contextlib.suppress(ConversionError):  # the rule then finds the change before each forward
                self._rebuild(traced(self._original, images, self._plan.output))
        super().train(mode)
        return self

    def _plant(self) -> None:
        super()._plant()
        self.__dict__["_seen"] = fingerprint(self._original)

    def _recipe(self) -> tuple[Callable[..., Any], Any]:
        return _named, type(self).__name__


def accelerate(
    module: nn.Module, input_shape: Sequence[int] = (1, 28, 28), *, output: int | str | None = None
) -> Model:
    """The same network, computed by mnistcnn's engine.

    What comes back behaves like the module: its ``state_dict``, ``parameters``, ``named_modules``, members, modes and
    name are the module's own, and so is the memory of its weights. Your loop, loss and ``torch.optim`` stay as they
    are, also an optimizer that you made before.

    Parameters
    ----------
    module, input_shape, output
        As for `mnistcnn.from_torch`.

    Examples
    --------
    >>> import mnistcnn, torch
    >>> from torch import nn
    >>> net = mnistcnn.accelerate(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2704, 10)))
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> loss = nn.functional.cross_entropy(net(torch.zeros(2, 1, 28, 28)), torch.tensor([3, 7]))
    >>> loss.backward()
    >>> optimizer.step()
    >>> net
    Sequential(
      (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
      (1): ReLU()
      (2): Flatten(start_dim=1, end_dim=-1)
      (3): Linear(in_features=2704, out_features=10, bias=True)
    )
    """
    if isinstance(module, Model):
        return module
    return converted(_named(type(module).__name__), module, input_shape, output=output)


def _named(name: str) -> type[AcceleratedModel]:
    """The class of the models of one author's class: it bears that class's name."""
    return _CLASSES.setdefault(name, type(name, (AcceleratedModel,), {"__doc__": AcceleratedModel.__doc__}))


_CLASSES: dict[str, type[AcceleratedModel]] = {}
