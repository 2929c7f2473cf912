"""Where the time of a training step goes, layer by layer, beside what the machine could do at best."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from html import escape
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn._internal.checks import finite_number, whole_number
from mnistcnn._internal.tables import aligned, html_table

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model
    from mnistcnn.training.trainer import Trainer

_STEPS = 16  # in one go; of several goes the fastest counts, which others have disturbed least
_CACHE_BYTES, _MEMORY_BYTES = 1 << 18, 1 << 27  # per thread: fits every second-level cache; fits none


@dataclass(frozen=True)
class Part:
    """One pass of a layer over a batch."""

    seconds: float
    flops: float  # multiply-accumulates count twice, with a padding's zeros too; nothing else counts

    @property
    def gflops(self) -> float | None:
        """1e9 operations per second; None where there is nothing to count."""
        return self.flops / self.seconds / 1e9 if self.flops and self.seconds else None


@dataclass(frozen=True)
class LayerTime:
    """A layer, or several that the engine computes together. Times are per step, divided by the threads."""

    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    forward: Part
    backward: Part  # the gradients of its inputs
    weights: Part  # the gradients of its weights; a batch norm's are counted as backward
    bytes: int  # of its inputs, outputs and weights, each once
    share: float  # of the whole step

    @property
    def name(self) -> str:
        """The names of its layers."""
        return " + ".join(self.layers)

    @property
    def seconds(self) -> float:
        """Of all passes."""
        return self.forward.seconds + self.backward.seconds + self.weights.seconds

    @property
    def intensity(self) -> float:
        """Operations of one pass for each byte that it must at least read or write."""
        return self.forward.flops / self.bytes if self.bytes else 0.0


@dataclass(frozen=True)
class OtherTime:
    """What belongs to no layer."""

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Limits:
    """What the machine did at best in the same minute, with the same threads and instructions."""

    gflops: float  # multiply-adds that wait for nothing
    cache_gigabytes: float  # per second, read from second-level caches
    memory_gigabytes: float  # per second, read from memory


@dataclass(frozen=True)
class Profile:
    """A training step taken apart. The times of ``rows`` and ``others`` add up to ``seconds``.

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
    seconds: float  # of one step
    macs: int  # of the whole network, for one image
    rows: tuple[LayerTime, ...]
    others: tuple[OtherTime, ...]
    free: tuple[str, ...]  # layers that cost nothing, such as flatten
    limits: Limits

    @property
    def images_per_second(self) -> float:
        """In training."""
        return self.batch_size / self.seconds

    @property
    def gflops(self) -> float:
        """6 operations for each multiply-accumulate of the network (forward and both gradients), by the time."""
        return 6 * self.macs * self.images_per_second / 1e9

    @property
    def share_of_limit(self) -> float:
        """Of the multiply-adds that this machine can do."""
        return self.gflops / self.limits.gflops

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and texts, ready for JSON."""
        return {
            **asdict(self),
            "images_per_second": self.images_per_second,
            "gflops": self.gflops,
            "share_of_limit": self.share_of_limit,
        }

    def _title(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{self.model}: batch {self.batch_size}, {self.engine} ({self.instruction_set}), {threads}; "
            f"{1e3 * self.seconds:.3f} ms a step, {self.images_per_second:,.0f} images a second"
        )

    def _notes(self) -> list[str]:
        limits = self.limits
        notes = [
            f"{self.gflops:.1f} of {limits.gflops:.1f} GFLOP/s, {100 * self.share_of_limit:.0f} % of the limit; "
            f"cache {limits.cache_gigabytes:.0f} GB/s, memory {limits.memory_gigabytes:.0f} GB/s"
        ]
        return [*notes, f"free: {', '.join(self.free)}"] if self.free else notes

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
    """Makes training steps with a copy of a model, and says what they spent their time on.

    Parameters
    ----------
    model
        Not changed. Its images are noise, which costs the same time as others.
    batch_size, threads
        As in `mnistcnn.train`.
    seconds
        How long to measure, at least; the fastest of several goes counts.
    engine
        Overrides ``model.engine``. Only ``lanes`` can tell its layers apart.
    """
    from mnistcnn.nn.model import Model
    from mnistcnn.training.trainer import Trainer

    if not isinstance(model, Model):
        raise TypeError(f"model must be an mnistcnn.Model, got {type(model).__name__}")
    batch_size, threads = whole_number("batch_size", batch_size), whole_number("threads", threads, most=1024)
    finite_number("seconds", seconds, most=3600)
    _check_engine(model, engine or model.engine)
    subject = copy.deepcopy(model).requires_grad_(True)
    trainer = Trainer(
        subject,
        batch_size=batch_size,
        optimizer=_resting_optimizer(),
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
    from mnistcnn.nn.model import choose_engine

    if engine != "auto" and choose_engine(model._network, engine, model.device) == "aten":
        raise ValueError("the aten engine can't tell its layers apart: use engine='lanes', or torch.profiler")
    reason = core.lanes_refusal(model._network)
    if reason is not None:
        raise ValueError(f"only the lanes engine can be profiled, and it can't run model '{model.name}': {reason}")


def _resting_optimizer() -> Any:
    """Makes whole steps that change nothing."""
    from mnistcnn.optim.optimizers import SGD

    return SGD(lr=0.0, momentum=0.9)


def _fastest(
    trainer: Trainer, model: Model, batch_size: int, threads: int, seconds: float
) -> tuple[dict[str, Any], float]:
    """What the engine says of the fastest go, and the seconds of one of its steps, optimizer included."""
    from mnistcnn._internal.native import core

    engine = model.native_engine("lanes", threads)
    images = _noise(model, _STEPS * batch_size)
    best: tuple[dict[str, Any], float] | None = None
    for _ in trainer.epochs(images[: 2 * batch_size], epochs=1):
        pass  # memory is made and caches are filled
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
    rows = [_row(nodes, each, batch_size, threads * steps, seconds) for each in native["operations"]]
    chores = {name: spent / (threads * steps) for name, spent in native["chores"].items()}
    in_engine = native["seconds"] / steps
    chores["waiting"] = in_engine - sum(row.seconds for row in rows) - sum(chores.values())
    chores["optimizer"] = seconds - in_engine
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
        others=tuple(OtherTime(name, spent, spent / seconds) for name, spent in chores.items()),
        free=tuple(node["name"] for node in nodes if node["name"] not in named),
        limits=limits,
    )


def measured_limits(instruction_set: str, threads: int, seconds: float = 0.1) -> Limits:
    """What this machine can do; ``seconds`` for each of the three."""
    from mnistcnn._internal.native import core

    def bandwidth(size: int) -> float:
        return core.read_bandwidth(instruction_set, threads=threads, size=size, seconds=seconds) / 1e9

    peak = core.peak_flops(instruction_set, threads=threads, seconds=seconds) / 1e9
    return Limits(peak, bandwidth(_CACHE_BYTES), bandwidth(_MEMORY_BYTES))


def _row(nodes: list[dict[str, Any]], native: dict[str, Any], batch: int, divisor: int, step: float) -> LayerTime:
    own = [nodes[index] for index in native["nodes"]]
    flops = 2.0 * batch * sum(node["macs"] for node in own)
    inputs = sum(prod(shape) for shape in own[0]["input_shapes"])
    seconds = {name: native[name] / divisor for name in ("forward", "input_gradients", "weight_gradients")}
    return LayerTime(
        layers=tuple(node["name"] for node in own),
        kinds=tuple(node["op"] for node in own),
        forward=Part(seconds["forward"], flops),
        backward=Part(seconds["input_gradients"], flops if native["gives_input_gradients"] else 0.0),
        weights=Part(seconds["weight_gradients"], flops),
        bytes=4 * (batch * (inputs + prod(own[-1]["output_shape"])) + sum(node["parameters"] for node in own)),
        share=sum(seconds.values()) / step,
    )


# ---- as a table

_HEADINGS = [
    *("layers", "forward ms", "backward ms", "weights ms", "share"),
    *("forward GFLOP/s", "backward GFLOP/s", "weights GFLOP/s"),
]


def _cells(made: Profile) -> list[list[str]]:
    rows = [
        [
            row.name,
            *(_milliseconds(part.seconds) for part in (row.forward, row.backward, row.weights)),
            f"{100 * row.share:.1f} %",
            *("" if part.gflops is None else f"{part.gflops:.1f}" for part in (row.forward, row.backward, row.weights)),
        ]
        for row in made.rows
    ]
    others = [
        [f"({each.name})", _milliseconds(each.seconds), "", "", f"{100 * each.share:.1f} %", "", "", ""]
        for each in made.others
    ]
    return [*rows, *others]


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}" if seconds >= 5e-7 else ""
