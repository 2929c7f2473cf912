"""Generation of PyTorch code for the published networks, for the reference."""

from __future__ import annotations

from inspect import Parameter, signature

from torch import nn

import mnistcnn

_UNUSED = ("inplace", "device", "dtype")


def pytorch_code(model: mnistcnn.Model) -> str:
    """Return the source of a ``torch.nn.Module`` that computes the same as the model, with the same state dict.

    Raise ValueError unless the model is a chain of layers.
    """
    if any(list(inputs) != [index - 1] for index, (_, _, inputs, _) in enumerate(model.rows)):
        raise ValueError(f"{model.name} is not a chain of layers")
    modules, blocks = dict(model.named_modules()), _blocks(model)
    lines = [f"class {class_name(model.name)}(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    for block, names in blocks.items():
        if names == [block]:
            lines.append(f"        self.{block} = {_call(modules[block])}")
        else:
            layers = [f"            {_call(modules[name])}," for name in names]
            lines += [f"        self.{block} = nn.Sequential(", *layers, "        )"]
    calls = [f"        x = self.{block}(x)" for block in blocks]
    lines += ["", "    def forward(self, x):", *calls, "        return x"]
    return "\n".join(lines)


def class_name(name: str) -> str:
    """Return the class name, such as ``Session7Net`` for ``session7_net``."""
    return "".join(part.capitalize() for part in name.split("_"))


def _blocks(model: mnistcnn.Model) -> dict[str, list[str]]:
    """Return the names of the layers of each block; a layer outside of blocks is a block of its own."""
    blocks: dict[str, list[str]] = {}
    for name, *_ in model.rows:
        blocks.setdefault(name.partition(".")[0], []).append(name)
    return blocks


def _call(module: nn.Module) -> str:
    """Return the constructor call of a module, with keyword arguments for values that differ from their defaults."""
    arguments = []
    for name, parameter in signature(type(module).__init__).parameters.items():
        if name == "self" or name in _UNUSED or name not in module.__dict__ | module._parameters:
            continue
        value = _plain(name, getattr(module, name))
        if parameter.default is Parameter.empty or (isinstance(module, nn.Dropout) and name == "p"):
            arguments.append(repr(value))
        elif value != parameter.default and not (name == "stride" and value == _plain("", module.kernel_size)):
            arguments.append(f"{name}={value!r}")
    return f"nn.{type(module).__name__}({', '.join(arguments)})"


def _plain(name: str, value: object) -> object:
    """Return an attribute as an argument: 3 for (3, 3), and True or False for a bias."""
    if name == "bias":
        return value is not None
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
