"""Table of the layers of a network: shapes, parameters, multiply-accumulates, memory and receptive fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import whole_number
from mnistcnn._internal.tables import aligned, dimensions, html_table

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


@dataclass(frozen=True)
class LayerRow:
    """One layer of a `Summary`. Fields that do not apply to the layer are None.

    Attributes
    ----------
    name
        Name of the layer.
    layer
        Type of the layer.
    output_shape
        Shape of the output for one image.
    kernel
        Height and width of the kernel.
    parameters
        Number of parameters.
    macs
        Multiply-accumulates for one image.
    receptive_field
        Receptive field in pixels of the image; None after layers that mix all positions.
    jump
        Distance of neighbouring outputs, in pixels of the image.
    memory_bytes
        Size of the output for one image, float32.
    """

    name: str
    layer: str
    output_shape: tuple[int, ...]
    kernel: tuple[int, int] | None
    parameters: int
    macs: int
    receptive_field: int | None
    jump: int | None
    memory_bytes: int


@dataclass(frozen=True)
class Summary:
    """Table of the layers of a network: text in a terminal, HTML in a notebook, data in ``rows``.

    Attributes
    ----------
    name
        Name of the model.
    input_shape
        Shape of an image: (channels, height, width).
    rows
        One row per layer.
    parameters
        Number of parameters.
    trainable_parameters
        Number of parameters that are not frozen.
    buffers
        Number of elements of the buffers, such as running statistics.
    macs
        Multiply-accumulates of the network for one image.
    memory_bytes
        Size of all outputs for one image.
    batch_size
        Batch size of ``training_bytes``.
    training_bytes
        Memory of a training step in the `lanes` engine; None if it does not support the network.

    Examples
    --------
    >>> import mnistcnn
    >>> summary = mnistcnn.create_model("session7_net").summary()
    >>> summary.parameters, summary.macs, summary.receptive_field
    (7596, 449808, 32)
    """

    name: str
    input_shape: tuple[int, ...]
    rows: tuple[LayerRow, ...]
    parameters: int
    trainable_parameters: int
    buffers: int
    macs: int
    memory_bytes: int
    batch_size: int
    training_bytes: int | None

    @classmethod
    def of(cls, model: Model, batch_size: int = 128) -> Summary:
        """Return the summary of a model."""
        batch_size = whole_number("batch_size", batch_size)
        nodes = model._network.nodes
        return cls(
            name=model.name,
            input_shape=model.input_shape,
            rows=tuple(_layer_row(node) for node in nodes),
            parameters=model.parameter_count,
            trainable_parameters=sum(end - begin for begin, end in model.trainable_ranges()),
            buffers=sum(node["buffers"] for node in nodes),
            macs=int(model._network.macs),
            memory_bytes=int(model._network.activation_bytes),
            batch_size=batch_size,
            training_bytes=_training_bytes(model, batch_size),
        )

    @property
    def receptive_field(self) -> int:
        """Largest receptive field of all layers, in pixels of the image."""
        return max((row.receptive_field or 0 for row in self.rows), default=0)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary per layer, for example for a pandas DataFrame."""
        return [asdict(row) for row in self.rows]

    def _title(self) -> str:
        return f"{self.name}, input {dimensions(self.input_shape)}"

    def _totals(self) -> str:
        frozen = self.parameters - self.trainable_parameters
        training = ""
        if self.training_bytes is not None:
            training = f", {self.training_bytes / 2**20:,.0f} MiB to train with batch_size={self.batch_size}"
        return (
            f"{self.parameters:,} parameters{f' ({frozen:,} frozen)' if frozen else ''}, {self.buffers:,} buffers, "
            f"{self.macs:,} MACs, {self.memory_bytes / 1024:,.1f} KiB of activations per image, "
            f"receptive field {self.receptive_field}{training}"
        )

    def __repr__(self) -> str:
        lines = aligned([_HEADINGS, *(_cells(row) for row in self.rows)], left=2, gap="  ")
        rule = "-" * len(lines[0])
        return "\n".join([self._title(), rule, lines[0].rstrip(), rule, *lines[1:], rule, self._totals()])

    def _repr_html_(self) -> str:
        rows = [_cells(row) for row in self.rows]
        return html_table(_HEADINGS, rows, title=self._title(), left=2) + f"<div>{self._totals()}</div>"


_HEADINGS = ["name", "layer", "output", "kernel", "parameters", "MACs", "field", "jump", "KiB"]


def _training_bytes(model: Model, batch_size: int) -> int | None:
    """Return the memory of a training step in the lanes engine, computed without allocating it."""
    from mnistcnn._internal.native import core

    if core.lanes_unsupported_reason(model._network) is not None:
        return None
    return core.memory_bytes_of_step(core.Engine(model._network, "lanes", model.threads or 0), batch_size)


def _layer_row(node: dict[str, Any]) -> LayerRow:
    kernel = node["fields"].get("kernel")
    return LayerRow(
        name=node["name"],
        layer=node["op"],
        output_shape=tuple(node["output_shape"]),
        kernel=None if kernel is None else tuple(kernel),
        parameters=node["parameters"],
        macs=node["macs"],
        receptive_field=node["receptive_field"] or None,
        jump=node["jump"] or None,
        memory_bytes=node["activation_bytes"],
    )


def _cells(row: LayerRow) -> list[str]:
    return [
        row.name,
        row.layer,
        dimensions(row.output_shape),
        "" if row.kernel is None else dimensions(row.kernel),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs:,}" if row.macs else "",
        str(row.receptive_field or ""),
        str(row.jump or ""),
        f"{row.memory_bytes / 1024:.1f}",
    ]
