"""`Model`: a network and its weights, as a ``torch.nn.Module`` that runs in an engine of mnistcnn."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import fx, nn

from mnistcnn._internal.checks import image_shape, seed_number
from mnistcnn._internal.native import core
from mnistcnn._internal.tables import dimensions
from mnistcnn.data.arrays import as_tensor
from mnistcnn.data.image_set import TO_BYTES
from mnistcnn.data.normalization import UNIT, Normalization
from mnistcnn.nn import after_fork
from mnistcnn.nn.autograd import EngineFunction
from mnistcnn.nn.empty_batch import empty_outputs
from mnistcnn.nn.engine_choice import choose_engine, refused_run, thread_count, warn_of_torch
from mnistcnn.nn.engine_rule import EngineRule, Violation, caller_level, circumstance, hooks_on
from mnistcnn.nn.graph import Row, Shared, build_rows, detached_parameters, parameter_users, tensor_places
from mnistcnn.nn.save import save_model
from mnistcnn.nn.torch_layers import add_under_name, forward_function, step_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnistcnn.nn.layers import Layers
    from mnistcnn.nn.pretrained import ModelCard
    from mnistcnn.nn.summary import Summary
    from mnistcnn.training.history import History

Outputs = Literal["log_probabilities", "probabilities", "logits"]
_OUTPUTS: dict[str, Outputs] = {"log_softmax": "log_probabilities", "softmax": "probabilities"}
_CHUNK = 1024  # images per engine call when no gradients are needed
Place = tuple[dict[str, Any], str]  # a module's dictionary of parameters or buffers, and a key in it
Tensors = tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]  # parameters, buffers, counters
# For each node: tensor name in the node -> (module that holds the tensor, tensor name in that module)
BorrowedTensors = Sequence[Mapping[str, tuple[nn.Module, str]]]
# Methods of Keras -> the call of mnistcnn
_INSTEAD = {"fit": "train(model, train_set)", "evaluate": "test(model, test_set)", "predict": "predict(model, images)"}
# Attributes that are neither pickled nor copied, but created again
_REBUILT = ("_network", "_engines", "_latest_engine", "_lock", "_getters", "_rule", "_layer_forward")


class Model(nn.Module):
    """Network and its weights.

    A model is a ``torch.nn.Module`` of layers of ``torch.nn``: ``parameters()``, ``state_dict()``, ``to()``, hooks,
    ``torch.optim`` and any training loop work as usual. An engine computes forward and backward passes with the current
    tensors of the layers. A call runs in PyTorch, with one `EngineWarning` per reason, if the engine cannot run it:
    hooks on a layer, a changed layer, autocast, tracing. ``model.engine`` ("auto", "lanes" or "aten") and
    ``model.threads`` select how it runs. ``model.history`` is the history of the latest training.

    Parameters
    ----------
    layers
        List or mapping of layers, which may be nested. Names are those of ``torch.nn.Sequential`` and of nested
        modules. Use `Residual`, `Branches` and `Node` for graphs that are not a chain.
    input_shape
        Shape of an image: (channels, height, width).
    seed
        Seed of the initial weights.
    name
        Name in summaries and messages.
    normalization
        Normalization of uint8 pixels; float images are not normalized. Default: None, pixels / 255 until `train` sets
        the mean and standard deviation of the training set.

    Examples
    --------
    >>> import mnistcnn, torch
    >>> from mnistcnn.layers import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, LogSoftmax, ReLU
    >>> model = mnistcnn.Model([Conv2d(8, 3), ReLU(), AdaptiveAvgPool2d(1), Flatten(), Linear(10), LogSoftmax()])
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

    card: ModelCard | None = None  # of the pretrained weights that `create_model` loaded; `train` sets it to None
    class_names: tuple[str, ...] | None = None  # set by `train`, from the training set; None: the numbers 0, 1, ...

    def __init__(
        self,
        layers: Layers,
        input_shape: Sequence[int] = (1, 28, 28),
        *,
        seed: int = 0,
        name: str = "model",
        normalization: Normalization | None = None,
    ) -> None:
        super().__init__()
        self._shared: list[Shared] = []
        self._build(build_rows(layers), input_shape, seed=seed, name=name, normalization=normalization)

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[Row],
        input_shape: Sequence[int],
        *,
        seed: int = 0,
        name: str = "model",
        normalization: Normalization | None = None,
        shared: Sequence[Shared] = (),
        tensors: BorrowedTensors | None = None,
    ) -> Model:
        """Return a model of a flat list of nodes, in the format of ``model.rows`` and ``model.shared``.

        ``tensors`` gives for each node the tensors of other modules that the model uses instead of its own.
        """
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model._shared = list(shared)
        model._build(rows, input_shape, seed=seed, name=name, normalization=normalization, tensors=tensors)
        return model

    def _build(
        self,
        rows: Sequence[Row],
        input_shape: Sequence[int],
        *,
        seed: int,
        name: str,
        normalization: Normalization | None,
        tensors: BorrowedTensors | None = None,
    ) -> None:
        shape = list(image_shape("input_shape", input_shape))
        self._definition: dict[str, Any] = {"input_shape": shape, "nodes": list(rows), "shared": self._shared}
        self._network = core.Network(**self._definition)
        self.name = name
        self.seed = seed_number(seed)
        self.engine = "auto"
        self.threads: int | None = None
        self.history: History | None = None
        self.normalization = normalization
        dropouts = [fields for _, op, _, fields in rows if op in ("dropout", "dropout2d")]
        self._has_dropout = bool(dropouts)
        self._drops_in_evaluation = any(fields.get("always") for fields in dropouts)
        users = parameter_users(self._network.parameter_specs, self._shared)
        self._detached = detached_parameters(rows, users)
        self._borrowed: dict[tuple[int, str], Place] = {}
        self._layer_shapes: dict[int, tuple[int, ...]] = {}  # for parameters that are stored in another shape
        self._add_layers(may_shadow=tensors is not None)
        if tensors is None:
            self._register()
        else:
            self._borrow(tensors)
        self._prepare_engines()

    def _prepare_engines(self) -> None:
        """Set the attributes that are neither pickled nor copied."""
        self._engines: dict[tuple[str, int], core.Engine] = {}
        self._latest_engine: core.Engine | None = None
        self._forwards = 0  # number of forward passes; a backward pass checks that the engine holds its own
        self._lock = threading.RLock()  # an engine is used by one thread at a time
        after_fork.watch(self)
        # Functions that return the tensors that the modules hold now; called before every forward pass.
        self._getters: list[list[Callable[[], Any]]] = [
            [partial(held.get, key) for held, key in places] for places in self._places()
        ]
        self._rule = self._create_rule()
        self._layer_forward = forward_function(self._network.nodes, self._layers)

    def _add_layers(self, *, may_shadow: bool) -> None:
        """Create the layers on the meta device, so that PyTorch draws no random numbers.

        ``may_shadow`` allows layers with the name of an attribute of `Model`; they are found in ``named_modules``.
        """
        self._warned: set[str] = set()
        self._layers: dict[int, nn.Module] = {}  # node -> its layer, for nodes that are layers of torch.nn
        with torch.device("meta"):
            for node, row in enumerate(self._network.nodes):
                step = step_of(row["op"], row["fields"], row["input_shapes"][0])
                if isinstance(step, nn.Module):
                    self._layers[node] = step
                    add_under_name(self, row["name"], step, may_shadow=may_shadow)

    def _create_rule(self) -> EngineRule:
        followers = [
            row["name"]
            for row in self._network.nodes
            if row["op"].startswith("dropout") or row["op"] in ("batchnorm1d", "batchnorm2d", "instancenorm2d")
        ]
        return EngineRule(self, followers, self._named_places(), reads=None)

    def _named_places(self) -> list[tuple[str, dict[str, Any], str]]:
        """Return (name, dictionary, key) of each parameter."""
        return [(spec[0], *place) for spec, place in zip(self._network.parameter_specs, self._places()[0], strict=True)]

    # ---- structure

    @property
    def rows(self) -> list[Row]:
        """Nodes of the network as plain data: (name, op, indices of the inputs, fields)."""
        return [(row["name"], row["op"], list(row["inputs"]), row["fields"]) for row in self._network.nodes]

    @property
    def shared(self) -> list[Shared]:
        """Tensors that a node shares with an earlier one: (node, tensor name such as "weight", earlier node)."""
        return list(self._shared)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an image: (channels, height, width)."""
        return tuple(self._network.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output for one image: (classes,) for a classifier."""
        return tuple(self._network.nodes[-1]["output_shape"])

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        if len(self.output_shape) != 1:
            raise ValueError(f"the output must have shape (classes,), got {self.output_shape}; end with Flatten()")
        return self.output_shape[0]

    @property
    def parameter_count(self) -> int:
        """Number of elements of all parameters, frozen ones included."""
        return int(self._network.parameter_count)

    @property
    def outputs(self) -> Outputs:
        """Kind of the outputs: "log_probabilities", "probabilities" or "logits"."""
        return _OUTPUTS.get(self._network.nodes[-1]["op"], "logits")

    @property
    def device(self) -> torch.device:
        """Device of the weights, or of the running statistics if there are no weights."""
        first = next((held() for getters in self._getters for held in getters), None)
        return torch.device("cpu") if first is None else first.device

    def summary(self, batch_size: int = 128) -> Summary:
        """Return a table of the layers: shapes, parameters, multiply-accumulates, memory and receptive fields.

        ``batch_size`` is used for the memory of a training step.
        """
        from mnistcnn.nn.summary import Summary

        return Summary.of(self, batch_size)

    def save(self, path: str | Path) -> Path:
        """Write network, weights, normalization, class names and frozen parameters to a file; return its path.

        The format is safetensors. Raise ValueError if the suffix is that of another format, such as ``.pt``.
        """
        return save_model(self, path)

    def to_torch(self, *, copy: bool = True) -> nn.Module:
        """Return a PyTorch module that does not depend on mnistcnn; see `mnistcnn.nn.to_torch.to_torch`."""
        from mnistcnn.nn.to_torch import to_torch

        return to_torch(self, copy=copy)

    def load_weights(self, weights: Any, *, by_order: bool = False) -> Model:
        """Load the weights of a file or a state dict; see `mnistcnn.nn.weights.load_weights`."""
        from mnistcnn.nn.weights import load_weights

        load_weights(self, weights, by_order=by_order)
        return self

    def __getattr__(self, name: str) -> Any:
        """Return a parameter, buffer or layer. Raise AttributeError with a hint for methods that Keras users call."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name not in _INSTEAD:
                raise
            message = f"{type(self).__name__!r} object has no attribute {name!r}; write mnistcnn.{_INSTEAD[name]}"
            raise AttributeError(message, name=name, obj=self) from None

    def __repr__(self) -> str:
        shape = dimensions(self.input_shape)
        head = f"{type(self).__name__} '{self.name}': {self.parameter_count:,} parameters, input {shape}"
        lines = [f"  {name}: {op}({nondefault_fields(op, fields)})" for name, op, _, fields in self.rows]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # ---- forward pass in the engine

    def forward(self, images: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
        """Return the outputs for images [N, C, H, W]: float, or uint8, which are normalized first."""
        if torch.compiler.is_compiling() or self._must_run_in_torch(
            "torch.fx traces it" if isinstance(images, fx.Proxy) else None
        ):
            return self._run_layers(self._layer_inputs(images))
        return self._forward_in_engine(self.prepare(images))

    def _forward_in_engine(self, prepared: torch.Tensor) -> torch.Tensor:
        if len(prepared) == 0:
            return empty_outputs(self, prepared)
        if torch.is_grad_enabled():
            tensors = self.tensors()
            parameters = tensors[0]  # if one is None, the engine raises an error with its name
            if prepared.requires_grad or self._any_requires_grad(parameters):
                outputs: torch.Tensor = EngineFunction.apply(prepared, self, self._draw_seed(), tensors, *parameters)  # type: ignore[no-untyped-call]
                return outputs
        if self.training:
            return self.engine_forward(prepared, self._draw_seed())
        parts = [self.engine_forward(part, self._draw_seed()) for part in torch.split(prepared, _CHUNK)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _any_requires_grad(self, parameters: list[torch.Tensor]) -> bool:
        detached = self._detached
        return any(
            held is not None and held.requires_grad and place not in detached for place, held in enumerate(parameters)
        )

    # ---- fallback to PyTorch

    def _must_run_in_torch(self, reason: str | None = None) -> bool:
        """Return whether a forward pass must fall back to PyTorch; warn once for each reason."""
        violation = self.violation()
        return self._runs_in_torch(reason or (violation.reason if violation else circumstance(self.device.type)))

    def _runs_in_torch(self, reason: str | None) -> bool:
        if reason is not None and reason not in self._warned:
            self._warned.add(reason)
            warn_of_torch(self.name, reason, stacklevel=caller_level() + 1)
        return reason is not None

    def outputs_in_torch(self, images: torch.Tensor, parameters: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the outputs of PyTorch's layers with the given parameters; do not update running statistics."""
        specs = self._network.parameter_specs
        tensors = {spec[0]: held for spec, held in zip(specs, parameters, strict=True)}
        tensors |= {name: buffer.detach().clone() for name, buffer in self.named_buffers()}
        return self._run_layers(images, tensors)

    def _run_layers(self, images: Any, tensors: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Return the outputs of PyTorch's layers. ``tensors`` replace the layers' own."""
        specs = self._network.parameter_specs
        if tensors is None and self._layer_shapes:
            parameters = self.tensors()[0]
            tensors = {specs[position][0]: parameters[position] for position in self._layer_shapes}
        if not tensors:
            return self._layer_forward(self, images)
        named = {f"model.{name}": tensor for name, tensor in tensors.items()}
        outputs: torch.Tensor = torch.func.functional_call(_Layers(self), named, (images,))
        return outputs

    def _layer_inputs(self, images: Any) -> Any:
        """Return the input of the layers. Float images are returned unchanged, so that a trace records only layers."""
        is_float = isinstance(images, torch.Tensor) and images.is_floating_point()
        return images if is_float or isinstance(images, fx.Proxy) else self.prepare(images)

    def violation(self) -> Violation | None:
        """Return the reason why the engine must not run a forward pass now, or None."""
        return self._rule.violation(self.training)

    def check_engine_may_run(self) -> None:
        """Raise ValueError if a native run would not compute the same as the layers."""
        violation = self.violation() or hooks_on(self)
        if violation is not None:
            raise refused_run(self.name, violation)

    def prepare(self, images: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
        """Return images as float32 [N, C, H, W] on the model's device, with uint8 pixels normalized."""
        if not isinstance(images, torch.Tensor | np.ndarray):
            raise TypeError(f"images must be a tensor or an array, got {type(images).__name__}{_set_hint(images)}")
        tensor = as_tensor(images)
        self.check_images(tensor)
        if tensor.dtype == torch.uint8:
            normalization = self.pixel_normalization
            scale = torch.tensor(normalization.scale, device=self.device).view(1, -1, 1, 1)
            shift = torch.tensor(normalization.shift, device=self.device).view(1, -1, 1, 1)
            return tensor.to(self.device).float().mul_(scale).add_(shift)
        return tensor.to(self.device, torch.float32).contiguous()

    def check_images(self, images: torch.Tensor) -> None:
        """Raise ValueError or TypeError if the model does not support the shape or dtype of the images."""
        if images.dim() != 4 or tuple(images.shape[1:]) != self.input_shape:
            expected = ", ".join(map(str, self.input_shape))
            raise ValueError(
                f"model '{self.name}' takes images [N, {expected}], got {list(images.shape)}"
                + _shape_hint(tuple(images.shape), self.input_shape)
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise TypeError(f"images must be uint8 or floating point, got {images.dtype}; {TO_BYTES}")

    @property
    def normalization(self) -> Normalization | None:
        """Normalization of uint8 pixels, or None."""
        return self._normalization

    @normalization.setter
    def normalization(self, value: Normalization | None) -> None:
        if value is not None and not isinstance(value, Normalization):
            raise TypeError(
                f"normalization must be an mnistcnn.Normalization or None, got {value!r}; write "
                "mnistcnn.Normalization(mean, std)"
            )
        self._normalization = None if value is None else value.for_channels(self.input_shape[0])

    @property
    def pixel_normalization(self) -> Normalization:
        """Normalization of uint8 pixels: ``normalization``, or pixels / 255 if that is None."""
        return self.normalization or UNIT.for_channels(self.input_shape[0])

    def engine_forward(
        self,
        images: torch.Tensor,
        seed: int,
        *,
        keep: bool = False,
        training: bool | None = None,
        tensors: Tensors | None = None,
    ) -> torch.Tensor:
        """Run the engine on float32 images [N, C, H, W]. ``keep=True`` stores what a backward pass needs.

        ``training`` and ``tensors`` default to the model's mode and tensors.
        """
        with self._lock:
            engine = self._latest_engine = self.native_engine()
            self._forwards += 1
            return engine.forward(
                self.tensors() if tensors is None else tensors,
                images,
                training=self.training if training is None else training,
                seed=seed,
                keep=keep,
                keep_images=keep and images.requires_grad,
            )

    def native_engine(self, kind: str | None = None, threads: int | None = None) -> core.Engine:
        """Return the engine of this model, which is created on first use.

        ``kind`` and ``threads`` default to ``self.engine`` and ``self.threads``.
        """
        chosen = choose_engine(self._network, kind or self.engine, self.device)
        key = (chosen, thread_count(self.threads if threads is None else threads))
        if key not in self._engines:
            self._engines[key] = core.Engine(self._network, *key)
        return self._engines[key]

    def _forget_forward(self) -> None:
        """Mark the engine's latest forward pass as overwritten, so that its backward pass repeats it first."""
        self._forwards += 1

    def _draw_seed(self) -> int:
        """Return a seed for dropout from PyTorch's global generator, or 0 if the forward pass needs none."""
        if not self.draws_dropout(self.training):
            return 0
        return int(torch.randint(2**62, ()).item())

    def draws_dropout(self, training: bool) -> bool:
        """Return whether a forward pass in this mode draws dropout masks."""
        return self._drops_in_evaluation or (training and self._has_dropout)

    # ---- tensors

    def _register(self) -> None:
        """Create the tensors, initialised from the seed, and register them in the layers."""
        tensors = self._network.initial_tensors(seed=self.seed)
        for places, registered in zip(self._places(), tensors, strict=True):
            for (held, key), tensor in zip(places, registered, strict=True):
                held[key] = nn.Parameter(tensor) if registered is tensors[0] else tensor
        for node, suffix, owner in self._shared:
            keys = [suffix, "num_batches_tracked"] if suffix == "running_mean" else [suffix]
            for key in keys:
                (held, _), (owners, _) = self._place(node, key), self._place(owner, key)
                held[key] = owners[key]

    def _borrow(self, tensors: BorrowedTensors) -> None:
        """Register tensors of other modules in the layers.

        If all names and shapes of a layer match, it shares the dictionaries of the other module.
        """
        for node, places in enumerate(tensors):
            if not places:
                continue
            layer, (owner, _) = self._layers[node], next(iter(places.values()))
            same = all(place == (owner, suffix) for suffix, place in places.items())
            if same and _shapes(owner) == _shapes(layer):
                layer.__dict__["_parameters"], layer.__dict__["_buffers"] = owner._parameters, owner._buffers
                continue
            for suffix, (owner, key) in places.items():
                self._borrowed[node, suffix] = place_of(owner, key)
        self._refresh()
        specs = self._network.parameter_specs
        for position, (place, (_, shape, *_)) in enumerate(zip(self._places()[0], specs, strict=True)):
            if place[0][place[1]].shape != tuple(shape):
                self._layer_shapes[position] = shape

    def _refresh(self) -> None:
        """Register the current tensors of the modules that share them with this model."""
        for (node, suffix), (held, key) in self._borrowed.items():
            own, _ = self._place(node, suffix)
            own[suffix] = held[key]

    def _places(self) -> tuple[list[Place], list[Place], list[Place]]:
        """Return the places of all parameters, buffers and counters, in the order of the core."""
        network = self._network
        return (
            [self._place(*each) for each in tensor_places(network.parameter_specs)],
            [self._place(*each) for each in tensor_places(network.buffer_specs)],
            [self._place(node, "num_batches_tracked") for node in network.counter_nodes],
        )

    def _place(self, node: int, suffix: str) -> Place:
        layer = self._layers[node]
        return (layer._parameters if suffix in ("weight", "bias") else layer._buffers), suffix

    def tensors(self) -> Tensors:
        """Return the current parameters, buffers and counters, in the order of the core."""
        parameters, buffers, counters = ([get() for get in getters] for getters in self._getters)
        for position, shape in self._layer_shapes.items():
            parameters[position] = parameters[position].reshape(shape)
        return parameters, buffers, counters

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by node name, in the shapes that the layers define."""
        specs = [*self._network.parameter_specs, *self._network.buffer_specs]
        parameters, buffers, _ = self.tensors()
        found = {
            name: tensor.detach().reshape(shape)
            for (name, shape, *_), tensor in zip(specs, [*parameters, *buffers], strict=True)
        }
        names = [row["name"] for row in self._network.nodes]
        for node, suffix, owner in self._shared:
            found[f"{names[node]}.{suffix}"] = found[f"{names[owner]}.{suffix}"]
        return found

    def trainable_ranges(self) -> list[tuple[int, int]]:
        """Return the ranges (begin, end) of trainable elements in the flat parameter array, adjacent ones merged."""
        ranges: list[tuple[int, int]] = []
        offset = 0
        for position, parameter in enumerate(self.tensors()[0]):
            begin, offset = offset, offset + parameter.numel()
            if not parameter.requires_grad or position in self._detached:
                continue
            if ranges and ranges[-1][1] == begin:
                begin = ranges.pop()[0]
            ranges.append((begin, offset))
        return ranges

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Model:
        converted = fn(torch.empty(0)).dtype
        if converted != torch.float32:
            raise TypeError(
                f"Model supports only torch.float32, got {converted}; keep float32, or use model.to_torch()"
            )
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    # ---- copies

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in _REBUILT}
        return {**kept, "_borrowed": {}}  # a copy owns its tensors

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._network = core.Network(**self._definition)
        self._prepare_engines()


class _Layers(nn.Module):
    """Module whose ``forward`` runs the PyTorch layers of a model."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs of PyTorch's layers."""
        return self.model._layer_forward(self.model, images)


def place_of(owner: nn.Module, key: str) -> Place:
    """Return the dictionary and key under which a module stores a parameter or buffer."""
    return vars(owner)["_parameters" if key in owner._parameters else "_buffers"], key


def _shapes(layer: nn.Module) -> dict[str, torch.Size]:
    held = {**layer._parameters, **layer._buffers}
    return {key: tensor.shape for key, tensor in held.items() if tensor is not None}


def nondefault_fields(op: str, fields: dict[str, Any]) -> str:
    """Return the fields that differ from the defaults of the layer, as text."""
    usual = core.layer_kinds()[op]
    return ", ".join(f"{name}={value}" for name, value in fields.items() if value != usual[name])


def _set_hint(images: object) -> str:
    return "; pass its .images, or call mnistcnn.predict(model, images)" if hasattr(images, "images") else ""


def _shape_hint(shape: tuple[int, ...], input_shape: tuple[int, ...]) -> str:
    """Return what to do first with images of another shape than [N, C, H, W] of the model; "" if it is not known."""
    channels, *size = input_shape
    if shape == input_shape:
        return "; for a single image, add the batch dimension: images[None]"
    if len(shape) in (1, 2) and shape[-1] == math.prod(input_shape):
        return f"; restore the dimensions: images.reshape(-1, {', '.join(map(str, input_shape))})"
    if len(shape) == 4 and shape[3] in (1, 3, channels) and shape[1] not in (1, 3, channels):
        return "; move the channels to dimension 1: numpy.moveaxis(images, -1, 1)"
    if shape == (*size, channels):
        return "; move the channels first and add the batch dimension: numpy.moveaxis(image, -1, 0)[None]"
    if len(shape) in (3, 4) and shape[-2:] != tuple(size):
        return f"; resize the images to {dimensions(size)}"
    if len(shape) == 3 and channels == 1:
        return "; add the channel dimension: images[:, None]"
    if len(shape) == 4 and shape[1] == 3 and channels == 1:
        return "; convert the images to grey, with one channel"
    return ""
