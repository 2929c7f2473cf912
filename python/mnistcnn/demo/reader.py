"""From what was drawn to what the model says of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn.data.digitize import SIDE, as_digit
from mnistcnn.evaluation.evaluate import predict
from mnistcnn.evaluation.explain import grad_cam

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Answer:
    """What a model says of one drawing; all values are plain, for JSON."""

    probabilities: list[float]
    image: list[int]  # [H * W], as the model sees it, 0 to 255
    heat: list[float]  # [H * W], Grad-CAM for the likeliest class, 0 to 1
    milliseconds: float


class Reader:
    """A model with its lock: requests come from several threads, a model serves one at a time."""

    def __init__(self, model: Model) -> None:
        channels, height, width = model.input_shape
        if (channels, height, width) != (1, SIDE, SIDE):
            raise ValueError(
                f"the demo draws digits of [1, {SIDE}, {SIDE}], but model '{model.name}' takes images "
                f"[{channels}, {height}, {width}]"
            )
        _ = model.num_classes  # refuses outputs that are no classes
        self.model = model
        self._lock = threading.Lock()

    def read(self, drawing: Pixels) -> Answer | None:
        """``drawing`` is u8 [S, S], white ink on black; None when nothing has been drawn."""
        if not drawing.any():
            return None
        start = time.perf_counter()
        image = as_digit(drawing)
        with self._lock:
            probabilities = predict(self.model, image)[0]
            heat = grad_cam(self.model, image)[0]
        seconds = time.perf_counter() - start
        return Answer(
            probabilities=[round(float(each), 6) for each in probabilities],
            image=image.ravel().tolist(),
            heat=[round(float(each), 4) for each in np.ravel(heat)],
            milliseconds=1000 * seconds,
        )
