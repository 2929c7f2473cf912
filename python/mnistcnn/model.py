"""The model: a network and its weights, as a ``torch.nn.Module`` that computes in our engines."""

from __future__ import annotations

import copy
import math
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import increment_version

from mnistcnn._native import core
from mnistcnn.arrays import as_tensor
from mnistcnn.checks import image_shape, seed_number, whole_number
from mnistcnn.empty_batch import empty_outputs
from mnistcnn.engine_function import EngineFunction
from mnistcnn.graph import Row, build_rows, detached_parameters
from mnistcnn.module_tree import FixedTree, LayerModule, Link, Place, described, frozen, plant, restore_all
from mnistcnn.normalization import UNIT, Normalization
from mnistcnn.untraced import untraced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from mnistcnn.history import History
    from mnistcnn.layers import Layers
    from mnistcnn.summary import Summary

Outputs = Literal["log_probabilities", "probabilities", "logits"]
_OUTPUTS: dict[str, Outputs] = {"log_softmax": "log_probabilities", "softmax": "probabilities"}
ENGINES = ("auto", "lanes", "aten")
_REASONS_GIVEN: set[str] = set()
_CHUNK = 1024  # images at once where no gradients are kept


class EngineWarning(UserWarning):
    """A network runs in another engine than the fast one."""


