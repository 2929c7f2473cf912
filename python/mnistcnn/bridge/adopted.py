"""A model around an author's own module: their modules and parameters, our memory and engine."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnistcnn._native import core
from mnistcnn.bridge.heads import parameters_behind, separated
from mnistcnn.bridge.outputs import ONE, Choice, chosen, put_together
from mnistcnn.bridge.side_effects import SideEffect
from mnistcnn.engine_rule import EngineForward, EngineRule, Reads, Violation
from mnistcnn.graph import Row, Shared, parameter_users
from mnistcnn.model import Model, Place
from mnistcnn.normalization import Normalization
from mnistcnn.untraced import untraced

_OURS = ("name", "seed", "engine", "threads", "history", "normalization")  # attributes of every Model
_MORE = "it is called with more than a batch of images"
# What nn.Module keeps in every instance: children, tensors, hooks.
_STATE_OF_MODULES = tuple(vars(nn.Module()))


@dataclass(frozen=True)
class Plan:
    """The network that a module was found to be. Plain data."""

    rows: tuple[Row, ...]
    tensors: tuple[Mapping[str, str], ...]  # of each node: our suffix -> the author's name of the tensor
    owners: tuple[str, ...]  # modules whose mode, training or evaluation, must be the whole model's
    input_shape: tuple[int, ...]  # (channels, height, width)
    image_shape: tuple[int, ...]  # of one image as the author's forward takes it
    output_shapes: tuple[tuple[int, ...], ...]  # of one image's outputs as the author's forward gives them
    shared: tuple[Shared, ...] = ()  # tensors that several nodes use
    form: Any = ONE  # how the author's forward returns them
    output: Choice = None  # the one that was asked for
    reads: Reads = ()  # attributes of the modules that decide what the forward computes
    effects: tuple[SideEffect, ...] = ()  # what the forward does beside computing its outputs


class AdoptedModel(Model):
    """A `Model` whose layers are an author's own modules; see `mnistcnn.from_torch`.

    The model has no tensors of its own: every run reads those that the modules have at that moment. Where the engine
    can't do what the modules would (hooks on a layer, layers in different modes), the author's forward runs in PyTorch
    instead.
    """

    @classmethod
    def adopt(
        cls, module: nn.Module, plan: Plan, *, name: str | None = None, normalization: Normalization | None = None
    ) -> AdoptedModel:
        """A model of this plan, around this module."""
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model.__dict__["_original"], model.__dict__["_plan"] = module, plan
        model.__dict__["_shared"] = list(plan.shared)
        model._build(
            plan.rows, plan.input_shape, seed=0, name=name or type(module).__name__, normalization=normalization
        )
        model._take_state()
        return model

    def _take_state(self) -> None:
        """Have the author's children, tensors and hooks: the very dictionaries."""
        self.__dict__.update((key, self._original.__dict__[key]) for key in _STATE_OF_MODULES)

    @property
    def original(self) -> nn.Module:
        """The author's module. It computes in PyTorch, with the same parameters."""
        module: nn.Module = self._original
        return module

    def __getattr__(self, name: str) -> Any:
        """What a Model doesn't have is looked for in the author's module."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_original" not in self.__dict__ or name.startswith("__"):
                raise
            return getattr(self.__dict__["_original"], name)

    def plain(self) -> Model:
        """A model with the same layers and weights of its own, without the author's modules."""
        self.check_one_output()
        model = Model.from_rows(
            self.rows, self.input_shape, name=self.name, normalization=self.normalization, shared=self.shared
        )
        with torch.no_grad():
            for its, mine in zip(model.tensors(), self.tensors(), strict=True):
                for to, given in zip(its, mine, strict=True):
                    to.copy_(given.reshape(to.shape))
        for to, given in zip(model.tensors()[0], self.tensors()[0], strict=True):
            to.requires_grad_(given.requires_grad)
        model.engine, model.threads, model.history = self.engine, self.threads, copy.deepcopy(self.history)
        return model.to(self.device).train(self.training)

    def save(self, path: str | Path) -> Path:
        """Writes network, weights and normalization; `mnistcnn.load_model` reads them without the author's class."""
        return self.plain().save(path)

    # ---- how it computes

    @untraced
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for a batch, as the author's forward gives them."""
        args, kwargs, reason = self._arranged(args, kwargs)
        if self._must_run_in_torch(reason):
            return chosen(self._original.forward(*self._arguments_of_torch(args, reason), **kwargs), self._plan.output)
        return self._outputs_of_engine(args[0])

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], violation: Violation | None) -> Any:
        """Compute a call of the author's module: in the engine if it may run, with the hooks on the module."""
        net = self._original
        args, kwargs, reason = self._arranged(args, kwargs)
        reason = reason or self._reason_for_torch(violation) or self._reason_in_shape(args[0])
        if self._runs_in_torch(reason):
            return chosen(net._call_impl(*self._arguments_of_torch(args, reason), **kwargs), self._plan.output)
        if not (net._forward_hooks or net._forward_pre_hooks or net._backward_hooks or net._backward_pre_hooks):
            return self._outputs_of_engine(args[0])
        with self._lock:  # PyTorch calls hooks around the forward that the instance has
            outer = net.__dict__.get("forward")  # of this function: a hook may call the module
            net.__dict__["forward"] = EngineForward(net, self._outputs_of_engine)
            try:
                return net._call_impl(*args, **kwargs)
            finally:
                net.__dict__["forward"] = outer
                if outer is None:
                    del net.__dict__["forward"]

    def _arranged(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], str | None]:
        """Return the arguments with the images first, and why the engine can't take them."""
        if not args and list(kwargs) == [self._images_name()]:
            args, kwargs = tuple(kwargs.values()), {}
        if len(args) != 1 or kwargs:
            return args, kwargs, _MORE
        return args, kwargs, None

    def _arguments_of_torch(self, args: tuple[Any, ...], reason: str | None) -> tuple[Any, ...]:
        """Return the arguments in the author's shape; more than a batch of images is passed on unchanged."""
        return args if reason == _MORE else (self._given_to_torch(args[0]),)

    def _reason_in_shape(self, images: Any) -> str | None:
        shape = tuple(getattr(images, "shape", ())[1:])
        if shape in (self._plan.image_shape, self.input_shape):
            return None
        return f"its images are not [N, {', '.join(map(str, self._plan.image_shape))}], for which it was converted"

    def _outputs_of_engine(self, images: Any) -> Any:
        outputs = self._forward_in_engine(self.prepare(images))
        return outputs if self._keeps_shape else self._as_returned(outputs)

    def _torch_module(self) -> nn.Module:
        return self.original

    def _parameter_names(self) -> list[str]:
        specs = self._network.parameter_specs
        return [self._plan.tensors[node][name.rpartition(".")[2]] for name, _, node, _ in specs]

    def _one_output(self, outputs: Any) -> torch.Tensor:
        if self._plan.form != ONE:
            raise RuntimeError(
                "second derivatives need a forward that returns one tensor; choose one: "
                "mnistcnn.accelerate(net, output=0)"
            )
        tensor: torch.Tensor = chosen(outputs, self._plan.output)
        return tensor.reshape(-1, *self.output_shape)

    def _given_to_torch(self, images: Any) -> Any:
        given = super()._given_to_torch(images)
        whole = torch._C._get_tracing_state() is None and tuple(given.shape[1:]) == self.input_shape
        return given.reshape(-1, *self._plan.image_shape) if whole else given

    def _images_name(self) -> str | None:
        """What the author's forward calls its images."""
        return next(iter(inspect.signature(self._original.forward).parameters), None)

    def _as_returned(self, outputs: torch.Tensor) -> Any:
        """In the author's shapes, and each by itself."""
        return put_together(self._plan.form, separated(outputs, self._plan.output_shapes, self._behind))

    def check_one_output(self) -> None:
        """Refuses a forward that returns several, where one is needed."""
        shapes = self._plan.output_shapes
        if len(shapes) > 1:
            listed = ", ".join(f"[{', '.join(map(str, ('N', *shape)))}]" for shape in shapes)
            first = next(iter(self._plan.form)) if isinstance(self._plan.form, dict) else 0
            raise ValueError(
                f"the forward of '{self.name}' returns {len(shapes)} tensors, {listed}; say which one holds the "
                f"classes, as in mnistcnn.from_torch(net, output={first!r})"
            )

    def prepare(self, images: Any) -> torch.Tensor:
        """Checked float32 images; also in the shape that the author's forward takes."""
        shape = getattr(images, "shape", ())
        if tuple(shape[1:]) == self._plan.image_shape != self.input_shape:
            images = images.reshape(len(images), *self.input_shape)
        return super().prepare(images)

    def check_images(self, images: torch.Tensor) -> None:
        """Refuses others; says also how the author's forward takes them."""
        try:
            super().check_images(images)
        except ValueError as error:
            form = self._plan.image_shape
            if form == self.input_shape:
                raise
            raise ValueError(f"{error}; or [N, {', '.join(map(str, form))}], as its forward does") from None

    @property
    def training(self) -> bool:
        """The author's module's own."""
        original = self.__dict__.get("_original")
        return original is None or bool(original.training)

    @training.setter
    def training(self, mode: bool) -> None:
        if "_original" in self.__dict__:
            self.__dict__["_original"].training = mode

    def train(self, mode: bool = True) -> AdoptedModel:
        """As the author's module would; some keep layers in evaluation mode."""
        given = type(self._original).train
        if given is nn.Module.train or "mode" not in inspect.signature(given).parameters:
            nn.Module.train(self._original, mode)
        else:
            self._original.train(mode)
        return self

    @property
    def effects(self) -> list[str]:
        """What the author's forward does beside computing its outputs."""
        return [each.what for each in self._plan.effects]

    def _made_rule(self) -> EngineRule:
        return EngineRule(self._original, self._plan.owners, self._named_places(), reads=self._plan.reads)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the author's module, if it has one of this name and a model has not."""
        original = self.__dict__.get("_original")
        ours = original is None or name not in vars(original) or name in _OURS or hasattr(type(self), name)
        if ours or name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(original, name, value)

    # ---- memory

    def _plant(self) -> None:
        plan = self._plan
        self._warned: set[str] = set()
        self._keeps_shape = plan.form == ONE and plan.output_shapes == (self.output_shape,)
        users = parameter_users(self._network.parameter_specs, plan.shared)
        several = len(plan.output_shapes) > 1
        self._behind = parameters_behind(plan.rows, users) if several else [frozenset(range(len(users)))]

    def _defined(self, rows: Sequence[Row], input_shape: Sequence[int]) -> dict[str, Any]:
        names = [name for name, *_ in rows]
        shapes = {
            f"{name}.{suffix}": tuple(_member(self._original, author).shape)
            for name, tensors in zip(names, self._plan.tensors, strict=True)
            for suffix, author in tensors.items()
        }
        return {**super()._defined(rows, input_shape), "stored_shapes": shapes}

    def _register(self) -> None:
        """Leave the author's tensors where they are."""

    def _place(self, node: int, suffix: str) -> Place:
        path, _, key = self._plan.tensors[node][suffix].rpartition(".")
        owner = self._original.get_submodule(path)
        return (owner._parameters if suffix in ("weight", "bias") else owner._buffers), key

    # ---- copies

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._take_state()
        super().__setstate__({})

    def settings(self) -> dict[str, Any]:
        """Return what the user has set, for another model of the same module."""
        names = ("name", "normalization", "engine", "threads", "history")
        return {name: getattr(self, name) for name in names}


def _member(module: nn.Module, name: str) -> torch.Tensor:
    path, _, key = name.rpartition(".")
    tensor: torch.Tensor = getattr(module.get_submodule(path), key)
    return tensor


def network_of(plan: Plan) -> core.Network:
    """The core's network of a plan, with weights of its own."""
    return core.Network(input_shape=list(plan.input_shape), nodes=list(plan.rows), shared=list(plan.shared))
