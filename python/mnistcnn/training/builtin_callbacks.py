"""Built-in callbacks: early stopping, best weights, and loggers.

`EarlyStopping` reads the history, which checkpoints restore, so a resumed run stops at the same epoch as an
uninterrupted one.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import choice, finite_number, whole_number
from mnistcnn._internal.packages import missing_package
from mnistcnn.optim.schedules import VALIDATION_METRICS, score

if TYPE_CHECKING:
    import torch

    from mnistcnn.training.callbacks import StepRecord
    from mnistcnn.training.history import EpochRecord, History
    from mnistcnn.training.trainer import Trainer


class _WithTrainer:
    """Base of the callbacks that keep the trainer. Copies and pickled callbacks do not contain it."""

    _trainer: Trainer | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_trainer"}


class EarlyStopping(_WithTrainer):
    """Callback that ends a run if the validation result has not improved for ``patience`` epochs.

    Parameters
    ----------
    patience
        Number of epochs without improvement after which the run ends.
    monitor
        ``"validation_accuracy"`` or ``"validation_loss"``.
    min_delta
        Smallest change that counts as an improvement.

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
        choice("monitor", monitor, VALIDATION_METRICS)
        self.monitor = monitor

    def on_train_start(self, trainer: Trainer) -> None:
        """Stop a resumed run that was already complete."""
        self._trainer = trainer
        self._check_patience()

    def on_epoch(self, record: EpochRecord) -> None:
        """Stop the run if the last ``patience`` epochs brought no improvement."""
        self._check_patience()

    def _check_patience(self) -> None:
        assert self._trainer is not None
        best, since = -math.inf, 0
        for value in self._trainer.history.column(self.monitor):
            now = score(self.monitor, value)
            best, since = (now, 0) if now > best + self.min_delta else (best, since + 1)
        if since >= self.patience:
            self._trainer.stop()


class KeepBest(_WithTrainer):
    """Callback that restores the weights of the best epoch when the run ends, also after an exception.

    With averaging, the averaged weights are stored if the validation used them.

    Parameters
    ----------
    monitor
        ``"validation_accuracy"`` or ``"validation_loss"``. The earliest of several equally good epochs is the best.

    Attributes
    ----------
    epoch
        Number of the best epoch so far; None before the first epoch.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, _ = mnistcnn.load("digits")
    >>> model = mnistcnn.create_model("budget_model3")
    >>> best = mnistcnn.callbacks.KeepBest()
    >>> history = mnistcnn.train(model, train_set[:200], validation=0.2, epochs=2, callbacks=[best], progress=False)
    >>> best.epoch in (1, 2)
    True
    """

    def __init__(self, monitor: str = "validation_accuracy") -> None:
        choice("monitor", monitor, VALIDATION_METRICS)
        self.monitor = monitor
        self._knows_all_epochs = True  # of the run, also of those before a checkpoint
        self._reset()

    def _reset(self) -> None:
        self.epoch: int | None = None
        self._tensors: dict[str, torch.Tensor] = {}
        self._best = -math.inf

    def on_train_start(self, trainer: Trainer) -> None:
        """Reset the best epoch if another trainer starts a new run.

        Raise ValueError if the weights of earlier epochs are not known or do not fit the model.
        """
        if self._trainer is not trainer and len(trainer.history) == 0:
            self._reset()
            self._knows_all_epochs = True
        if not self._knows_all_epochs:
            raise ValueError(
                f"KeepBest({self.monitor!r}) has no weights of the epochs before: the run was started without it or "
                "with another monitor; resume without it, then call mnistcnn.Checkpoint(DIR, monitor=...).load('best')"
            )
        shapes = {name: tensor.shape for name, tensor in trainer.model.state_dict().items()}
        if self._tensors and shapes != {name: tensor.shape for name, tensor in self._tensors.items()}:
            name = trainer.model.name
            raise ValueError(
                f"the weights in KeepBest do not fit model {name!r}; create a new KeepBest() for each model"
            )
        self._trainer = trainer

    def on_epoch(self, record: EpochRecord) -> None:
        """Copy the weights if this epoch is the best so far."""
        assert self._trainer is not None
        value = score(self.monitor, getattr(record, self.monitor))
        if value > self._best:
            self.epoch, self._best = record.epoch, value
            with self._trainer.averaged():
                state = self._trainer.model.state_dict()
                self._tensors = {name: tensor.detach().clone() for name, tensor in state.items()}

    def on_train_end(self, history: History) -> None:
        """Copy the best weights into the model."""
        if self._trainer is not None and self._tensors:
            self._trainer.model.load_state_dict(self._tensors)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors to store in a checkpoint."""
        import torch

        monitor = VALIDATION_METRICS.index(self.monitor)
        return {**self._tensors, "best": torch.tensor([self.epoch or 0, self._best, monitor], dtype=torch.float64)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore the tensors of `state`, unless the checkpoint was written without a callback of this monitor."""
        self._reset()
        epoch, best, *monitor = state["best"].tolist() if "best" in state else (0, -math.inf, -1)
        self._knows_all_epochs = monitor in ([], [VALIDATION_METRICS.index(self.monitor)])  # older files have none
        if epoch and self._knows_all_epochs:
            self.epoch, self._best = int(epoch), best
            self._tensors = {name: tensor for name, tensor in state.items() if name != "best"}


