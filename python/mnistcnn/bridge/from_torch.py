"""A PyTorch module becomes a `Model` that shares its parameters' memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mnistcnn._native import core
from mnistcnn.bridge.adopted import AdoptedModel, Plan, network_of
from mnistcnn.bridge.errors import ConversionError
from mnistcnn.bridge.inputs import Entrance, entrance, observed
from mnistcnn.bridge.outputs import Choice
from mnistcnn.bridge.tracing import Run, undisturbed
from mnistcnn.engine_rule import Violation
from mnistcnn.model import Model
from mnistcnn.normalization import Normalization

KEPT = "_mnistcnn"  # the attribute in which a module remembers its conversions
_ONE_AT_A_TIME = threading.RLock()  # calls of modules and random numbers are watched in all threads
_CLOSE = 1e-4  # relative distance of outputs; float32 in another order stays far below


def from_torch(
    module: nn.Module,
    input_shape: Sequence[int] = (1, 28, 28),
    *,
    normalization: Normalization | None = None,
    output: int | str | None = None,
) -> Model:
    """A model of any feed-forward module, sharing its parameters' memory.

    The module's forward is run a few times and observed, so it may be written in any style. Names, order and objects
    of the parameters stay the module's: training the model trains the module.

    Parameters
    ----------
    module
        Its forward takes a batch of images and gives a tensor, or several in a tuple, list or dictionary. Images may
        also enter flat, [N, 784], or without their channel, [N, 28, 28]: that is found out, and the model then takes
        them so as well as whole.
    input_shape
        (channels, height, width) of an image; or how the forward takes one, as (784,) or (28, 28).
    normalization
        How uint8 pixels enter; see `mnistcnn.Model`.
    output
        Where the forward returns several tensors: the position or key of the one that the model gives. Otherwise the
        model returns what the forward does, and can't be trained by `mnistcnn.train`, which needs one row of classes.

    Raises
    ------
    ConversionError
        When the module does something that mnistcnn can't: what, where in your source, and what to do.

    Examples
    --------
    >>> import mnistcnn, torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> model = mnistcnn.from_torch(net)
    >>> model
    AdoptedModel 'Sequential': 7,850 parameters, input 1x28x28
      flatten: flatten()
      1: linear(out_features=10)
    >>> model(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 10])
    """
    model = converted(_checked(module), entrance(input_shape), output)
    if normalization is not None:
        model.normalization = normalization.for_channels(model.input_shape[0])
    return model


def as_model(model: Model | nn.Module) -> Model:
    """A model as it is; any other module as `from_torch` was last asked to convert it. It has one output."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be an mnistcnn.Model or a torch.nn.Module, got {type(model).__name__}{_model_hint(model)}"
        )
    found = model if isinstance(model, Model) else _latest(model) or from_torch(model)
    if isinstance(found, AdoptedModel):
        found.check_one_output()
    return found


def model_of(module: nn.Module) -> Model | None:
    """Return a model as it is, for an accelerated or converted module its latest model, and None for any other."""
    if isinstance(module, Model):
        return module
    models = _kept_of(module).models
    return models[-1][1] if models else None


def _latest(module: nn.Module) -> AdoptedModel | None:
    """Return the latest model of a module, for whatever shape and output, if it has not changed."""
    models = _kept_of(module).models
    if not models:
        return None
    (shape, output, then), model = models[-1]
    return model if then == fingerprint(module) else converted(module, shape, output)


def _model_hint(given: object) -> str:
    """What was probably meant."""
    if isinstance(given, str):
        return f"; mnistcnn.create_model({given!r}) makes a published network"
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"; make one of the class: {given.__name__}()"
    return ""


Key = tuple[Entrance, Choice, list[Any]]  # how images enter, the chosen output, the fingerprint of the module


class Kept:
    """What a module remembers of its conversions, the latest one last; copies of the module remember nothing."""

    MOST = 8

    def __init__(self) -> None:
        self.models: list[tuple[Key, AdoptedModel]] = []
        self.refused: list[Key] = []

    def find(self, key: Key) -> AdoptedModel | None:
        """Return the model for a state of the module, and make it the latest one."""
        for entry in self.models:
            if entry[0] == key:
                self.models.remove(entry)
                self.models.append(entry)
                return entry[1]
        return None

    def add(self, key: Key, model: AdoptedModel) -> None:
        """Remember a model as the latest one."""
        self.models = [*self.models, (key, model)][-self.MOST :]

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # so that a stored module can be read without this package


def _kept_of(module: nn.Module) -> Kept:
    kept = module.__dict__.get(KEPT)
    if not isinstance(kept, Kept):
        kept = module.__dict__[KEPT] = Kept()
    return kept


