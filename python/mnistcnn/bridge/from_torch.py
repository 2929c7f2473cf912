"""A PyTorch module becomes a `Model` that shares its parameters' memory."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mnistcnn._native import core
from mnistcnn.bridge.adopted import AdoptedModel, Plan, network_of
from mnistcnn.bridge.attribute_reads import AttributeReads
from mnistcnn.bridge.errors import ConversionError
from mnistcnn.bridge.inputs import Entrance, entrance, observed
from mnistcnn.bridge.outputs import Choice
from mnistcnn.bridge.side_effects import SideEffectError, undisturbed
from mnistcnn.bridge.tracing import Run
from mnistcnn.engine_rule import KEPT, EngineRule, Reads, Violation
from mnistcnn.model import EngineWarning, Model
from mnistcnn.normalization import Normalization

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
    model = converted(checked(module), entrance(input_shape), output)
    if normalization is not None:
        model.normalization = normalization.for_channels(model.input_shape[0])
    return model


def as_model(model: Model | nn.Module) -> Model:
    """A model as it is; any other module as `from_torch` was last asked to convert it. It has one output."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model must be an mnistcnn.Model or a torch.nn.Module, got {type(model).__name__}{_model_hint(model)}"
        )
    found = model if isinstance(model, Model) else _present(model)
    if isinstance(found, AdoptedModel):
        found.check_one_output()
    return found


def model_of(module: nn.Module) -> Model | None:
    """Return a model as it is, for an accelerated or converted module its latest model, and None for any other."""
    if isinstance(module, Model):
        return module
    return next((each.model for each in reversed(_conversions(module)) if each.model is not None), None)


def _present(module: nn.Module) -> AdoptedModel:
    """Return the model of a module as it is now, for the shape and the output of its latest conversion."""
    kept = _conversions(checked(module))
    asked = (kept[-1].shape, kept[-1].output) if kept else (entrance((1, 28, 28)), None)
    return converted(checked(module), *asked)


def _model_hint(given: object) -> str:
    """What was probably meant."""
    if isinstance(given, str):
        return f"; mnistcnn.create_model({given!r}) makes a published network"
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"; make one of the class: {given.__name__}()"
    return ""


class Conversion:
    """What is known of a module in one state: the model that computes what it does, or why there is none.

    Parameters
    ----------
    module, shape, output
        The module, how images enter it, and which of its outputs was chosen.
    model
        The model, or the error of the conversion.
    reads
        The attributes that the forward read.
    """

    def __init__(
        self, module: nn.Module, shape: Entrance, output: Choice, model: AdoptedModel | ConversionError, reads: Reads
    ) -> None:
        self.shape, self.output = shape, output
        self.model = model if isinstance(model, AdoptedModel) else None
        self.error = model if isinstance(model, ConversionError) else None
        self.warned = False  # of the side effects
        self._module, self._hooks = module, _hook_counts(module)
        self._rule = EngineRule(module, (), (), reads=reads) if self.model is None else self.model._rule

    def violation(self) -> Violation | None:
        """Return why the engine may not run, or what has changed so that there may be a model now."""
        if self.model is not None:
            return self.model.violation()
        change = self._rule.change() if self._hooks == _hook_counts(self._module) else "hooks were added or removed"
        return Violation(change, is_change=True) if change else None

    def is_present(self) -> bool:
        """Whether the module computes what it did."""
        return self._rule.change() is None and (self.model is not None or self._hooks == _hook_counts(self._module))

    @property
    def reason_for_torch(self) -> str | None:
        """Why a call of the module must always run in PyTorch."""
        if self.model is None:
            return f"it can't be converted: {self.error}"
        effects = self.model.effects
        return f"its forward has side effects: {', '.join(effects)}" if effects else None


def _hook_counts(module: nn.Module) -> list[int]:
    return [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules()]


class Kept:
    """The conversions of a module, the latest one last. Copies of the module have none."""

    MOST = 8

    def __init__(self) -> None:
        self.conversions: list[Conversion] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # so that a stored module can be read without this package


def _conversions(module: nn.Module) -> list[Conversion]:
    kept = module.__dict__.get(KEPT)
    if not isinstance(kept, Kept):
        kept = module.__dict__[KEPT] = Kept()
    return kept.conversions


def conversion_of(module: nn.Module, shape: Entrance, output: Choice) -> Conversion:
    """Return the conversion of a module as it is now, made only if there is none yet."""
    kept = _conversions(module)
    for each in reversed(kept):
        if (each.shape, each.output) == (shape, output) and each.is_present():
            kept.remove(each)
            break
    else:
        each = _new_conversion(module, shape, output)
    kept.append(each)
    del kept[: -Kept.MOST]
    return each


def _new_conversion(module: nn.Module, shape: Entrance, output: Choice) -> Conversion:
    before, reads = model_of(module), AttributeReads(module)
    try:
        model = AdoptedModel.adopt(module, traced(module, shape, output, reads))
    except SideEffectError as error:
        return Conversion(module, shape, output, error, error.without_writes(reads.found))
    except ConversionError as error:
        return Conversion(module, shape, output, error, reads.found)
    if isinstance(before, AdoptedModel) and before.input_shape == model.input_shape:
        for name, value in before.settings().items():
            setattr(model, name, value)
    return Conversion(module, shape, output, model, reads.found)


def converted(module: nn.Module, shape: Entrance, output: Choice) -> AdoptedModel:
    """Return the model of a module as it is now, made only if there is none yet; raise if there can be none."""
    conversion = conversion_of(module, shape, output)
    if conversion.error is not None:
        raise conversion.error
    assert conversion.model is not None
    effects = conversion.model.effects
    if effects and not conversion.warned:
        conversion.warned = True
        warnings.warn(
            f"the engine computes the outputs of {type(module).__name__} only; beside that, its forward does this, "
            f"which only happens where PyTorch runs it: {', '.join(effects)}",
            EngineWarning,
            stacklevel=4,
        )
    return conversion.model


def traced(module: nn.Module, images: Entrance, output: Choice, reads: AttributeReads) -> Plan:
    """Return the plan of a module, compared with the module's own outputs."""
    with _ONE_AT_A_TIME:
        plan, runs = observed(module, images, output, reads)
    _check_state(module, plan)
    try:
        network = network_of(plan)
    except ValueError as error:
        raise ConversionError(f"{error} (found in the forward of {type(module).__name__})") from None
    _compare_outputs(module, plan, network, runs)
    return plan


def _check_state(module: nn.Module, plan: Plan) -> None:
    """Raise if later outputs may depend on a side effect of the forward."""
    state = [each for each in plan.effects if each.is_state or each.attribute in plan.reads]
    if state:
        raise SideEffectError(
            f"the outputs of {type(module).__name__} may depend on earlier calls or on chance: in its forward, "
            f"{', '.join(each.what for each in state)}; train it with PyTorch, or move that out of the forward",
            plan.effects,
        )


def checked(module: Any) -> nn.Module:
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
