"""Conversions of a module: the model that computes its outputs, and how a call of the module runs in the engine."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from mnistcnn._internal.tables import counted
from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.heads import heads_of, split_outputs
from mnistcnn.convert.inputs import InputSpec
from mnistcnn.convert.outputs import SINGLE_TENSOR, OutputKey, select_output, unflatten_outputs
from mnistcnn.convert.side_effects import SideEffectError
from mnistcnn.convert.traced_graph import TracedGraph
from mnistcnn.convert.verification import borrowed_tensors, verified_graph
from mnistcnn.nn.engine_choice import EngineWarning, refused_run
from mnistcnn.nn.engine_rule import (
    CACHE_ATTRIBUTE,
    EngineForward,
    EngineRule,
    Reads,
    Violation,
    caller_level,
    circumstance,
    hooks_on,
)
from mnistcnn.nn.graph import parameter_users, tensor_places
from mnistcnn.nn.model import Model, place_of

# Attributes of a model that are copied to the model of the next conversion.
_SETTINGS = ("name", "normalization", "class_names", "engine", "threads", "history", "_warned")
_LOCK = threading.RLock()  # two threads may convert a module at the same time
_OTHER_ARGUMENTS = "it is called with other arguments than one batch of images"


class ModuleState:
    """Module in one state, and the settings of its conversion.

    Parameters
    ----------
    module
        Module of the user.
    shape
        Shapes in which ``forward`` may take an image.
    output
        Position or key of the selected output; None for all outputs.
    """

    def __init__(self, module: nn.Module, shape: InputSpec, output: OutputKey) -> None:
        self.module, self.shape, self.output = module, shape, output

    @property
    def reason_for_torch(self) -> str | None:
        """Why every call of the module must run in PyTorch, or None."""
        raise NotImplementedError

    def violation(self) -> Violation | None:
        """Return why the engine may not run, or None."""
        raise NotImplementedError

    def is_current(self) -> bool:
        """Return whether the module still computes what it did when it was converted."""
        raise NotImplementedError

    def call_in_torch(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the module in PyTorch, with the hooks on it, and return the selected output."""
        return select_output(self.module._call_impl(*args, **kwargs), self.output)  # type: ignore[no-untyped-call]


