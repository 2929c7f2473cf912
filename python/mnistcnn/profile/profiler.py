"""Profile of a training step: time per layer and pass, compared with the peak throughput of the machine."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from html import escape
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.checks import finite_number, whole_number
from mnistcnn._internal.tables import aligned, counted, html_table
from mnistcnn.profile.epoch_times import zero_rate_sgd

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model
    from mnistcnn.training.trainer import Trainer

_STEPS = 16  # steps per measurement; the fastest of several measurements is used
_CACHE_BYTES, _MEMORY_BYTES = 1 << 18, 1 << 27  # per thread: fits into any L2 cache; larger than any cache


@dataclass(frozen=True)
class PassTime:
    """Time and operations of one pass of a layer over a batch.

    Attributes
    ----------
    seconds
        Time of the pass.
    flops
        2 per multiply-accumulate, including those with zeros of the padding; other operations count 0.
    """

    seconds: float
    flops: float

    @property
    def gflops(self) -> float | None:
        """Return the throughput in GFLOP/s; None if the pass has no multiply-accumulates."""
        return self.flops / self.seconds / 1e9 if self.flops and self.seconds else None


@dataclass(frozen=True)
class LayerTime:
    """Time of a layer, or of several fused layers. Times are per step: sum over threads / number of threads.

    A layer that is computed in the same pass as the convolution before it has no forward time: it counts as that of the
    convolution.

    Attributes
    ----------
    layers
        Names of the layers.
    kinds
        Types of the layers, such as "conv2d".
    forward
        Time and operations of the forward pass.
    backward
        Time and operations of the gradients of the inputs.
    weights
        Time and operations of the gradients of the weights; those of a batch norm are included in ``backward``.
    bytes
        Size of inputs, outputs and weights, each counted once.
    share
        Fraction of the step, from 0 to 1.
    """

    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    forward: PassTime
    backward: PassTime
    weights: PassTime
    bytes: int
    share: float

    @property
    def name(self) -> str:
        """Return the names of the layers, joined by " + "."""
        return " + ".join(self.layers)

    @property
    def seconds(self) -> float:
        """Return the time of all passes."""
        return self.forward.seconds + self.backward.seconds + self.weights.seconds

    @property
    def intensity(self) -> float:
        """Return the arithmetic intensity of the forward pass in FLOP per byte."""
        return self.forward.flops / self.bytes if self.bytes else 0.0


@dataclass(frozen=True)
class OtherTime:
    """Time of a step outside of the layers, such as the optimizer.

    Attributes
    ----------
    name
        What was measured, such as the optimizer.
    seconds
        Time per step.
    share
        Fraction of the step, from 0 to 1.
    """

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Limits:
    """Measured peak throughput of the machine for a number of threads and an instruction set.

    Attributes
    ----------
    gflops
        FMA throughput in GFLOP/s.
    cache_gigabytes
        Read bandwidth of the L2 cache in GB/s.
    memory_gigabytes
        Read bandwidth of the memory in GB/s.
    """

    gflops: float
    cache_gigabytes: float
    memory_gigabytes: float


@dataclass(frozen=True)
class Profile:
    """Profile of a training step. The times of ``rows`` and ``others`` add up to ``seconds``.

    Attributes
    ----------
    model
        Name of the model.
    engine
        Name of the engine.
    instruction_set
        Instruction set of the kernels.
    threads
        Number of threads.
    batch_size
        Images per step.
    seconds
        Time of a step.
    macs
        Multiply-accumulates of the network for one image.
    rows
        Times of the layers.
    others
        Times outside the layers.
    free
        Names of layers without computation, such as flatten.
    limits
        Measured peak throughput of the machine.

    Examples
    --------
    >>> import mnistcnn
    >>> profile = mnistcnn.profile.profile(mnistcnn.create_model("budget_model3"), seconds=0.1)
    >>> profile.rows[1].name
    'bn1 + relu1 + pool1 + dropout1'
    >>> round(sum(row.share for row in profile.rows) + sum(other.share for other in profile.others), 6)
    1.0
    """

    model: str
    engine: str
    instruction_set: str
    threads: int
    batch_size: int
    seconds: float
    macs: int
    rows: tuple[LayerTime, ...]
    others: tuple[OtherTime, ...]
    free: tuple[str, ...]
    limits: Limits

    @property
    def images_per_second(self) -> float:
        """Return the training throughput."""
        return self.batch_size / self.seconds

    @property
    def gflops(self) -> float:
        """Return the throughput of a training step in GFLOP/s.

        It counts 6 FLOP per multiply-accumulate: 2 each for the forward pass, input gradient and weight gradient.
        """
        return 6 * self.macs * self.images_per_second / 1e9

    @property
    def share_of_limit(self) -> float:
        """Return `gflops` as a fraction of the peak FMA throughput."""
        return self.gflops / self.limits.gflops

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of numbers and strings, ready for JSON."""
        return {
            **asdict(self),
            "images_per_second": self.images_per_second,
            "gflops": self.gflops,
            "share_of_limit": self.share_of_limit,
        }

    def _title(self) -> str:
        threads = counted(self.threads, "thread")
        return (
            f"{self.model}: batch {self.batch_size}, {self.engine} ({self.instruction_set}), {threads}; "
            f"{1e3 * self.seconds:.3f} ms per step, {self.images_per_second:,.0f} images per second"
        )

    def _notes(self) -> list[str]:
        limits = self.limits
        notes = [
            f"{self.gflops:.1f} of {limits.gflops:.1f} GFLOP/s, {100 * self.share_of_limit:.0f} % of peak; "
            f"read bandwidth: L2 cache {limits.cache_gigabytes:.0f} GB/s, memory {limits.memory_gigabytes:.0f} GB/s"
        ]
        return [*notes, f"no computation: {', '.join(self.free)}"] if self.free else notes

    def __repr__(self) -> str:
        lines = aligned([_HEADINGS, *_cells(self)], left=1, gap="  ")
        rule = "-" * len(lines[0])
        return "\n".join([self._title(), rule, lines[0].rstrip(), rule, *lines[1:], rule, *self._notes()])

    def _repr_html_(self) -> str:
        notes = "".join(f"<div>{escape(note)}</div>" for note in self._notes())
        return html_table(_HEADINGS, _cells(self), title=self._title(), left=1) + notes


