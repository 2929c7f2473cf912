"""Out again: a model as a plain PyTorch module that needs no mnistcnn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mnistcnn.nn.torch_layers import graph_module, step_of

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


def to_torch(model: Model, *, copy: bool = True) -> nn.Module:
    """A plain ``torch.nn.Module`` that computes what the model computes.

    A chain of layers becomes an ``nn.Sequential`` where the names allow it, anything else a ``torch.fx.GraphModule``,
    whose ``code`` can be read. Names and order of the tensors are the model's, so a state dict fits both.

    Parameters
    ----------
    model
        The model, also one that `mnistcnn.from_torch` has made.
    copy
        Whether it gets weights of its own; else it shares the model's memory.
    """
    nodes = model._network.nodes
    steps = [step_of(node["op"], node["fields"], node["input_shapes"][0]) for node in nodes]
    module = _chain(nodes, steps) or graph_module(model.name, nodes, steps)
    _fill(module, model, copy=copy)
    return module.to(model.device).train(model.training)


def _fill(module: nn.Module, model: Model, *, copy: bool) -> None:
    ours: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    ours |= dict(model.named_buffers(remove_duplicate=False))
    copies: dict[torch.Tensor, torch.Tensor] = {}  # one of each, so that what is shared stays shared
    for path, each in module.named_modules():
        for tensors in (each._parameters, each._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    own = _in_shape(ours[f"{path}.{key}" if path else key], tensor.shape)
                    tensors[key] = copies.setdefault(own, _copied(own)) if copy else own


def _in_shape(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return a tensor in the shape of its layer; a converted module's parameter may have another."""
    if tensor.shape == shape:
        return tensor
    return nn.Parameter(tensor.detach().reshape(shape), tensor.requires_grad)


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor, or parameter, of its own with the same values."""
    values = tensor.detach().clone()
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def _chain(nodes: list[dict[str, Any]], steps: list[Any]) -> nn.Module | None:
    """An nn.Sequential, where each node takes the one before and all names are one word."""
    in_a_row = all(list(node["inputs"]) == [index - 1] for index, node in enumerate(nodes))
    if not in_a_row or not all(isinstance(step, nn.Module) for step in steps):
        return None
    if any("." in node["name"] for node in nodes):
        return None
    chain = nn.Sequential()
    for node, step in zip(nodes, steps, strict=True):
        try:
            chain.add_module(node["name"], step)
        except KeyError:
            return None
    return chain
