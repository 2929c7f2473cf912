"""Training: a recipe, a model and images in; a history out. Every batch runs in the core."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import flag, whole_number
from mnistcnn._internal.from_recipe import FROM_RECIPE, FromRecipe
from mnistcnn._internal.progress import ProgressBar
from mnistcnn.convert.from_torch import as_model
from mnistcnn.data.image_set import ImageSet
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.input_checks import check_last_batch, move
from mnistcnn.optim import averaging
from mnistcnn.optim.schedules import Plan, Rates
from mnistcnn.training.callbacks import Listeners, check_monitor
from mnistcnn.training.checkpoints import Checkpoint
from mnistcnn.training.history import EpochRecord, History
from mnistcnn.training.native_run import NativeRun, plan_of
from mnistcnn.training.recipes import Recipe, complete, explaining
from mnistcnn.training.run_state import RunState
from mnistcnn.training.snapshot import Snapshot
from mnistcnn.training.validation import Validation, split_off

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mnistcnn.nn.model import Model
    from mnistcnn.optim.averaging import Averaging
    from mnistcnn.optim.losses import Loss, Mixing
    from mnistcnn.optim.optimizers import Optimizer
    from mnistcnn.optim.schedules import Schedule
    from mnistcnn.training.callbacks import Callback
    from mnistcnn.transforms.steps import Step


@explaining
def train(
    model: Model | nn.Module,
    train_set: ImageSet,
    recipe: Recipe | None = None,
    *,
    validation: Validation = None,
    epochs: int | FromRecipe = FROM_RECIPE,
    batch_size: int | FromRecipe = FROM_RECIPE,
    optimizer: Optimizer | str | FromRecipe = FROM_RECIPE,
    schedule: Schedule | FromRecipe | None = FROM_RECIPE,
    augment: Step | Iterable[Step] | FromRecipe | None = FROM_RECIPE,
    loss: Loss | str | FromRecipe = FROM_RECIPE,
    label_smoothing: float | FromRecipe = FROM_RECIPE,
    mixing: Mixing | FromRecipe | None = FROM_RECIPE,
    averaging: Averaging | FromRecipe | None = FROM_RECIPE,
    shuffle: bool | FromRecipe = FROM_RECIPE,
    seed: int | FromRecipe = FROM_RECIPE,
    engine: str | None = None,
    threads: int | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback | Any] = (),
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Trains a model and says how it went.

    Parameters
    ----------
    model
        Trained in place. Without a normalization of its own it takes the training set's mean and deviation.
    train_set
        The images that are learnt.
    recipe
        Everything that decides the run, such as `mnistcnn.recipe` gives it; by default ``Recipe()``.
    validation
        What is looked at after every epoch: an ImageSet, or a fraction of the training set, which is then taken away
        from it, the same for the same seed, in the proportions of the classes. It changes nothing, unless the schedule
        or a callback looks at it.
    epochs, batch_size, optimizer, schedule, augment, loss, label_smoothing, mixing, averaging, shuffle, seed
        Take the place of the recipe's fields of the same names; see `mnistcnn.Recipe`. None leaves the recipe's; to
        take something away, change the recipe: ``recipe.replace(schedule=None)``.
    engine, threads
        Override ``model.engine`` and ``model.threads`` for this run.
    device
        "auto" trains where the model lies; "cpu" or "cuda" moves it there first.
    callbacks
        Objects with at least one of the methods ``on_train_start(trainer)``, ``on_step(record)``,
        ``on_epoch(record)``, ``on_train_end(history)``; see `mnistcnn.callbacks`.
    checkpoint
        A folder (or a `Checkpoint`, to say more) in which every epoch leaves a file.
    resume
        Go on from the latest whole file in that folder, and end with exactly the bits of a run that was never
        interrupted. From the beginning if there is none yet. A run with more epochs goes on too, where its schedule
        would not have begun otherwise; and with another engine or device, with a warning, but for the last digits.
    progress
        Whether to show a bar (in terminals and notebooks).

    Returns
    -------
    History
        One record per epoch, and the loss of every step. ``model.history`` keeps it too, also when the run is
        interrupted; the model then has the weights of its last whole step.

    Raises
    ------
    DivergedError
        When a loss is no longer a finite number.
    """
    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "schedule": schedule,
        "augment": augment,
        "loss": loss,
        "label_smoothing": label_smoothing,
        "mixing": mixing,
        "averaging": averaging,
        "shuffle": shuffle,
        "seed": seed,
    }
    trainer = Trainer(
        model,
        recipe,
        engine=engine,
        threads=threads,
        device=device,
        callbacks=callbacks,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        **{name: value for name, value in given.items() if value is not FROM_RECIPE},
    )
    for _ in trainer.epochs(train_set, validation):
        pass
    return trainer.history