class Model(FixedTree):
    """A network and its weights.

    It is a ``torch.nn.Module``: ``parameters()``, ``state_dict()``, ``to()``, ``train()``, ``eval()``, hooks on the
    whole, ``torch.optim`` and any training loop work on it. Its forward and backward run in one of our engines, and its
    parameters are views of the flat memory that the engine uses.

    Parameters
    ----------
    layers
        A list or a mapping of layers, nested as you like; names are those of ``torch.nn.Sequential`` and of modules
        in modules. `Residual`, `Branches` and `Node` make anything that is not a plain chain.
    input_shape
        (channels, height, width) of an image.
    seed
        Decides the first weights.
    name
        What to call it.
    normalization
        How uint8 pixels enter the network. None: pixels / 255 until `train` takes the training set's mean and
        deviation. Float images are always used as they are.

    Examples
    --------
    >>> import mnistcnn, torch
    >>> model = mnistcnn.Model([mnistcnn.Conv2d(8, 3), mnistcnn.ReLU(), mnistcnn.AdaptiveAvgPool2d(1),
    ...                         mnistcnn.Flatten(), mnistcnn.Linear(10), mnistcnn.LogSoftmax()])
    >>> model(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """

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
    ) -> Model:
        """A model of an already flat list of nodes, as ``model.rows`` gives it."""
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model._build(rows, input_shape, seed=seed, name=name, normalization=normalization)
        return model

    def _build(
        self,
        rows: Sequence[Row],
        input_shape: Sequence[int],
        *,
        seed: int,
        name: str,
        normalization: Normalization | None,
    ) -> None:
        seed = seed_number(seed)
        self._network = core.Network(
            input_shape=list(image_shape("input_shape", input_shape)), nodes=list(rows), seed=seed
        )
        self._engines: dict[tuple[str, int], core.Engine] = {}
        self._latest_engine: core.Engine | None = None
        self._forwards = 0  # counts them, so that a backward knows whether the engine still holds its forward
        self.name = name
        self.seed = seed
        self.engine = "auto"
        self.threads: int | None = None
        self.history: History | None = None
        self.normalization = normalization.for_channels(self.input_shape[0]) if normalization else None
        dropouts = [fields for _, op, _, fields in rows if op in ("dropout", "dropout2d")]
        self._has_dropout = bool(dropouts)
        self._drops_in_evaluation = any(fields.get("always") for fields in dropouts)
        self._lock = threading.RLock()  # an engine is used by one thread at a time
        self._detached = detached_parameters(rows, [node for _, _, node, _ in self._network.parameter_specs])
        self._parameter_links: list[Link] = []
        self._buffer_links: list[Link] = []
        self._plant()
        self._attach()

    def _plant(self) -> None:
        """Makes the modules that hold the layers' tensors."""
        self._leaves = [LayerModule(row["op"], row["fields"]) for row in self._network.nodes]
        for row, leaf in zip(self._network.nodes, self._leaves, strict=True):
            plant(self, row["name"], leaf)

    # ---- what it is

    @property
    def rows(self) -> list[Row]:
        """The nodes as plain data: (name, op, inputs, fields)."""
        return [(row["name"], row["op"], list(row["inputs"]), row["fields"]) for row in self._network.nodes]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image."""
        return tuple(self._network.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one image's output; (classes,) for a classifier."""
        return tuple(self._network.nodes[-1]["output_shape"])

    @property
    def num_classes(self) -> int:
        """How many classes it tells apart."""
        if len(self.output_shape) != 1:
            raise ValueError(f"the output {self.output_shape} is not a flat row of classes; end with Flatten()")
        return self.output_shape[0]

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return int(self._network.parameter_count)

    @property
    def outputs(self) -> Outputs:
        """What the outputs mean: log-probabilities, probabilities or logits."""
        return _OUTPUTS.get(self._network.nodes[-1]["op"], "logits")

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self._network.values.device

    def summary(self, batch_size: int = 128) -> Summary:
        """Shapes, parameters, costs and receptive fields, layer by layer; memory to train in such batches."""
        from mnistcnn.summary import Summary

        return Summary.of(self, batch_size)

    def save(self, path: str | Path) -> Path:
        """Writes network, weights and normalization to one safetensors file; see `mnistcnn.load_model`."""
        from mnistcnn.files import save_model

        return save_model(self, path)

    def to_torch(self, *, copy: bool = True) -> nn.Module:
        """A plain PyTorch module that needs no mnistcnn; see `mnistcnn.bridge.to_torch.to_torch`."""
        from mnistcnn.bridge.to_torch import to_torch

        return to_torch(self, copy=copy)

    def load_weights(self, weights: Any, *, by_order: bool = False) -> Model:
        """Weights from an author's file or state dict; see `mnistcnn.bridge.weights.load_weights`."""
        from mnistcnn.bridge.weights import load_weights

        load_weights(self, weights, by_order=by_order)
        return self

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input_shape))
        head = f"{type(self).__name__} '{self.name}': {self.parameter_count:,} parameters, input {shape}"
        lines = [f"  {name}: {op}({described(op, fields)})" for name, op, _, fields in self.rows]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # ---- how it computes

    @untraced
    def forward(self, images: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
        """The outputs for a batch: float images [N, C, H, W] as they are, uint8 ones normalised first."""
        prepared = self.prepare(images)
        self._check_modes()
        if len(prepared) == 0:
            return empty_outputs(self, prepared)
        if torch.is_grad_enabled():
            parameters = [link.held() for link in self._parameter_links]  # the engine names one that is missing
            if prepared.requires_grad or any(held is not None and held.requires_grad for held in parameters):
                outputs: torch.Tensor = EngineFunction.apply(prepared, self, self._draw_seed(), *parameters)  # type: ignore[no-untyped-call]
                return outputs
        if self.training:
            return self.engine_forward(prepared, self._draw_seed(), keep=False)
        parts = [self.engine_forward(part, self._draw_seed(), keep=False) for part in torch.split(prepared, _CHUNK)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _check_modes(self) -> None:
        for node, leaf in enumerate(self._leaves):
            if leaf.training != self.training and leaf.depends_on_mode:
                name = self._network.nodes[node]["name"]
                modes = ("training" if leaf.training else "evaluation", "training" if self.training else "evaluation")
                raise RuntimeError(
                    f"layer '{name}' is in {modes[0]} mode, but the model in {modes[1]} mode; "
                    "a Model has one mode for all of its layers: model.train() or model.eval()"
                )

    def prepare(self, images: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
        """Checked float32 images on the model's device."""
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
        """Refuses images of another shape or kind than this model takes."""
        if images.dim() != 4 or tuple(images.shape[1:]) != self.input_shape:
            expected = ", ".join(map(str, self.input_shape))
            raise ValueError(
                f"model '{self.name}' takes images [N, {expected}], got {list(images.shape)}"
                + _shape_hint(images, self.input_shape)
            )
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise TypeError(f"images must be uint8 or floating point, got {images.dtype}")

    @property
    def pixel_normalization(self) -> Normalization:
        """How uint8 pixels enter: ``normalization``, or pixels / 255 where there is none yet."""
        return self.normalization or UNIT.for_channels(self.input_shape[0])

    def engine_forward(self, images: torch.Tensor, seed: int, *, keep: bool) -> torch.Tensor:
        """Runs the engine on float32 images; with ``keep`` a backward may follow."""
        with self._lock:
            engine = self._latest_engine = self.native_engine()
            self._forwards += 1
            keep_images = keep and images.requires_grad
            return engine.forward(images, training=self.training, seed=seed, keep=keep, keep_images=keep_images)

    def native_engine(self, kind: str | None = None, threads: int | None = None) -> core.Engine:
        """The engine that executes this model, made when first needed; ``kind`` and ``threads`` override its own."""
        self._relink()
        chosen = choose_engine(self._network, kind or self.engine)
        key = (chosen, _thread_count(self.threads if threads is None else threads))
        if key not in self._engines:
            self._engines[key] = core.Engine(self._network, *key)
        return self._engines[key]

    def _forget_forward(self) -> None:
        """The engine's record of the latest forward is gone; a backward of that forward repeats it first."""
        self._forwards += 1

    def _announce_new_weights(self) -> None:
        """Says to autograd that the weights are about to change: it then refuses the backward of an older forward."""
        self._relink()
        increment_version(tuple(self.parameters()))

    def _draw_seed(self) -> int:
        """Dropout follows ``torch.manual_seed`` in a user's own loop."""
        if not (self._drops_in_evaluation or (self.training and self._has_dropout)):
            return 0
        return int(torch.randint(2**62, ()).item())

    # ---- PyTorch's view of the memory

    def _attach(self) -> None:
        """Registers views of the flat memory under PyTorch's names, and remembers where each must point."""
        self._parameter_links, self._buffer_links = [], []
        for name, place, view in self._parameter_views():
            place.module.register_parameter(place.key, nn.Parameter(view))
            self._parameter_links.append(Link(place, name, view, trained=True))
        for name, place, view in self._buffer_views():
            place.module.register_buffer(place.key, view)
            self._buffer_links.append(Link(place, name, view, trained=False))

    def _place(self, node: int, key: str) -> Place:
        """Which module holds a tensor of a node."""
        return Place(self._leaves[node], key)

    def _parameter_views(self) -> list[tuple[str, Place, torch.Tensor]]:
        return self._views(self._network.values, self._network.parameter_specs)

    def _buffer_views(self) -> list[tuple[str, Place, torch.Tensor]]:
        network, key = self._network, "num_batches_tracked"
        names = [row["name"] for row in network.nodes]
        counters = [
            (f"{names[node]}.{key}", self._place(node, key), network.counters[i])
            for i, node in enumerate(network.counter_nodes)
        ]
        return self._views(network.buffers, network.buffer_specs) + counters

    def _views(
        self, flat: torch.Tensor, specs: list[tuple[str, tuple[int, ...], int, int]]
    ) -> list[tuple[str, Place, torch.Tensor]]:
        found = []
        for name, shape, node, offset in specs:
            place = self._place(node, name.rpartition(".")[2])
            view = flat[offset : offset + math.prod(shape)].view(shape if place.shape is None else place.shape)
            found.append((name, place, view))
        return found

    def _relink(self) -> None:
        restore_all([*self._parameter_links, *self._buffer_links])

    def trainable_ranges(self) -> list[tuple[int, int]]:
        """The stretches of the flat memory whose parameters require gradients, neighbours joined."""
        ranges: list[tuple[int, int]] = []
        offset = 0
        for position, link in enumerate(self._parameter_links):
            begin, offset = offset, offset + link.view.numel()
            if not link.tensor.requires_grad or position in self._detached:
                continue
            if ranges and ranges[-1][1] == begin:
                begin = ranges.pop()[0]
            ranges.append((begin, offset))
        return ranges

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Model:
        network = self._network
        self._relink()
        values, gradients, buffers = (fn(flat) for flat in (network.values, network.gradients, network.buffers))
        if any(flat.dtype != torch.float32 for flat in (values, gradients, buffers)):
            raise TypeError(f"a Model computes in float32; it can't be converted to {values.dtype}")
        network.set_memory(values=values, gradients=gradients, buffers=buffers, counters=fn(network.counters))
        self._engines.clear()
        self._latest_engine = None
        self._forget_forward()
        for link, (_, _, view) in zip(self._parameter_links, self._parameter_views(), strict=True):
            gradient, link.tensor.grad = link.tensor.grad, None
            link.move(view)
            link.tensor.grad = None if gradient is None else fn(gradient)
        for link, (_, _, view) in zip(self._buffer_links, self._buffer_views(), strict=True):
            link.move(view)
        return self

    # ---- copies

    def __reduce__(self) -> tuple[Any, ...]:
        state = {
            "rows": self.rows,
            "input_shape": self.input_shape,
            "seed": self.seed,
            "name": self.name,
            "normalization": self.normalization,
            "engine": self.engine,
            "threads": self.threads,
            "training": self.training,
            "history": copy.deepcopy(self.history),
            "frozen": frozen(self),
            "device": str(self.device),
            "tensors": {name: tensor.detach().clone() for name, tensor in self.state_dict().items()},
        }
        return _restore, (type(self), state)

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        restore, arguments = self.__reduce__()
        copied: Model = restore(*arguments)
        memo[id(self)] = copied
        for mine, its in zip(self._parameter_links, copied._parameter_links, strict=True):
            its.tensor.grad = None if mine.tensor.grad is None else mine.tensor.grad.clone()
        return copied


def choose_engine(network: core.Network, kind: str) -> str:
    """The engine that a choice stands for; "auto" is lanes where it can run the network, and says once where not."""
    if kind not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {kind!r}")
    if kind != "auto":
        return kind
    reason = core.lanes_refusal(network)
    if reason is None:
        return "lanes"
    if network.values.is_cpu and reason not in _REASONS_GIVEN:
        _REASONS_GIVEN.add(reason)
        warnings.warn(f"the aten engine runs this network, because lanes can't: {reason}", EngineWarning, stacklevel=3)
    return "aten"


def _thread_count(threads: int | None) -> int:
    """0 stands for all cores."""
    return 0 if threads is None else whole_number("threads", threads, most=1024)


def _restore(kind: type[Model], state: dict[str, Any]) -> Model:
    model = kind.from_rows(
        state["rows"],
        state["input_shape"],
        seed=state["seed"],
        name=state["name"],
        normalization=state["normalization"],
    )
    model.load_state_dict(state["tensors"])
    model.engine, model.threads, model.history = state["engine"], state["threads"], state["history"]
    for name in state["frozen"]:
        model.get_parameter(name).requires_grad_(False)
    return model.to(state["device"]).train(state["training"])


def _set_hint(images: object) -> str:
    return "; mnistcnn.predict takes an ImageSet, a model its .images" if hasattr(images, "images") else ""


def _shape_hint(tensor: torch.Tensor, input_shape: tuple[int, ...]) -> str:
    if tensor.dim() == 3 and tuple(tensor.shape) == input_shape:
        return "; for a single image, add the batch dimension: images[None]"
    if tensor.dim() == 3 and input_shape[0] == 1:
        return "; add the channel dimension: images[:, None]"
    if tensor.dim() == 4 and tuple(tensor.shape[1:]) == (*input_shape[1:], input_shape[0]):
        return "; the channels come first: numpy.moveaxis(images, -1, 1)"
    return ""