class CSVLogger(_WithTrainer):
    """Callback that writes the history to a CSV file after every epoch, one row per epoch.

    The whole file is replaced atomically each time.

    Parameters
    ----------
    path
        Path of the file. Its directory must exist.

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
        self.path = Path(_checked_path("path", path)).absolute()  # the working directory may change during the run

    def on_train_start(self, trainer: Trainer) -> None:
        """Write the file once, to fail early if the path is not writable."""
        self._trainer = trainer
        trainer.history.to_csv(self.path)

    def on_epoch(self, record: EpochRecord) -> None:
        """Write all epochs so far."""
        assert self._trainer is not None
        self._trainer.history.to_csv(self.path)


class TensorBoard:
    """Callback that writes losses, accuracies and the learning rate as TensorBoard events.

    Parameters
    ----------
    folder
        Directory of the event files.
    every
        Also write the loss and learning rate of every ``every``-th step. 0: write epochs only.

    Raises
    ------
    ImportError
        If the package ``tensorboard`` is not installed.

    Examples
    --------
    >>> import mnistcnn
    >>> logger = mnistcnn.callbacks.TensorBoard("logs", every=50)  # doctest: +SKIP
    >>> mnistcnn.train(model, train_set, callbacks=[logger])  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path, every: int = 0) -> None:
        self.folder = _checked_path("folder", folder)
        self.every = whole_number("every", every, minimum=0)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing_package("TensorBoard", "tensorboard") from None
        self._make = SummaryWriter
        self._writer: Any = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Open an event file and write the recipe."""
        self._writer = self._make(self.folder)
        self._writer.add_text("recipe", f"```\n{trainer.recipe}\n```", len(trainer.history))

    def on_step(self, record: StepRecord) -> None:
        """Write the loss and learning rate of a step."""
        self._writer.add_scalar("step/loss", record.loss, record.step)
        self._writer.add_scalar("step/learning_rate", record.learning_rate, record.step)

    def on_epoch(self, record: EpochRecord) -> None:
        """Write the results of an epoch."""
        for name, value in _metrics(record).items():
            part, _, metric = name.partition("_")
            tag = f"{metric}/{part}" if part in ("train", "validation") else name  # one chart for both sets
            self._writer.add_scalar(tag, value, record.epoch)
        self._writer.flush()

    def on_train_end(self, history: History) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class MLflow:
    """Callback that logs the recipe and the results of every epoch to a new MLflow run.

    Parameters
    ----------
    experiment
        Name of the MLflow experiment; it is created if it does not exist. Default: ``"Default"``.
    run_name
        Name of the MLflow run. Default: a name generated by MLflow.
    tracking_uri
        URI of the tracking server or store. Default: MLflow's configuration.

    Raises
    ------
    ImportError
        If the package ``mlflow`` is not installed.

    Examples
    --------
    >>> import mnistcnn
    >>> logger = mnistcnn.callbacks.MLflow(experiment="mnist", run_name="baseline")  # doctest: +SKIP
    >>> mnistcnn.train(model, train_set, callbacks=[logger])  # doctest: +SKIP
    """

    def __init__(
        self, experiment: str | None = None, run_name: str | None = None, tracking_uri: str | None = None
    ) -> None:
        try:
            import mlflow
        except ImportError:
            raise missing_package("MLflow", "mlflow-skinny") from None
        self._mlflow: Any = mlflow
        self.experiment, self.run_name, self.tracking_uri = experiment, run_name, tracking_uri
        self._run: Any = None
        self._client: Any = None
        self._trainer: Trainer | None = None

    def on_train_start(self, trainer: Trainer) -> None:
        """Create the MLflow run and log the recipe."""
        self._trainer = trainer
        client = self._client = self._mlflow.MlflowClient(tracking_uri=self.tracking_uri)
        name = self.experiment or "Default"
        found = client.get_experiment_by_name(name)
        number = found.experiment_id if found else client.create_experiment(name)
        self._run = client.create_run(number, run_name=self.run_name).info.run_id
        client.log_param(self._run, "model", trainer.model.name)
        for name, value in trainer.recipe.describe().items():
            client.log_param(self._run, name, str(value)[:500])

    def on_epoch(self, record: EpochRecord) -> None:
        """Log the results of an epoch."""
        for name, value in _metrics(record).items():
            self._client.log_metric(self._run, name, value, step=record.epoch)

    def on_train_end(self, history: History) -> None:
        """End the MLflow run, as failed if an exception ended the training."""
        if self._run is not None:
            failed = self._trainer is not None and self._trainer.failed
            self._client.set_terminated(self._run, status="FAILED" if failed else "FINISHED")


def _metrics(record: EpochRecord) -> dict[str, float]:
    names = "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds"
    return {name: getattr(record, name) for name in names if getattr(record, name) is not None}


def _checked_path(name: str, path: object) -> str:
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise TypeError(f"{name} must be a path, got {path!r}")
    return os.fspath(path)
