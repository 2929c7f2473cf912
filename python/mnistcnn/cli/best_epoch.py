"""Best epoch of ``mnistcnn train --save-best``."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import typer

from mnistcnn.training.builtin_callbacks import KeepBest

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model
    from mnistcnn.training.history import History
    from mnistcnn.training.trainer import Trainer


class BestEpoch(KeepBest):
    """Callback that copies the weights of the epoch with the best validation accuracy.

    Unlike with `KeepBest`, the trained model has the weights of the last epoch.
    """

    def on_train_start(self, trainer: Trainer) -> None:
        """Raise typer.BadParameter if the weights of earlier epochs are not in the checkpoint of a resumed run."""
        if len(trainer.history) > 0 and not self._knows_all_epochs:
            raise typer.BadParameter(
                "the run was started without this option, so that the weights of its best epoch are unknown; resume it "
                "without the option, then call mnistcnn.Checkpoint(DIR).load('best')",
                param_hint="'--save-best'",
            )
        super().on_train_start(trainer)

    def on_train_end(self, history: History) -> None:
        """Do nothing."""

    def model(self, trained: Model) -> Model | None:
        """Return a copy of the trained model with the best weights; None if no epoch is complete."""
        if self.epoch is None:
            return None
        best = copy.deepcopy(trained)
        best.load_state_dict(self._tensors)
        return best
