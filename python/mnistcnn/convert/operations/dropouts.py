"""PyTorch's dropout functions; the dropout layers use them too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mnistcnn.convert.errors import UnsupportedError
from mnistcnn.convert.operations.builder import TracedValue
from mnistcnn.convert.operations.operations import Call, Handler
from mnistcnn.nn.layers import Dropout, Dropout2d


def dropout(
    call: Call, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, train: bool | None = None
) -> TracedValue:
    """Add a dropout of single elements. ``torch.dropout`` calls the mode ``train``."""
    active = bool(training if train is None else train)
    return call.builder.pointwise(Dropout(p), call.value(x), call.name, training=active, owner=call.owner)


def _channel_dropout(rank: int | None = None) -> Handler:
    """Return the handler of a dropout of whole channels. PyTorch drops single elements of flat features."""

    def handler(
        call: Call, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, train: bool | None = None
    ) -> TracedValue:
        value = call.value(x)
        active = bool(training if train is None else train)
        if rank is not None and len(value.shape) != rank:
            raise UnsupportedError(
                f"it drops whole images of a tensor with {len(value.shape) + 1} dimensions; use dropout2d for feature "
                "maps and dropout for features"
            )
        if len(value.shape) == 1:
            return dropout(call, x, p, active)
        node = call.builder.channels_first(value)
        options = {"training": active, "owner": call.owner}
        dropped = call.builder.add(Dropout2d(p), [node], call.builder.shape_of(node), call.name, **options)
        return replace(dropped, shape=value.shape)

    return handler


FUNCTIONS: dict[str, Handler] = {
    "dropout": dropout, "dropout2d": _channel_dropout(), "feature_dropout": _channel_dropout(),
    "dropout1d": _channel_dropout(2), "dropout3d": _channel_dropout(4),
}  # fmt: skip
