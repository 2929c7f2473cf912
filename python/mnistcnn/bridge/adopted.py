"""A model around an author's own module: their modules and parameters, our memory and engine."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnistcnn._native import core
from mnistcnn.bridge.heads import parameters_behind, separated
from mnistcnn.bridge.outputs import ONE, Choice, chosen, put_together
from mnistcnn.graph import Row
from mnistcnn.model import EngineWarning, Model
from mnistcnn.module_tree import Link, Place
from mnistcnn.normalization import Normalization
from mnistcnn.untraced import untraced

# What nn.Module keeps in every instance: children, tensors, hooks.
_STATE_OF_MODULES = tuple(vars(nn.Module()))


@dataclass(frozen=True)
class Plan:
    """The network that a module was found to be. Plain data."""

    rows: tuple[Row, ...]
    tensors: tuple[Mapping[str, str], ...]  # of each node: our suffix -> the author's name of the tensor
    owners: tuple[str, ...]  # modules whose mode, training or evaluation, must be the whole model's
    layers: tuple[str, ...]  # modules whose work the engine does
    input_shape: tuple[int, ...]  # (channels, height, width)
    image_shape: tuple[int, ...]  # of one image as the author's forward takes it
    output_shapes: tuple[tuple[int, ...], ...]  # of one image's outputs as the author's forward gives them
    form: Any = ONE  # how the author's forward returns them
    output: Choice = None  # the one that was asked for


class AdoptedModel(Model):
    """A `Model` whose layers are an author's own modules; see `mnistcnn.from_torch`.

    Memory is shared: the modules keep their parameters, which now lie in the model's flat memory. Whatever changes
    in one is changed in the other. Where the engine can't do what the modules would (hooks on a layer, layers in
    different modes), the author's forward runs in PyTorch instead.
    """

    @classmethod
    def adopt(
        cls, module: nn.Module, plan: Plan, *, name: str | None = None, normalization: Normalization | None = None
    ) -> AdoptedModel:
        """A model of this plan, around this module."""
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model.__dict__["_original"], model.__dict__["_plan"] = module, plan
        model._build(
            plan.rows, plan.input_shape, seed=0, name=name or type(module).__name__, normalization=normalization
        )
        model.__dict__.update((key, module.__dict__[key]) for key in _STATE_OF_MODULES)
        return model

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
        model = Model.from_rows(self.rows, self.input_shape, name=self.name, normalization=self.normalization)
        self._relink()
        for name in ("values", "buffers", "counters"):
            getattr(model._network, name).copy_(getattr(self._network, name))
        for its, mine in zip(model._parameter_links, self._parameter_links, strict=True):
            its.tensor.requires_grad_(mine.tensor.requires_grad)
        model.engine, model.threads, model.history = self.engine, self.threads, copy.deepcopy(self.history)
        return model.to(self.device).train(self.training)

    def save(self, path: str | Path) -> Path:
        """Writes network, weights and normalization; `mnistcnn.load_model` reads them without the author's class."""
        return self.plain().save(path)

    # ---- how it computes

    @untraced
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for a batch, as the author's forward gives them."""
        if not args and list(kwargs) == [self._images_name()]:
            args, kwargs = tuple(kwargs.values()), {}
        more = len(args) != 1 or bool(kwargs)
        if self._needs_original(more):
            given = args if more else (self.prepare(args[0]).reshape(-1, *self._plan.image_shape),)
            return chosen(self._original.forward(*given, **kwargs), self._plan.output)
        outputs = super().forward(args[0])
        return outputs if self._keeps_shape else self._as_returned(outputs)

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

    def _needs_original(self, more: bool) -> bool:
        """Whether the modules would do something that the engine doesn't, said once; ``more`` is given than images."""
        reason, mode = None, self.training
        if more:
            reason = "it is called with more than a batch of images"
        elif any(owner.training != mode for owner in self._owners):
            reason = "some layers are in another mode than the whole model"
        elif any(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks for layer in self._layers):
            reason = "there are hooks on its layers"
        if reason is not None and reason not in self._told:
            self._told.add(reason)
            warnings.warn(
                f"'{self.name}' runs in PyTorch, not in mnistcnn's engine, while {reason}", EngineWarning, stacklevel=3
            )
        return reason is not None

    def _check_modes(self) -> None:
        """Done before, by `_needs_original`."""

    # ---- memory

    def _plant(self) -> None:
        module, plan = self._original, self._plan
        self.__dict__["_owners"] = [module.get_submodule(path) for path in plan.owners]
        self.__dict__["_layers"] = [module.get_submodule(path) for path in plan.layers]
        self._told: set[str] = set()
        self._keeps_shape = plan.form == ONE and plan.output_shapes == (self.output_shape,)
        holders = [node for _, _, node, _ in self._network.parameter_specs]
        several = len(plan.output_shapes) > 1
        self._behind = parameters_behind(plan.rows, holders) if several else [frozenset(range(len(holders)))]
        device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
        network = self._network
        if device.type != "cpu":
            names = ("values", "gradients", "buffers", "counters")
            network.set_memory(**{name: getattr(network, name).to(device) for name in names})

    def _attach(self) -> None:
        """The author's parameters become views of the flat memory; they stay the same objects."""
        self._parameter_links = [Link(place, name, view, trained=True) for name, place, view in self._parameter_views()]
        self._buffer_links = [Link(place, name, view, trained=False) for name, place, view in self._buffer_views()]
        self._relink()

    def _place(self, node: int, key: str) -> Place:
        path, _, name = self._plan.tensors[node][key].rpartition(".")
        owner = self._original.get_submodule(path)
        return Place(owner, name, tuple(getattr(owner, name).shape))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> AdoptedModel:
        super()._apply(fn)
        linked = {id(link.tensor) for link in (*self._parameter_links, *self._buffer_links)}
        for module in self.modules():
            _move_unlinked(module, fn, linked)
        return self

    def _rebuild(self, plan: Plan) -> None:
        """Another network around the same module, which was changed."""
        settings = {**self._settings(), "_forwards": self._forwards + 1}  # an older forward's record is gone
        self.__dict__["_plan"] = plan
        self._build(plan.rows, plan.input_shape, seed=0, name=self.name, normalization=self.normalization)
        for name, value in settings.items():
            setattr(self, name, value)

    # ---- copies

    def __reduce__(self) -> tuple[Any, ...]:
        # The author's parameters are views of one large memory: copied first, so that each is stored once.
        return _restore, (*self._recipe(), copy.deepcopy(self._original), self._plan, self._settings())

    def __deepcopy__(self, memo: dict[int, Any]) -> AdoptedModel:
        make, argument = self._recipe()
        copied = _restore(make, argument, copy.deepcopy(self._original, memo), self._plan, self._settings())
        memo[id(self)] = copied
        for mine, its in zip(self._parameter_links, copied._parameter_links, strict=True):
            its.tensor.grad = None if mine.tensor.grad is None else mine.tensor.grad.clone()
        return copied

    def _recipe(self) -> tuple[Callable[..., Any], Any]:
        """What makes a model of this class: a function and its argument."""
        return (_same_class, type(self))

    def _settings(self) -> dict[str, Any]:
        names = ("name", "normalization", "engine", "threads", "training")
        return {**{name: getattr(self, name) for name in names}, "history": copy.deepcopy(self.history)}


def _move_unlinked(module: nn.Module, fn: Callable[[torch.Tensor], torch.Tensor], linked: set[int]) -> None:
    """Members that the network doesn't use go along."""
    for parameter in module._parameters.values():
        if parameter is not None and id(parameter) not in linked:
            parameter.data = fn(parameter.data)
            parameter.grad = None if parameter.grad is None else fn(parameter.grad)
    for key, buffer in module._buffers.items():
        if buffer is not None and id(buffer) not in linked:
            module._buffers[key] = fn(buffer)


def _same_class(kind: type[AdoptedModel]) -> type[AdoptedModel]:
    return kind


def _restore(make: Any, argument: Any, module: nn.Module, plan: Plan, settings: dict[str, Any]) -> AdoptedModel:
    model: AdoptedModel = make(argument).adopt(module, plan)
    for name, value in settings.items():
        setattr(model, name, value)
    return model


def network_of(plan: Plan) -> core.Network:
    """The core's network of a plan, with weights of its own."""
    return core.Network(input_shape=list(plan.input_shape), nodes=list(plan.rows), seed=0)