def profile(
    model: Model,
    *,
    batch_size: int = 128,
    threads: int = 1,
    seconds: float = 1.0,
    engine: str | None = None,
) -> Profile:
    """Measure the time of each layer in a training step, on the `lanes` engine.

    A copy of the model is trained on random images, so the model is not changed.

    Parameters
    ----------
    model
        Model to profile.
    batch_size
        Images per step.
    threads
        Number of threads.
    seconds
        Minimum duration of the measurement. The fastest of several measurements is used.
    engine
        "lanes" or "auto"; only `lanes` is supported. Default: None, which uses ``model.engine``.

    Returns
    -------
    Profile
        Times per layer and pass, and the peak throughput of the machine. Printed as a table.

    Examples
    --------
    >>> import mnistcnn
    >>> report = mnistcnn.profile.profile(mnistcnn.create_model("budget_model3"), seconds=0.05)
    >>> report.rows[0].name, report.threads
    ('conv1', 1)
    """
    from mnistcnn.nn.model import Model
    from mnistcnn.training.trainer import Trainer

    if not isinstance(model, Model):
        raise TypeError(f"model must be an mnistcnn.Model, got {type(model).__name__}")
    batch_size, threads = whole_number("batch_size", batch_size), whole_number("threads", threads, maximum=1024)
    finite_number("seconds", seconds, maximum=3600)
    _check_engine(model, engine or model.engine)
    subject = copy.deepcopy(model).requires_grad_(True)
    trainer = Trainer(
        subject,
        batch_size=batch_size,
        optimizer=zero_rate_sgd(),
        loss="cross_entropy" if model.outputs == "probabilities" else "auto",
        engine="lanes",
        threads=threads,
        progress=False,
    )
    native, step_seconds = _fastest(trainer, subject, batch_size, threads, seconds)
    limits = measured_limits(native["instruction_set"], threads, seconds=min(0.1, max(0.01, seconds / 5)))
    return _assemble(model, native, step_seconds, batch_size, limits)


def _check_engine(model: Model, engine: str) -> None:
    from mnistcnn._internal.native import core
    from mnistcnn.nn.engine_choice import choose_engine

    if engine != "auto" and choose_engine(model._network, engine, model.device) == "aten":
        raise ValueError(
            "engine must be 'lanes' or 'auto', got 'aten', which has no times per layer; use torch.profiler"
        )
    reason = core.lanes_unsupported_reason(model._network)
    if reason is not None:
        raise ValueError(
            f"only the lanes engine can be profiled, and it does not support model '{model.name}': {reason}"
        )


