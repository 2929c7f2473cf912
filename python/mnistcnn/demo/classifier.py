"""Classification of a digit."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistcnn.data.digitize import SIDE
from mnistcnn.evaluation.evaluate import predict
from mnistcnn.evaluation.explain import grad_cam

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Answer:
    """Prediction for one digit, as plain values for JSON."""

    probabilities: list[float]
    heat: list[float]  # [H * W], Grad-CAM of the predicted class, 0 to 1
    milliseconds: float


class DigitClassifier:
    """Thread-safe classifier of digits: a lock serialises the calls of the model.

    Raises
    ------
    ValueError
        If the input shape of the model is not [1, 28, 28], or its outputs are not classes.
    """

    def __init__(self, model: Model) -> None:
        channels, height, width = model.input_shape
        if (channels, height, width) != (1, SIDE, SIDE):
            raise ValueError(
                f"the demo requires a model with input shape [1, {SIDE}, {SIDE}], got model '{model.name}' with "
                f"[{channels}, {height}, {width}]"
            )
        _ = model.num_classes  # raises ValueError if the outputs are not classes
        self.model = model
        self._lock = threading.Lock()

    def classify(self, digit: Pixels) -> Answer:
        """Classify a digit, u8 [28, 28], in the format of MNIST."""
        start = time.perf_counter()
        with self._lock:
            probabilities = predict(self.model, digit)[0]
            heat = grad_cam(self.model, digit)[0]
        seconds = time.perf_counter() - start
        return Answer(
            probabilities=[round(float(each), 6) for each in probabilities],
            heat=[round(float(each), 4) for each in np.ravel(heat)],
            milliseconds=1000 * seconds,
        )