class Trainer:
    """A training run that is driven epoch by epoch; `train` drives it for you.

    Takes what `train` takes, except for the data; fields of the recipe may be given by their names.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:200]
    >>> trainer = mnistcnn.Trainer(mnistcnn.create_model("budget_model3"), epochs=2, progress=False)
    >>> for record in trainer.epochs(data, validation=data):
    ...     print(record.epoch, record.train_loss > 0)
    1 True
    2 True
    """

    def __init__(
        self,
        model: Model | nn.Module,
        recipe: Recipe | None = None,
        *,
        engine: str | None = None,
        threads: int | None = None,
        device: str | torch.device = "auto",
        callbacks: Iterable[Callback | Any] = (),
        checkpoint: str | Path | Checkpoint | None = None,
        resume: bool = False,
        progress: bool = True,
        **changes: Any,
    ) -> None:
        self.model = model = as_model(model)
        self._recipe = complete(recipe, changes)
        self._listeners = Listeners(callbacks)
        self._checkpoint, self._resume = _checked_checkpoint(checkpoint, resume)
        self.history = History(model.name, self._recipe.seed, recipe=self._recipe.described())
        self._engine, self._threads, self._progress = engine, threads, progress
        move(model, device)
        self._native = NativeRun(model, self._recipe, engine, threads)
        self._stopping = False

    @property
    def recipe(self) -> Recipe:
        """Everything that decides the run, chosen once."""
        return self._recipe

    @property
    def optimizer(self) -> Optimizer:
        """Chosen once, for the whole run."""
        optimizer: Optimizer = self._recipe.optimizer
        return optimizer

    def stop(self) -> None:
        """Asks the run to end after the present epoch, or before the first one."""
        self._stopping = True

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights that validations look at: the averaged ones, if the recipe averages."""
        return self._native.averaged()

    def epochs(
        self, train_set: ImageSet, validation: Validation = None, *, epochs: int | None = None
    ) -> Iterator[EpochRecord]:
        """Trains, and yields the record of every epoch. Leaving the loop ends the run.

        ``epochs`` more of them, or by default those that the recipe has left. A schedule plans for the recipe's
        epochs, or for more where these go beyond.
        """
        more = None if epochs is None else whole_number("epochs", epochs)
        sets = split_off(self.model, train_set, validation, self.recipe.seed, self.recipe.augment)
        check_last_batch(self.model, len(sets[0]), self.recipe.batch_size)
        self._listeners.check(sets[1] is not None)
        state = RunState(self.model, self.recipe, sets, self._listeners) if self._checkpoint else None
        snapshot = self._snapshot_to_resume(state)
        done = snapshot.epoch if snapshot else len(self.history)
        last = self.recipe.epochs if more is None else done + more
        plan = plan_of(self.recipe, max(last, self.recipe.epochs), len(sets[0]))
        self._check_schedule(plan, sets[1])
        averaging.check(self.recipe.averaging, plan.epochs)
        return self._train(_Session(*sets, plan, last, state, snapshot))

    def _snapshot_to_resume(self, state: RunState | None) -> Snapshot | None:
        if self._checkpoint is None or state is None or len(self.history) > 0:
            return None
        self._checkpoint.prepare(resume=self._resume)
        snapshot = self._checkpoint.latest() if self._resume else None
        if snapshot is not None:
            state.check(snapshot, self._checkpoint.folder, self._native)
        return snapshot

    def _check_schedule(self, plan: Plan, validation: ImageSet | None) -> None:
        schedule = self.recipe.schedule
        if schedule is None:
            return
        schedule.check(plan)
        check_monitor(schedule, schedule.monitored, validation is not None)

    def _train(self, session: _Session) -> Iterator[EpochRecord]:
        model, history = self.model, self.history
        was_training = model.training
        self._stopping = False
        self._begin(session)
        try:
            self._listeners.tell("on_train_start", self)
            with ProgressBar(
                max(0, session.last - len(history)) * len(session.train_set), enabled=self._progress
            ) as bar:
                done = 0
                while len(history) < session.last and not self._stopping:
                    record = self._one_epoch(session, bar, done)
                    done += len(session.train_set)
                    try:
                        self._listeners.tell("on_epoch", record)
                    finally:
                        self._save(session)
                    yield record
            self._native.finish(session.train_set)
        finally:
            model.train(was_training)
            self._listeners.tell_the_end(history)

    def _begin(self, session: _Session) -> None:
        model = self.model
        model.history = self.history
        if model.normalization is None:
            model.normalization = Normalization.of(session.train_set)
        self._native.begin(session.plan, epochs=len(self.history), steps=len(self.history.step_losses))
        if session.state and session.snapshot:
            session.state.restore(session.snapshot, self.history, self._native)

    def _save(self, session: _Session) -> None:
        number = len(self.history)
        last = number == session.last or self._stopping
        if self._checkpoint and session.state and (last or number % self._checkpoint.every == 0):
            self._checkpoint.write(session.state.snapshot(self.history, self._native), self.history.epochs)

    def _one_epoch(self, session: _Session, bar: ProgressBar, done: int) -> EpochRecord:
        history = self.history
        number, first_step = len(history) + 1, len(history.step_losses)
        title = f"epoch {number}/{session.last}"
        before = _validated(history.epochs[-1]) if history.epochs else {}  # stays until there is a newer one

        def on_progress(state: tuple[int, int, float, int]) -> None:
            images, _, loss_sum, correct = state
            mean, share = f"{loss_sum / images:.4f}", f"{100 * correct / images:.2f} %"
            bar.show(done + images, title=title, loss=mean, acc=share, **before)

        rates = self._rates(session.plan)
        every = self._listeners.every
        result = self._native.next_epoch(
            session.train_set,
            rates,
            on_progress=on_progress if self._progress else None,
            on_step=self._listeners.step_teller(number, first_step, rates.learning_rates) if every else None,
            on_step_every=every or 1,
        )
        loss, accuracy = (None, None) if session.validation is None else self._native.evaluate(session.validation)
        record = EpochRecord(
            epoch=number,
            train_loss=result["loss_sum"] / result["count"],
            train_accuracy=result["correct"] / result["count"],
            validation_loss=loss,
            validation_accuracy=accuracy,
            learning_rate=rates.learning_rates[0],
            seconds=result["seconds"],
            last_learning_rate=rates.learning_rates[-1],
        )
        history.epochs.append(record)
        history.step_losses.extend(result["step_losses"].tolist())
        bar.show(done + len(session.train_set), title=title, **_postfix(record))
        return record

    def _rates(self, plan: Plan) -> Rates:
        if self.recipe.schedule is None:
            return Rates([plan.learning_rate] * plan.steps)
        return self.recipe.schedule.rates(plan, len(self.history), self.history.epochs)


@dataclass(frozen=True)
class _Session:
    """What one call of `Trainer.epochs` has made of its arguments."""

    train_set: ImageSet
    validation: ImageSet | None
    plan: Plan
    last: int  # the epoch to end with
    state: RunState | None  # None without checkpoints
    snapshot: Snapshot | None  # to go on from


def _checked_checkpoint(checkpoint: object, resume: object) -> tuple[Checkpoint | None, bool]:
    resume = flag("resume", resume)
    if isinstance(checkpoint, str | os.PathLike):
        checkpoint = Checkpoint(os.fspath(checkpoint))
    if checkpoint is None and resume:
        raise ValueError('resume=True needs the folder of the run: checkpoint="run/"')
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"checkpoint must be a folder or a mnistcnn.Checkpoint, got {checkpoint!r}")
    return checkpoint, resume


def _postfix(record: EpochRecord) -> dict[str, str]:
    numbers = {"loss": f"{record.train_loss:.4f}", "acc": f"{100 * record.train_accuracy:.2f} %"}
    return numbers | _validated(record)


def _validated(record: EpochRecord) -> dict[str, str]:
    return {} if record.validation_accuracy is None else {"val": f"{100 * record.validation_accuracy:.2f} %"}