class Conversion(ModuleState):
    """Module in one state, and the model that computes its outputs: those of the traced ``graph``."""

    def __init__(self, module: nn.Module, shape: InputSpec, output: OutputKey, graph: TracedGraph) -> None:
        super().__init__(module, shape, output)
        self.graph = graph
        tensors = borrowed_tensors(module, graph)
        self.model = model = Model.from_rows(
            graph.rows, graph.input_shape, name=type(module).__name__, shared=graph.shared, tensors=tensors
        )
        parameters, buffers = model._network.parameter_specs, model._network.buffer_specs
        self._heads = heads_of(graph.rows, graph.output_shapes, parameter_users(parameters, graph.shared))
        self._returns_single_tensor = graph.structure == SINGLE_TENSOR and graph.output_shapes == (model.output_shape,)
        self._warned = False
        self._effects = ", ".join(each.what for each in graph.effects)
        nodes = [*tensor_places(parameters), *tensor_places(buffers)]
        places = [(graph.tensors[node][suffix], *place_of(*tensors[node][suffix])) for node, suffix in nodes]
        self._rule = EngineRule(module, graph.owners, places, reads=graph.reads)

    @property
    def reason_for_torch(self) -> str | None:
        """Why every call of the module must run in PyTorch, or None."""
        return f"its `forward` has side effects: {self._effects}" if self._effects else None

    def violation(self) -> Violation | None:
        """Return why the engine may not run, or None."""
        return self._rule.violation(self.module.training)

    def is_current(self) -> bool:
        """Return whether the module still computes what it did when it was converted."""
        return self._rule.change() is None

    def standalone_model(self) -> Model:
        """Return the model, for use without the ``forward`` of the module.

        Raise ValueError if ``forward`` returns several tensors. Warn if it has side effects.
        """
        self._check_one_output()
        if not self._warned:
            self._warned = True
            for text in self._differences():
                warnings.warn(text, EngineWarning, stacklevel=caller_level())
        self.model._refresh()
        return self.model.train(self.module.training)

    def _differences(self) -> Iterator[str]:
        """Yield what the ``forward`` of the module does and the model does not."""
        kind = type(self.module).__name__
        if self._effects:
            yield (
                f"the engine computes only the outputs of {kind}; its `forward` also has side effects, which occur "
                f"only in calls that PyTorch runs: {self._effects}"
            )
        if self.graph.small_batches_differ:
            yield (
                f"the `forward` of {kind} computes something else for fewer than "
                f"{counted(self.graph.smallest_batch, 'image')}; the engine computes the same for any number"
            )

    def check_engine_may_run(self) -> None:
        """Raise ValueError if a native run would not compute what the module computes now."""
        violation = self.violation() or hooks_on(self.module)
        if violation is not None:
            raise refused_run(self.model.name, violation)

    def _check_one_output(self) -> None:
        shapes = self.graph.output_shapes
        if len(shapes) > 1:
            listed = ", ".join(f"[{', '.join(map(str, ('N', *shape)))}]" for shape in shapes)
            first = next(iter(self.graph.structure)) if isinstance(self.graph.structure, dict) else 0
            raise ValueError(
                f"the `forward` of '{self.model.name}' returns {len(shapes)} tensors, {listed}; select the one that "
                f"holds the class scores, as in mnistcnn.from_torch(net, output={first!r})"
            )

    # ---- calls

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], violation: Violation | None) -> Any:
        """Compute a call of the module, including the hooks on it: in the engine if allowed, else in PyTorch."""
        net, model = self.module, self.model
        images, reason = self._images_of(args, kwargs, violation)
        if model._runs_in_torch(reason):
            if images is None:
                return self.call_in_torch(args, kwargs)
            return self.call_in_torch((self._in_forward_shape(images),), {})
        if not (net._forward_hooks or net._forward_pre_hooks or net._backward_hooks or net._backward_pre_hooks):
            return self._outputs_of_engine(images)
        with model._lock:  # PyTorch calls the hooks around the instance's own `forward`
            previous = net.__dict__.get("forward")  # set by this function, if a hook calls the module
            net.__dict__["forward"] = EngineForward(net, self._forward_after_hooks)
            try:
                return net._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
            finally:
                net.__dict__["forward"] = previous
                if previous is None:
                    del net.__dict__["forward"]

    def _forward_after_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for the arguments that pre-hooks return, which may also have changed the module."""
        violation = self.violation()
        if violation is not None and violation.is_change:  # the next call converts the module
            violation = violation._replace(reason=f"{violation.reason} by a forward pre-hook")
        images, reason = self._images_of(args, kwargs, violation)
        if not self.model._runs_in_torch(reason):
            return self._outputs_of_engine(images)
        if images is not None:
            args, kwargs = (self._in_forward_shape(images),), {}
        return select_output(type(self.module).forward(self.module, *args, **kwargs), self.output)

    def _images_of(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], violation: Violation | None
    ) -> tuple[Any, str | None]:
        """Return the images of a call, or None if it has other arguments, and why the engine may not run, or None."""
        if not args and list(kwargs) == [self._first_parameter_name()]:
            args, kwargs = tuple(kwargs.values()), {}
        if len(args) != 1 or kwargs:
            return None, _OTHER_ARGUMENTS
        images = args[0]
        reason = violation.reason if violation else circumstance(self.model.device.type)
        return images, (
            reason or self._dtype_violation(images) or self._shape_violation(images) or self._size_violation(images)
        )

    def _first_parameter_name(self) -> str | None:
        names = list(inspect.signature(type(self.module).forward).parameters)  # hooks replace that of the instance
        return names[1] if len(names) > 1 else None

    def _dtype_violation(self, images: Any) -> str | None:
        if not self.graph.depends_on_dtype or not isinstance(images, torch.Tensor) or images.is_floating_point():
            return None
        return f"its `forward` depends on the dtype of the images, which is {images.dtype} in this call"

    def _size_violation(self, images: Any) -> str | None:
        if not 0 < len(images) < self.graph.smallest_batch:
            return None
        return f"its `forward` computes something else for {counted(len(images), 'image')} than for a larger batch"

    def _shape_violation(self, images: Any) -> str | None:
        shape, forward_shape = tuple(getattr(images, "shape", ())[1:]), self.graph.image_shape
        if shape in (forward_shape, self.graph.input_shape):
            return None
        return f"its images are not [N, {', '.join(map(str, forward_shape))}], the shape for which it was converted"

    def _in_model_shape(self, images: Any) -> Any:
        """Return images that are flat or have no channel as [N, C, H, W]."""
        shape, forward_shape = self.graph.input_shape, self.graph.image_shape
        is_other = tuple(getattr(images, "shape", ())[1:]) == forward_shape != shape
        return images.reshape(len(images), *shape) if is_other else images

    def _in_forward_shape(self, images: Any) -> Any:
        """Return the images in the shape that ``forward`` takes. While torch.jit traces, return them unchanged."""
        forward_shape = self.graph.image_shape
        is_unprepared = isinstance(images, torch.Tensor) and (images.is_floating_point() or self.graph.depends_on_dtype)
        prepared = images if is_unprepared else self.model.prepare(self._in_model_shape(images))
        if torch._C._get_tracing_state() is not None:  # it would record the comparison
            return prepared
        is_other = tuple(prepared.shape[1:]) == self.graph.input_shape != forward_shape
        return prepared.reshape(len(prepared), *forward_shape) if is_other else prepared

    def _outputs_of_engine(self, images: Any) -> Any:
        model = self.model
        if model.training is not self.module.training:
            model.train(self.module.training)
        model._refresh()
        prepared = model.prepare(self._in_model_shape(images))
        outputs = model._forward_in_engine(prepared)
        if self._returns_single_tensor:
            return outputs
        parameters = model.tensors()[0] if outputs.requires_grad else []
        are_constant = [outputs.requires_grad and head.is_constant(prepared, parameters) for head in self._heads]
        return unflatten_outputs(self.graph.structure, split_outputs(outputs, self._heads, are_constant))


class FailedConversion(ModuleState):
    """Module in a state that cannot be converted, with the ``error`` and the attributes that ``forward`` reads."""

    def __init__(
        self, module: nn.Module, shape: InputSpec, output: OutputKey, error: ConversionError, reads: Reads
    ) -> None:
        super().__init__(module, shape, output)
        self.error, self._hooks = error, _hook_counts(module)
        self._rule = EngineRule(module, (), (), reads=reads, compare_tensors=False)

    @property
    def reason_for_torch(self) -> str:
        """Why every call of the module must run in PyTorch."""
        return f"it cannot be converted: {self.error}"

    def violation(self) -> Violation | None:
        """Return a change of the module since the conversion failed, or None. A change permits another conversion."""
        change = self._rule.change() if self._hooks == _hook_counts(self.module) else "hooks were added or removed"
        return Violation(change, is_change=True) if change else None

    def is_current(self) -> bool:
        """Return whether the module has not changed since the conversion failed."""
        return self.violation() is None


def _hook_counts(module: nn.Module) -> list[int]:
    return [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules()]


class NotCopied:
    """Object of a module that copies and pickles of the module do not hold: None is in its place."""

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a pickled module can be loaded without this package


class ConversionCache(NotCopied):
    """Conversions of a module, the latest one last. Copies of the module have none."""

    MAX_SIZE = 8

    def __init__(self) -> None:
        self.conversions: list[Conversion | FailedConversion] = []


def conversions(module: nn.Module) -> list[Conversion | FailedConversion]:
    """Return the conversions of a module, the latest one last."""
    cache = module.__dict__.get(CACHE_ATTRIBUTE)
    return cache.conversions if isinstance(cache, ConversionCache) else []


def conversion_of(module: nn.Module, shape: InputSpec, output: OutputKey) -> Conversion | FailedConversion:
    """Return the conversion of a module in its current state. Convert it only if no conversion is cached."""
    with _LOCK:
        if not isinstance(module.__dict__.get(CACHE_ATTRIBUTE), ConversionCache):
            module.__dict__[CACHE_ATTRIBUTE] = ConversionCache()
        cached, latest = conversions(module), latest_conversion(module)
        for each in reversed(cached):
            if each.module is module and (each.shape, each.output) == (shape, output) and each.is_current():
                cached.remove(each)
                break
        else:
            each = _new_conversion(module, shape, output)
        if isinstance(each, Conversion) and latest is not None and each is not latest:
            _copy_settings(latest.model, each.model)
        cached.append(each)
        del cached[: -ConversionCache.MAX_SIZE]
        return each


def latest_conversion(module: nn.Module) -> Conversion | None:
    """Return the latest successful conversion of a module, or None."""
    found = (each for each in reversed(conversions(module)) if isinstance(each, Conversion) and each.module is module)
    return next(found, None)


def _new_conversion(module: nn.Module, shape: InputSpec, output: OutputKey) -> Conversion | FailedConversion:
    reads = AttributeReads(module)
    try:
        graph = verified_graph(module, shape, output, reads)
    except SideEffectError as error:
        return FailedConversion(module, shape, output, error, error.without_writes(reads.found))
    except ConversionError as error:
        return FailedConversion(module, shape, output, error, reads.found)
    return Conversion(module, shape, output, graph)


def _copy_settings(latest: Model, model: Model) -> None:
    if latest.input_shape == model.input_shape:
        for name in _SETTINGS:
            if name != "class_names" or latest.num_classes == model.num_classes:
                setattr(model, name, getattr(latest, name))
