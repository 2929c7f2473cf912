"""Ready callbacks: stop early, keep the best, write down what happens.

They decide by the history, which checkpoints bring back, so that a resumed run stops where an undisturbed one would.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import choice, finite_number, whole_number
from mnistcnn.optim.schedules import JUDGES, merit

if TYPE_CHECKING:
    import torch

    from mnistcnn.training.callbacks import StepRecord
    from mnistcnn.training.history import EpochRecord, History
    from mnistcnn.training.trainer import Trainer


class EarlyStopping:
    """Ends a run when its validation has not become better for ``patience`` epochs.

    Parameters
    ----------
    patience
        How many epochs may pass without a better one.
    monitor
        "validation_accuracy" or "validation_loss"; never the training set's.
    min_delta
        By how much an epoch must be better to count.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, test_set = mnistcnn.load("digits")
    >>> model = mnistcnn.create_model("budget_model3")
    >>> history = mnistcnn.train(model, train_set[:200], validation=0.2, epochs=9, progress=False,
    ...                          optimizer=mnistcnn.optim.SGD(lr=0.0),
    ...                          callbacks=[mnistcnn.callbacks.EarlyStopping(patience=2)])
    >>> 3 <= len(history) <= 9
    True
    """

    def __init__(self, patience: int = 3, monitor: str = "validation_accuracy", min_delta: float = 0.0) -> None:
        self.patience = whole_number("patience", patience)
        self.min_delta = finite_number("min_delta", min_delta)
        choice("monitor", monitor, JUDGES)
        self.monitor = monitor
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: Trainer) -> None:
        """A resumed run may have been at its end already."""
        self._trainer = trainer
        self._look()

    def on_epoch(self, record: EpochRecord) -> None:
        """Looks at the epochs so far."""
        self._look()

    def _look(self) -> None:
        assert self._trainer is not None
        best, since = -math.inf, 0
        for value in self._trainer.history.column(self.monitor):
            now = merit(self.monitor, value)
            best, since = (now, 0) if now > best + self.min_delta else (best, since + 1)
        if since >= self.patience:
            self._trainer.stop()


class KeepBest:
    """Gives the model, when the run ends, the weights of the epoch that was best on the validation set.

    Parameters
    ----------
    monitor
        "validation_accuracy" or "validation_loss"; of equal epochs the first one is the best.
    """

    def __init__(self, monitor: str = "validation_accuracy") -> None:
        choice("monitor", monitor, JUDGES)
        self.monitor = monitor
        self.epoch: int | None = None  # the best so far
        self._tensors: dict[str, torch.Tensor] = {}
        self._best = -math.inf
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: Trainer) -> None:
        """A new run has no best epoch yet."""
        if self._trainer is not trainer and len(trainer.history) == 0:
            self.epoch, self._tensors, self._best = None, {}, -math.inf
        self._trainer = trainer

    def on_epoch(self, record: EpochRecord) -> None:
        """Copies the weights of a better epoch, the averaged ones if the validation looked at these."""
        assert self._trainer is not None
        value = merit(self.monitor, getattr(record, self.monitor))
        if value > self._best:
            self.epoch, self._best = record.epoch, value
            with self._trainer.averaged():
                state = self._trainer.model.state_dict()
                self._tensors = {name: tensor.detach().clone() for name, tensor in state.items()}

    def on_train_end(self, history: History) -> None:
        """The model gets the best weights, also when the run was interrupted."""
        if self._trainer is not None and self._tensors:
            self._trainer.model.load_state_dict(self._tensors)

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps."""
        import torch

        return {**self._tensors, "best": torch.tensor([self.epoch or 0, self._best], dtype=torch.float64)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """What `state` gave; nothing if the checkpoint was written without this callback."""
        if "best" in state:
            epoch, self._best = state["best"].tolist()
            self.epoch = int(epoch) or None
            self._tensors = {name: tensor for name, tensor in state.items() if name != "best"}


class CSVLogger:
    """Writes the history into a CSV file after every epoch, whole each time.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:200]
    >>> model = mnistcnn.create_model("budget_model3")
    >>> _ = mnistcnn.train(model, data, epochs=2, callbacks=[mnistcnn.callbacks.CSVLogger("run.csv")], progress=False)
    >>> from pathlib import Path
    >>> len(Path("run.csv").read_text().splitlines())
    3
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(_a_path("path", path))
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: Trainer) -> None:
        """What can't be written is told before the work."""
        self._trainer = trainer
        trainer.history.to_csv(self.path)

    def on_epoch(self, record: EpochRecord) -> None:
        """All epochs so far."""
        assert self._trainer is not None
        self._trainer.history.to_csv(self.path)


class TensorBoard:
    """Writes losses, accuracies and the learning rate for TensorBoard.

    Parameters
    ----------
    folder
        Where its event files go.
    every
        After every how many steps the loss of the step is written too; 0: never.
    """

    def __init__(self, folder: str | Path, every: int = 0) -> None:
        self.folder = _a_path("folder", folder)
        self.every = whole_number("every", every, least=0)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError('TensorBoard needs its package: pip install "mnistcnn[tensorboard]"') from None
        self._make = SummaryWriter
        self._writer: Any = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Opens the file."""
        self._writer = self._make(self.folder)
        self._writer.add_text("recipe", f"```\n{trainer.recipe}\n```", len(trainer.history))

    def on_step(self, record: StepRecord) -> None:
        """The loss of a step."""
        self._writer.add_scalar("step/loss", record.loss, record.step)
        self._writer.add_scalar("step/learning_rate", record.learning_rate, record.step)

    def on_epoch(self, record: EpochRecord) -> None:
        """The numbers of an epoch."""
        for name, value in _numbers(record).items():
            part, _, what = name.partition("_")
            tag = f"{what}/{part}" if part in ("train", "validation") else name  # so that both lie in one chart
            self._writer.add_scalar(tag, value, record.epoch)
        self._writer.flush()

    def on_train_end(self, history: History) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()


class MLflow:
    """Logs the recipe and every epoch to MLflow, as one run of it.

    Parameters
    ----------
    experiment, run_name
        Under which names; None: MLflow's own choice.
    tracking_uri
        Where to; None: as MLflow is configured.
    """

    def __init__(
        self, experiment: str | None = None, run_name: str | None = None, tracking_uri: str | None = None
    ) -> None:
        try:
            import mlflow
        except ImportError:
            raise ImportError('MLflow needs its package: pip install "mnistcnn[mlflow]"') from None
        self._mlflow: Any = mlflow
        self.experiment, self.run_name, self.tracking_uri = experiment, run_name, tracking_uri
        self._run: Any = None
        self._client: Any = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Starts the run, and logs the recipe."""
        client = self._client = self._mlflow.MlflowClient(tracking_uri=self.tracking_uri)
        name = self.experiment or "Default"
        found = client.get_experiment_by_name(name)
        number = found.experiment_id if found else client.create_experiment(name)
        self._run = client.create_run(number, run_name=self.run_name).info.run_id
        client.log_param(self._run, "model", trainer.model.name)
        for name, value in trainer.recipe.described().items():
            client.log_param(self._run, name, str(value)[:500])

    def on_epoch(self, record: EpochRecord) -> None:
        """The numbers of an epoch."""
        for name, value in _numbers(record).items():
            self._client.log_metric(self._run, name, value, step=record.epoch)

    def on_train_end(self, history: History) -> None:
        """Ends the run."""
        if self._run is not None:
            self._client.set_terminated(self._run)


def _numbers(record: EpochRecord) -> dict[str, float]:
    names = (*("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"), "learning_rate", "seconds")
    return {name: getattr(record, name) for name in names if getattr(record, name) is not None}


def _a_path(name: str, path: object) -> str:
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise TypeError(f"{name} must be a path, got {path!r}")
    return os.fspath(path)
