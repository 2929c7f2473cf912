"""What is known of a module: the model that computes what it does, and how a call of the module runs in it."""

from __future__ import annotations

import inspect
import threading
import warnings
from typing import Any

import torch
from torch import nn

from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.heads import parameters_behind, separated
from mnistcnn.convert.inputs import Entrance
from mnistcnn.convert.outputs import ONE, Choice, chosen, put_together
from mnistcnn.convert.plan import Plan
from mnistcnn.convert.side_effects import SideEffectError
from mnistcnn.convert.verification import borrowed_tensors, verified_plan
from mnistcnn.nn.engine_rule import KEPT, EngineForward, EngineRule, Reads, Violation, circumstance
from mnistcnn.nn.graph import parameter_users
from mnistcnn.nn.model import EngineWarning, Model, place_of, refused_run

_SETTINGS = ("name", "normalization", "engine", "threads", "history")  # of a model, which its successor takes over
_LOCK = threading.RLock()  # two threads may find that a module has changed
_MORE = "it is called with more than a batch of images"


class Conversion:
    """A module in one state, and the model that computes what it does.

    Parameters
    ----------
    module, shape, output
        The module, how images enter it, and which of its outputs was chosen.
    plan
        What its forward was found to compute.
    """

    def __init__(self, module: nn.Module, shape: Entrance, output: Choice, plan: Plan) -> None:
        self.module, self.shape, self.output, self.plan = module, shape, output, plan
        tensors = borrowed_tensors(module, plan)
        self.model = model = Model.from_rows(
            plan.rows, plan.input_shape, name=type(module).__name__, shared=plan.shared, tensors=tensors
        )
        users = parameter_users(model._network.parameter_specs, plan.shared)
        self._behind = [frozenset(range(len(users)))]
        if len(plan.output_shapes) > 1:
            self._behind = parameters_behind(plan.rows, users)
        self._keeps_shape = plan.form == ONE and plan.output_shapes == (model.output_shape,)
        self._warned = False
        self._effects = ", ".join(each.what for each in plan.effects)
        nodes = [(node, name.rpartition(".")[2]) for name, _, node, _ in model._network.parameter_specs]
        places = [(plan.tensors[node][suffix], *place_of(*tensors[node][suffix])) for node, suffix in nodes]
        self._rule = EngineRule(module, plan.owners, places, reads=plan.reads)

    @property
    def reason_for_torch(self) -> str | None:
        """Why every call of the module must run in PyTorch, or None."""
        return f"its forward has side effects: {self._effects}" if self._effects else None

    def violation(self) -> Violation | None:
        """Return why the engine may not run, or None."""
        return self._rule.violation(self.module.training)

    def is_present(self) -> bool:
        """Whether the module computes what it did."""
        return self._rule.change() is None

    def model_alone(self) -> Model:
        """Return the model, to be used without the module's forward; raise or warn if that makes a difference."""
        self._check_one_output()
        if self._effects and not self._warned:
            self._warned = True
            warnings.warn(
                f"the engine computes the outputs of {type(self.module).__name__} only; beside that, its forward does "
                f"this, which only happens where PyTorch runs it: {self._effects}",
                EngineWarning,
                stacklevel=4,
            )
        self.model._refresh()
        return self.model.train(self.module.training)

    def check_engine_may_run(self) -> None:
        """Raise ValueError if a native run would not compute what the module does now."""
        violation = self.violation()
        if violation is not None:
            raise refused_run(self.model.name, violation)

    def _check_one_output(self) -> None:
        shapes = self.plan.output_shapes
        if len(shapes) > 1:
            listed = ", ".join(f"[{', '.join(map(str, ('N', *shape)))}]" for shape in shapes)
            first = next(iter(self.plan.form)) if isinstance(self.plan.form, dict) else 0
            raise ValueError(
                f"the forward of '{self.model.name}' returns {len(shapes)} tensors, {listed}; say which one holds the "
                f"classes, as in mnistcnn.from_torch(net, output={first!r})"
            )

    # ---- calls

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], violation: Violation | None) -> Any:
        """Compute a call of the module: in the engine if it may run, with the hooks on the module."""
        net, model = self.module, self.model
        if not args and list(kwargs) == [self._name_of_images()]:
            args, kwargs = tuple(kwargs.values()), {}
        reason = _MORE if len(args) != 1 or kwargs else None
        is_batch = reason is None
        reason = reason or (violation.reason if violation else circumstance(model.device.type))
        reason = reason or self._reason_in_shape(args[0])
        if model._runs_in_torch(reason):
            given = (self._as_it_takes(args[0]),) if is_batch else args
            return chosen(net._call_impl(*given, **kwargs), self.output)  # type: ignore[no-untyped-call]
        if model.training is not net.training:
            model.train(net.training)
        if not (net._forward_hooks or net._forward_pre_hooks or net._backward_hooks or net._backward_pre_hooks):
            return self._outputs_of_engine(args[0])
        with model._lock:  # PyTorch calls hooks around the forward that the instance has
            outer = net.__dict__.get("forward")  # of this function: a hook may call the module
            net.__dict__["forward"] = EngineForward(net, self._outputs_of_engine)
            try:
                return net._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
            finally:
                net.__dict__["forward"] = outer
                if outer is None:
                    del net.__dict__["forward"]

    def _name_of_images(self) -> str | None:
        return next(iter(inspect.signature(self.module.forward).parameters), None)

    def _reason_in_shape(self, images: Any) -> str | None:
        shape, taken = tuple(getattr(images, "shape", ())[1:]), self.plan.image_shape
        if shape in (taken, self.plan.input_shape):
            return None
        return f"its images are not [N, {', '.join(map(str, taken))}], for which it was converted"

    def _whole(self, images: Any) -> Any:
        """Return the images as [N, C, H, W], where the forward takes them flat or without their channel."""
        shape, taken = self.plan.input_shape, self.plan.image_shape
        is_other = tuple(getattr(images, "shape", ())[1:]) == taken != shape
        return images.reshape(len(images), *shape) if is_other else images

    def _as_it_takes(self, images: Any) -> Any:
        """Return the images as the forward takes them; a trace records no operation on them."""
        taken, is_float = self.plan.image_shape, isinstance(images, torch.Tensor) and images.is_floating_point()
        given = images if is_float else self.model.prepare(self._whole(images))
        if torch._C._get_tracing_state() is not None or tuple(given.shape[1:]) == taken:
            return given
        return given.reshape(len(given), *taken) if tuple(given.shape[1:]) == self.plan.input_shape else given

    def _outputs_of_engine(self, images: Any) -> Any:
        self.model._refresh()
        outputs = self.model._forward_in_engine(self.model.prepare(self._whole(images)))
        if self._keeps_shape:
            return outputs
        return put_together(self.plan.form, separated(outputs, self.plan.output_shapes, self._behind))


