"""Conversions of a module: the model that computes its outputs, and how a call of the module runs in the engine."""

from __future__ import annotations

import inspect
import threading
import warnings
from typing import Any

import torch
from torch import nn

from mnistcnn._internal.tables import counted
from mnistcnn.convert.attribute_reads import AttributeReads
from mnistcnn.convert.errors import ConversionError
from mnistcnn.convert.heads import parameters_of_outputs, split_outputs
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
    circumstance,
    hooks_on,
)
from mnistcnn.nn.graph import parameter_users, tensor_places
from mnistcnn.nn.model import Model, place_of

# Attributes of a model that are copied to the model of the next conversion.
_SETTINGS = ("name", "normalization", "engine", "threads", "history")
_LOCK = threading.RLock()  # two threads may convert a module at the same time
_OTHER_ARGUMENTS = "it is called with other arguments than one batch of images"


class Conversion:
    """Module in one state, and the model that computes its outputs.

    Parameters
    ----------
    module
        Module of the user.
    shape
        Shapes in which ``forward`` may take an image.
    output
        Position or key of the selected output; None for all outputs.
    graph
        Graph of ``forward``.
    """

    def __init__(self, module: nn.Module, shape: InputSpec, output: OutputKey, graph: TracedGraph) -> None:
        self.module, self.shape, self.output, self.graph = module, shape, output, graph
        tensors = borrowed_tensors(module, graph)
        self.model = model = Model.from_rows(
            graph.rows, graph.input_shape, name=type(module).__name__, shared=graph.shared, tensors=tensors
        )
        users = parameter_users(model._network.parameter_specs, graph.shared)
        self._output_parameters = [frozenset(range(len(users)))]
        if len(graph.output_shapes) > 1:
            self._output_parameters = parameters_of_outputs(graph.rows, users)
        self._returns_single_tensor = graph.structure == SINGLE_TENSOR and graph.output_shapes == (model.output_shape,)
        self._warned = False
        self._effects = ", ".join(each.what for each in graph.effects)
        nodes = tensor_places(model._network.parameter_specs)
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
        is_first, self._warned = not self._warned, True
        if self._effects and is_first:
            warnings.warn(
                f"the engine computes only the outputs of {type(self.module).__name__}; its `forward` also has side "
                f"effects, which occur only in calls that PyTorch runs: {self._effects}",
                EngineWarning,
                stacklevel=4,
            )
        if self.graph.small_batches_differ and is_first:
            warnings.warn(
                f"the `forward` of {type(self.module).__name__} computes something else for fewer than "
                f"{counted(self.graph.smallest_batch, 'image')}; the engine computes the same for any number",
                EngineWarning,
                stacklevel=4,
            )
        self.model._refresh()
        return self.model.train(self.module.training)

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
        if not args and list(kwargs) == [self._first_parameter_name()]:
            args, kwargs = tuple(kwargs.values()), {}
        is_batch = len(args) == 1 and not kwargs
        if model._runs_in_torch(self._batch_violation(args[0], violation) if is_batch else _OTHER_ARGUMENTS):
            arguments = (self._in_forward_shape(args[0]),) if is_batch else args
            return call_in_torch(net, arguments, kwargs, self.output)
        if model.training is not net.training:
            model.train(net.training)
        if not (net._forward_hooks or net._forward_pre_hooks or net._backward_hooks or net._backward_pre_hooks):
            return self._outputs_of_engine(args[0])
        with model._lock:  # PyTorch calls the hooks around the instance's own `forward`
            previous = net.__dict__.get("forward")  # set by this function, if a hook calls the module
            net.__dict__["forward"] = EngineForward(net, self._outputs_of_engine)
            try:
                return net._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
            finally:
                net.__dict__["forward"] = previous
                if previous is None:
                    del net.__dict__["forward"]

    def _first_parameter_name(self) -> str | None:
        return next(iter(inspect.signature(self.module.forward).parameters), None)

    def _batch_violation(self, images: Any, violation: Violation | None) -> str | None:
        """Return why the engine may not compute a batch of images, or None."""
        reason = violation.reason if violation else circumstance(self.model.device.type)
        return reason or self._dtype_violation(images) or self._shape_violation(images) or self._size_violation(images)

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
        self.model._refresh()
        outputs = self.model._forward_in_engine(self.model.prepare(self._in_model_shape(images)))
        if self._returns_single_tensor:
            return outputs
        return unflatten_outputs(
            self.graph.structure, split_outputs(outputs, self.graph.output_shapes, self._output_parameters)
        )


def call_in_torch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: OutputKey) -> Any:
    """Call a module in PyTorch and return the selected output."""
    return select_output(module._call_impl(*args, **kwargs), output)  # type: ignore[no-untyped-call]


class FailedConversion:
    """Module in a state that cannot be converted."""

    def __init__(
        self, module: nn.Module, shape: InputSpec, output: OutputKey, error: ConversionError, reads: Reads
    ) -> None:
        self.module, self.shape, self.output, self.error = module, shape, output, error
        self._hooks = _hook_counts(module)
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


class ConversionCache:
    """Conversions of a module, the latest one last. Copies of the module have none."""

    MAX_SIZE = 8

    def __init__(self) -> None:
        self.conversions: list[Conversion | FailedConversion] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # a pickled module can be loaded without this package


def conversions(module: nn.Module) -> list[Conversion | FailedConversion]:
    """Return the conversions of a module, the latest one last."""
    cached = module.__dict__.get(CACHE_ATTRIBUTE)
    if not isinstance(cached, ConversionCache):
        cached = module.__dict__[CACHE_ATTRIBUTE] = ConversionCache()
    return cached.conversions


def conversion_of(module: nn.Module, shape: InputSpec, output: OutputKey) -> Conversion | FailedConversion:
    """Return the conversion of a module in its current state. Convert it only if no conversion is cached."""
    with _LOCK:
        cached = conversions(module)
        for each in reversed(cached):
            if each.module is module and (each.shape, each.output) == (shape, output) and each.is_current():
                cached.remove(each)
                break
        else:
            each = _new_conversion(module, shape, output)
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
    previous, conversion = latest_conversion(module), Conversion(module, shape, output, graph)
    if previous is not None and previous.model.input_shape == conversion.model.input_shape:
        for name in _SETTINGS:
            setattr(conversion.model, name, getattr(previous.model, name))
    return conversion
