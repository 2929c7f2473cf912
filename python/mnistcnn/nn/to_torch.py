"""Convert a model to a PyTorch module that does not require mnistcnn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from mnistcnn.nn.torch_layers import graph_module, step_of

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


def to_torch(model: Model, *, copy: bool = True) -> nn.Module:
    """Return a ``torch.nn.Module`` that computes the outputs of the model and does not require mnistcnn.

    A chain of layers becomes an ``nn.Sequential`` if its names allow it. Any other graph becomes a
    ``torch.fx.GraphModule``, whose ``code`` is readable. The tensors have the names and order of the model's, so state
    dicts are interchangeable.

    Parameters
    ----------
    model
        Model to convert, which may be a result of `mnistcnn.from_torch`.
    copy
        True: the module has copies of the weights. False: it shares the memory of the model. Default: True.

    Returns
    -------
    torch.nn.Module
        On the device and in the mode of the model.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.Model([mnistcnn.layers.Flatten(), mnistcnn.layers.Linear(10)]).to_torch()
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=784, out_features=10, bias=True)
    )
    """
    nodes = model._network.nodes
    steps = _steps(nodes)
    module = _chain(nodes, steps) or graph_module(model.name, nodes, steps)
    _fill(module, model, copy=copy)
    return module.to(model.device).train(model.training)


def to_graph_module(model: Model) -> fx.GraphModule:
    """Return a module that runs the model's graph and shares its memory.

    The entry ``"nodes"`` of an fx node's ``meta`` holds the indices of the model's nodes whose output it computes.
    """
    nodes = model._network.nodes
    module = graph_module(model.name, nodes, _steps(nodes))
    _fill(module, model, copy=False)
    return module.to(model.device)


def _steps(nodes: list[dict[str, Any]]) -> list[Any]:
    return [step_of(node["op"], node["fields"], node["input_shapes"][0]) for node in nodes]


def _fill(module: nn.Module, model: Model, *, copy: bool) -> None:
    model_tensors: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    model_tensors |= dict(model.named_buffers(remove_duplicate=False))
    copies: dict[torch.Tensor, torch.Tensor] = {}  # one copy per tensor, so shared tensors stay shared
    for path, each in module.named_modules():
        for tensors in (each._parameters, each._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    own = _in_shape(model_tensors[f"{path}.{key}" if path else key], tensor.shape)
                    tensors[key] = copies.setdefault(own, _copy_of(own)) if copy else own


def _in_shape(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return a tensor in the shape of its layer. A parameter of a converted module may have another shape."""
    if tensor.shape == shape:
        return tensor
    return nn.Parameter(tensor.detach().reshape(shape), tensor.requires_grad)


def _copy_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor or parameter."""
    values = tensor.detach().clone()
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def _chain(nodes: list[dict[str, Any]], steps: list[Any]) -> nn.Module | None:
    """Return an nn.Sequential, or None if the nodes are not a chain or a name is not allowed in a Sequential."""
    is_chain = all(list(node["inputs"]) == [index - 1] for index, node in enumerate(nodes))
    if not is_chain or not all(isinstance(step, nn.Module) for step in steps):
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
