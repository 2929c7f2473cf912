"""The modules inside a model: they hold its tensors under PyTorch's names, and compute nothing by themselves."""

from __future__ import annotations

from typing import Any, NoReturn

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
