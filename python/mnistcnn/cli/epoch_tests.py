"""Results on the test set after every epoch of ``mnistcnn train`` without a validation set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from mnistcnn.cli.output import print_message
from mnistcnn.evaluation.evaluate import test

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.evaluation.results import TestResult
    from mnistcnn.nn.model import Model
    from mnistcnn.training.history import EpochRecord, History
    from mnistcnn.training.trainer import Trainer


class EpochTests:
    """Callback that evaluates the test set after every epoch and prints the result to stderr.

    The results are only displayed. They are not part of the history, so that no schedule and no checkpoint ranks epochs
    by them. A resumed run has the results of its earlier epochs.
    """

    def __init__(self, test_set: ImageSet, *, engine: str, threads: int | None) -> None:
        self._test_set, self._engine, self._threads = test_set, engine, threads
        self._results: dict[int, tuple[float, float]] = {}  # epoch: loss and accuracy
        self._trainer: Trainer | None = None
        self._latest: TestResult | None = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Keep the trainer."""
        self._trainer = trainer

    def on_epoch(self, record: EpochRecord) -> None:
        """Evaluate the test set, with averaged weights if a validation would use them."""
        assert self._trainer is not None
        with self._trainer.averaged():
            result = self._latest = self._test(self._trainer.model)
        self._results[record.epoch] = (result.loss, result.accuracy)
        print_message(str(self._completed(record)).replace("validation", "test"))

    def final(self, model: Model) -> TestResult:
        """Return the result of the trained model: that after the last epoch, unless its weights were averaged since."""
        if self._latest is None or self._trainer is None or self._trainer.recipe.averaging is not None:
            return self._test(model)
        return self._latest

    def add_to(self, history: History) -> History:
        """Return a copy of the history with the results in the columns of the validation set."""
        return replace(history, epochs=[self._completed(record) for record in history.epochs])

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors to store in a checkpoint."""
        rows = [(epoch, *result) for epoch, result in self._results.items()]
        return {"results": torch.tensor(rows, dtype=torch.float64).reshape(-1, 3)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the tensors of `state`; do nothing if the checkpoint was written without this callback."""
        for epoch, loss, accuracy in state.get("results", torch.zeros(0, 3)).tolist():
            self._results[int(epoch)] = (loss, accuracy)

    def _test(self, model: Model) -> TestResult:
        return test(model, self._test_set, engine=self._engine, threads=self._threads, progress=False)

    def _completed(self, record: EpochRecord) -> EpochRecord:
        loss, accuracy = self._results.get(record.epoch, (None, None))
        return replace(record, validation_loss=loss, validation_accuracy=accuracy)
