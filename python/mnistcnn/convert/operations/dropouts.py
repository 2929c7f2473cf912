"""PyTorch's dropouts, as functions; the layers call them too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mnistcnn.convert.errors import RefusalError
from mnistcnn.convert.operations.builder import Value
from mnistcnn.convert.operations.operations import Call, Handler
from mnistcnn.nn.layers import Dropout, Dropout2d


def dropout(
    call: Call, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, train: bool | None = None
) -> Value:
    """Each number by itself; ``torch.dropout`` calls the mode ``train``."""
    works = bool(training if train is None else train)
    return call.builder.pointwise(Dropout(p), call.value(x), call.name, training=works, owner=call.owner)


def _channel_dropout(rank: int | None = None) -> Handler:
    """Whole channels; on flat features PyTorch drops each number by itself."""

    def handler(
        call: Call, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, train: bool | None = None
    ) -> Value:
        value = call.value(x)
        works = bool(training if train is None else train)
        if rank is not None and len(value.shape) != rank:
            raise RefusalError(
                f"of a tensor of {len(value.shape) + 1} dimensions it drops whole images; use dropout2d for maps and "
                "dropout for rows"
            )
        if len(value.shape) == 1:
            return dropout(call, x, p, works)
        node = call.builder.channels_first(value)
        more = {"training": works, "owner": call.owner}
        made = call.builder.add(Dropout2d(p), [node], call.builder.shape_of(node), call.name, **more)
        return replace(made, shape=value.shape)

    return handler


FUNCTIONS: dict[str, Handler] = {
    "dropout": dropout, "dropout2d": _channel_dropout(), "feature_dropout": _channel_dropout(),
    "dropout1d": _channel_dropout(2), "dropout3d": _channel_dropout(4),
}  # fmt: skip