def converted(module: nn.Module, shape: Entrance, output: Choice) -> AdoptedModel:
    """Return the model of a module as it is now, made only if there is none yet."""
    kept = _kept_of(module)
    model = kept.find((shape, output, fingerprint(module)))
    if model is None:
        before = kept.models[-1][1] if kept.models else None
        model = AdoptedModel.adopt(module, traced(module, shape, output))
        if before is not None and before.input_shape == model.input_shape:
            for name, value in before.settings().items():
                setattr(model, name, value)
        kept.add((shape, output, fingerprint(module)), model)  # which lazy layers have changed
    return model


def present_model(model: AdoptedModel, shape: Entrance, output: Choice) -> tuple[AdoptedModel, Violation | None]:
    """Return the model of the same module as it is now, and why its engine may not run.

    It is the given model, or after a change another one. If the module can't be converted any more, it stays the given
    one, with the change as the reason.
    """
    violation = model.violation()
    if violation is None or not violation.is_change:
        return model, violation
    module = model.original
    kept, key = _kept_of(module), (shape, output, fingerprint(module))
    if key in kept.refused:
        return model, violation
    try:
        changed = converted(module, shape, output)
    except ConversionError:
        kept.refused = [*kept.refused, key][-Kept.MOST :]
        return model, violation
    return changed, changed.violation()


def fingerprint(module: nn.Module) -> list[Any]:
    """Everything about a module that decides what it computes, except the values of its tensors."""
    parts: list[Any] = []
    for path, each in module.named_modules():
        values = {k: v for k, v in vars(each).items() if isinstance(v, int | float | str | tuple) and k != "training"}
        tensors = [(key, id(tensor), _size(tensor)) for key, tensor in each._parameters.items()]
        hooks = (len(each._forward_hooks), len(each._forward_pre_hooks))
        forward = getattr(type(each), "forward", None)
        code = getattr(forward, "__code__", None)
        parts.append((path, id(each), type(each), forward, code, values, tensors, hooks))
    return parts


def _size(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None or nn.parameter.is_lazy(tensor) else tuple(tensor.shape)


def traced(module: nn.Module, images: Entrance, output: Choice = None) -> Plan:
    """The plan of a module, checked against the module's own outputs."""
    with _ONE_AT_A_TIME:
        plan, runs = observed(module, images, output)
    try:
        network = network_of(plan)
    except ValueError as error:
        raise ConversionError(f"{error} (found in the forward of {type(module).__name__})") from None
    _compare_outputs(module, plan, network, runs)
    return plan


def _checked(module: Any) -> nn.Module:
    """The module itself, without what torch.compile put around it."""
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise TypeError(f"{module.__name__} is a class; give a module: {module.__name__}()")
    if not isinstance(module, nn.Module):
        hint = "; give the module that was exported" if isinstance(module, torch.export.ExportedProgram) else ""
        raise TypeError(f"a torch.nn.Module is needed, got {type(module).__name__}{hint}")
    found: nn.Module = getattr(module, "_orig_mod", module)
    for name, parameter in found.named_parameters():
        if not nn.parameter.is_lazy(parameter) and parameter.dtype != torch.float32:
            raise ConversionError(f"'{name}' is {parameter.dtype}; mnistcnn computes in float32: call module.float()")
    return found


def _compare_outputs(module: nn.Module, plan: Plan, network: core.Network, runs: list[Run]) -> None:
    """The engine must give what the module gave, in both modes."""
    probe = AdoptedModel.adopt(_stand_in(module), _without_dropout(plan))
    probe.threads = 1
    for run in runs:
        images = run.example.reshape(len(run.example), *plan.input_shape)
        with undisturbed(probe.original):
            probe.training = run.training
            found = probe.engine_forward(images, 0).reshape(run.outputs.shape)
        distance, length = (found - run.outputs).norm().item(), run.outputs.norm().item()
        if not distance <= _CLOSE * length + 1e-6:
            raise ConversionError(
                f"the network found in {type(module).__name__} does not compute what its forward does: the outputs "
                f"differ by {distance / max(length, 1e-30):.2g} of their length; perhaps the forward changes between "
                "two calls, or draws random numbers"
            )


def _stand_in(module: nn.Module) -> nn.Module:
    """Modules of the same names with copies of the tensors."""
    copied = nn.Module()
    for path, each in module.named_modules():
        owner = copied
        for name in filter(None, path.split(".")):
            if name not in owner._modules:
                owner.add_module(name, nn.Module())
            owner = owner._modules[name]  # type: ignore[assignment]
        for key, parameter in each._parameters.items():
            owner._parameters[key] = None if parameter is None else nn.Parameter(parameter.detach().clone())
        for key, buffer in each._buffers.items():
            owner._buffers[key] = None if buffer is None else buffer.detach().clone()
    return copied


def _without_dropout(plan: Plan) -> Plan:
    rows = tuple(
        (name, op, inputs, {**fields, "probability": 0.0} if op.startswith("dropout") else fields)
        for name, op, inputs, fields in plan.rows
    )
    return replace(plan, rows=rows)