def _fastest(
    trainer: Trainer, model: Model, batch_size: int, threads: int, seconds: float
) -> tuple[dict[str, Any], float]:
    """Return the engine's record of the fastest measurement, and its seconds per step, optimizer included."""
    from mnistcnn._internal.native import core

    engine = model.native_engine("lanes", threads)
    images = _noise(model, _STEPS * batch_size)
    best: tuple[dict[str, Any], float] | None = None
    for _ in trainer.epochs(images[: 2 * batch_size], epochs=1):
        pass  # warm-up: allocate memory, fill caches
    end = time.monotonic() + seconds
    while best is None or time.monotonic() < end:
        core.start_profile(engine)
        (record,) = trainer.epochs(images, epochs=1)
        native = core.stop_profile(engine)
        if best is None or record.seconds / native["steps"] < best[1]:
            best = native, record.seconds / native["steps"]
    return best


def _noise(model: Model, count: int) -> Any:
    from mnistcnn.data.image_set import ImageSet

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, *model.input_shape), dtype=np.uint8)
    names = [str(each) for each in range(model.num_classes)]
    return ImageSet.from_arrays(images, random.integers(0, model.num_classes, count), classes=names)


def _assemble(model: Model, native: dict[str, Any], seconds: float, batch_size: int, limits: Limits) -> Profile:
    threads, steps = native["threads"], native["steps"]
    nodes = model._network.nodes
    rows = [_layer_time(nodes, each, batch_size, threads * steps, seconds) for each in native["operations"]]
    overheads = {name: spent / (threads * steps) for name, spent in native["overheads"].items()}
    in_engine = native["seconds"] / steps
    overheads["waiting"] = in_engine - sum(row.seconds for row in rows) - sum(overheads.values())
    overheads["optimizer"] = seconds - in_engine
    named = {name for row in rows for name in row.layers}
    return Profile(
        model=model.name,
        engine="lanes",
        instruction_set=native["instruction_set"],
        threads=threads,
        batch_size=batch_size,
        seconds=seconds,
        macs=int(model._network.macs),
        rows=tuple(rows),
        others=tuple(OtherTime(name, spent, spent / seconds) for name, spent in overheads.items()),
        free=tuple(node["name"] for node in nodes if node["name"] not in named),
        limits=limits,
    )


def measured_limits(instruction_set: str, threads: int, seconds: float = 0.1) -> Limits:
    """Measure the peak FMA throughput and the read bandwidths of this machine.

    Parameters
    ----------
    instruction_set
        Instruction set of the kernels: "baseline", or the ``instruction_set`` of a `Profile`.
    threads
        Number of threads.
    seconds
        Duration of each of the three measurements.

    Examples
    --------
    >>> import mnistcnn
    >>> limits = mnistcnn.profile.measured_limits("baseline", threads=1, seconds=0.02)
    >>> limits.gflops > 0
    True
    """
    from mnistcnn._internal.native import core

    def bandwidth(size: int) -> float:
        return core.read_bandwidth(instruction_set, threads=threads, size=size, seconds=seconds) / 1e9

    peak = core.peak_flops(instruction_set, threads=threads, seconds=seconds) / 1e9
    return Limits(peak, bandwidth(_CACHE_BYTES), bandwidth(_MEMORY_BYTES))


def _layer_time(
    nodes: list[dict[str, Any]], native: dict[str, Any], batch: int, divisor: int, step: float
) -> LayerTime:
    own = [nodes[index] for index in native["nodes"]]
    flops = 2.0 * batch * sum(node["macs"] for node in own)
    inputs = sum(prod(shape) for shape in own[0]["input_shapes"])
    seconds = {name: native[name] / divisor for name in ("forward", "input_gradients", "weight_gradients")}
    return LayerTime(
        layers=tuple(node["name"] for node in own),
        kinds=tuple(node["op"] for node in own),
        forward=PassTime(seconds["forward"], flops),
        backward=PassTime(seconds["input_gradients"], flops if native["gives_input_gradients"] else 0.0),
        weights=PassTime(seconds["weight_gradients"], flops),
        bytes=4 * (batch * (inputs + prod(own[-1]["output_shape"])) + sum(node["parameters"] for node in own)),
        share=sum(seconds.values()) / step,
    )


# ---- table

_HEADINGS = [
    *("layers", "forward ms", "backward ms", "weights ms", "share"),
    *("forward GFLOP/s", "backward GFLOP/s", "weights GFLOP/s"),
]


def _cells(report: Profile) -> list[list[str]]:
    rows = [
        [
            row.name,
            *(_milliseconds(each.seconds) for each in (row.forward, row.backward, row.weights)),
            f"{100 * row.share:.1f} %",
            *("" if each.gflops is None else f"{each.gflops:.1f}" for each in (row.forward, row.backward, row.weights)),
        ]
        for row in report.rows
    ]
    others = [
        [f"({each.name})", _milliseconds(each.seconds), "", "", f"{100 * each.share:.1f} %", "", "", ""]
        for each in report.others
    ]
    return [*rows, *others]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}" if seconds >= 5e-7 else ""
