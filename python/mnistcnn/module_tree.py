"""The modules inside a model: they hold its tensors under PyTorch's names, and compute nothing by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import torch
from torch import nn

from mnistcnn._native import core


def described(op: str, fields: dict[str, Any]) -> str:
    """The values of a layer that say something: those that are not the usual ones."""
    usual = core.layer_kinds()[op]
    return ", ".join(f"{name}={value}" for name, value in fields.items() if value != usual[name])


def frozen(model: nn.Module) -> list[str]:
    """The parameters that are not trained."""
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


class FixedTree(nn.Module):
    """A module whose children stay what they are: the engine would not notice another one."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module):
            raise TypeError(
                f"can't set '{name}': the layers of a Model are fixed; describe another Model, or wrap this one "
                "in a module of your own, such as nn.Sequential"
            )
        super().__setattr__(name, value)


class Part(FixedTree):
    """What layers and blocks of layers share: only the whole model can be called."""

    def forward(self, *_: Any) -> NoReturn:
        """Says that only the whole model computes."""
        raise NotImplementedError("a layer of a Model computes nothing by itself; call the whole model")

    def _no_hook(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("a layer of a Model computes nothing by itself: hooks work on the whole model only")

    register_forward_hook = _no_hook
    register_forward_pre_hook = _no_hook
    register_full_backward_hook = _no_hook
    register_full_backward_pre_hook = _no_hook
    register_backward_hook = _no_hook


class Block(Part):
    """A named group of layers."""


class LayerModule(Part):
    """Holds the tensors of one layer."""

    def __init__(self, op: str, fields: dict[str, Any]) -> None:
        super().__init__()
        self._op, self._fields = op, fields

    @property
    def depends_on_mode(self) -> bool:
        """Whether it does something else in training than in evaluation."""
        return "norm" in self._op or self._op.startswith("dropout")

    def extra_repr(self) -> str:
        """The layer's values."""
        return described(self._op, self._fields)

    def _get_name(self) -> str:
        return self._op


def plant(root: nn.Module, name: str, leaf: LayerModule) -> None:
    """Adds a layer under its dotted name, with the blocks on the way."""
    owner = root
    *blocks, last = name.split(".")
    for block in blocks:
        child = owner._modules.get(block)
        owner = _add(owner, block, Block(), name) if child is None else child
    _add(owner, last, leaf, name)


def _add(owner: nn.Module, key: str, child: nn.Module, name: str) -> nn.Module:
    try:
        owner.add_module(key, child)
    except KeyError:
        raise ValueError(f"a layer can't be called '{name}': a Model has an attribute '{key}'") from None
    return child


@dataclass(frozen=True)
class Place:
    """Where a tensor is registered: in which module, under which name, and there perhaps in a shape of its own."""

    module: nn.Module
    key: str
    shape: tuple[int, ...] | None = None


class Link:
    """A tensor of a layer's module, and the stretch of flat memory it must be a view of."""

    def __init__(self, place: Place, name: str, view: torch.Tensor, *, trained: bool) -> None:
        self._tensors: dict[str, Any] = place.module._parameters if trained else place.module._buffers
        self._key, self._name, self._trained = place.key, name, trained
        self.view = view
        # What the module holds under the tensor's name, if anything: asked of every link before every forward.
        self.held: Callable[[], Any] = partial(self._tensors.get, self._key)

    @property
    def tensor(self) -> torch.Tensor:
        """What the module holds now."""
        tensor: torch.Tensor | None = self.held()
        if tensor is None or tensor.shape != self.view.shape:
            raise RuntimeError(f"'{self._name}' was removed or reshaped; the network needs {tuple(self.view.shape)}")
        return tensor

    def restore(self) -> None:
        """Takes back a tensor that somebody replaced instead of writing into it."""
        tensor = self.tensor
        if tensor.data_ptr() == self.view.data_ptr():
            return
        if self._trained and not isinstance(tensor, nn.Parameter):
            raise RuntimeError(
                f"'{self._name}' was replaced by a tensor that is no Parameter, as torch.func.functional_call does; "
                "a Model computes with its own memory only"
            )
        with torch.no_grad():
            self.view.copy_(tensor)
        if self._trained:
            tensor.data = self.view
        else:
            self._tensors[self._key] = self.view

    def move(self, view: torch.Tensor) -> None:
        """Points the module's tensor to other memory."""
        self.view = view
        if self._trained:
            self.tensor.data = view
        else:
            self._tensors[self._key] = view


def restore_all(links: Sequence[Link]) -> None:
    """Takes back what was replaced. Asked before every forward, so it is quick where nothing was."""
    if not core.are_in_place([link.held() for link in links], [link.view for link in links]):
        for link in links:
            link.restore()