class FailedConversion:
    """A module in a state in which it can't be converted."""

    def __init__(
        self, module: nn.Module, shape: Entrance, output: Choice, error: ConversionError, reads: Reads
    ) -> None:
        self.module, self.shape, self.output, self.error = module, shape, output, error
        self._hooks = _hook_counts(module)
        self._rule = EngineRule(module, (), (), reads=reads)

    @property
    def reason_for_torch(self) -> str:
        """Why every call of the module must run in PyTorch."""
        return f"it can't be converted: {self.error}"

    def violation(self) -> Violation | None:
        """Return what has changed so that it may be converted now, or None."""
        change = self._rule.change() if self._hooks == _hook_counts(self.module) else "hooks were added or removed"
        return Violation(change, is_change=True) if change else None

    def is_present(self) -> bool:
        """Whether the module is in this state."""
        return self.violation() is None


def _hook_counts(module: nn.Module) -> list[int]:
    return [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules()]


class Kept:
    """The conversions of a module, the latest one last. Copies of the module have none."""

    MOST = 8

    def __init__(self) -> None:
        self.conversions: list[Conversion | FailedConversion] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # so that a stored module can be read without this package


def conversions(module: nn.Module) -> list[Conversion | FailedConversion]:
    """Return the conversions of a module, the latest one last."""
    kept = module.__dict__.get(KEPT)
    if not isinstance(kept, Kept):
        kept = module.__dict__[KEPT] = Kept()
    return kept.conversions


def conversion_of(module: nn.Module, shape: Entrance, output: Choice) -> Conversion | FailedConversion:
    """Return the conversion of a module as it is now, made only if there is none yet."""
    with _LOCK:
        kept = conversions(module)
        for each in reversed(kept):
            if (each.shape, each.output) == (shape, output) and each.is_present():
                kept.remove(each)
                break
        else:
            each = _new_conversion(module, shape, output)
        kept.append(each)
        del kept[: -Kept.MOST]
        return each


def latest_conversion(module: nn.Module) -> Conversion | None:
    """Return the latest conversion of a module that has a model."""
    return next((each for each in reversed(conversions(module)) if isinstance(each, Conversion)), None)


def _new_conversion(module: nn.Module, shape: Entrance, output: Choice) -> Conversion | FailedConversion:
    reads = AttributeReads(module)
    try:
        plan = verified_plan(module, shape, output, reads)
    except SideEffectError as error:
        return FailedConversion(module, shape, output, error, error.without_writes(reads.found))
    except ConversionError as error:
        return FailedConversion(module, shape, output, error, reads.found)
    before, conversion = latest_conversion(module), Conversion(module, shape, output, plan)
    if before is not None and before.model.input_shape == conversion.model.input_shape:
        for name in _SETTINGS:
            setattr(conversion.model, name, getattr(before.model, name))
    return conversion
