"""`train` and `Trainer`: the loop over the epochs of a run. The core runs the steps of an epoch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import flag, whole_number, with_hints
from mnistcnn._internal.from_recipe import FROM_RECIPE, FromRecipe
from mnistcnn._internal.progress import ProgressBar
from mnistcnn.convert.from_torch import as_model
from mnistcnn.data.image_set import ImageSet
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.class_names import names_after_training
from mnistcnn.nn.input_checks import check_last_batch, move
from mnistcnn.optim import averaging
from mnistcnn.optim.schedules import Rates, SchedulePlan, checked_rates
from mnistcnn.training.callbacks import CallbackList, check_monitor
from mnistcnn.training.checkpoints import Checkpoint
from mnistcnn.training.history import EpochRecord, History
from mnistcnn.training.native_run import NativeRun, plan_of
from mnistcnn.training.recipes import Recipe, hint_for, recipe_with
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
    from mnistcnn.transforms.steps import Transform


@with_hints(hint_for)
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
    augment: Transform | Iterable[Transform] | FromRecipe | None = FROM_RECIPE,
    loss: Loss | str | FromRecipe = FROM_RECIPE,
    label_smoothing: float | FromRecipe = FROM_RECIPE,
    mixing: Mixing | FromRecipe | None = FROM_RECIPE,
    averaging: Averaging | FromRecipe | None = FROM_RECIPE,
    shuffle: bool | FromRecipe = FROM_RECIPE,
    seed: int | FromRecipe = FROM_RECIPE,
    engine: str | None = None,
    threads: int | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback | object] = (),
    checkpoint: str | Path | Checkpoint | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a model and return the history of the run.

    Parameters
    ----------
    model
        Model or module to train, in place. If it has no normalization yet, it gets the mean and standard deviation of
        the training set.
    train_set
        Training images and labels.
    recipe
        All settings of the run, for example from `mnistcnn.recipe`. Default: ``Recipe()``.
    validation
        Validation set, evaluated after every epoch: an `ImageSet`, or a fraction of ``train_set`` to hold out
        (stratified, determined by ``seed``). Only schedules and callbacks that monitor it use the result. Default: no
        validation.
    epochs
        Number of passes over the training set. Default: the recipe's value (15 in ``Recipe()``).
    batch_size
        Images per step. Default: the recipe's value (128).
    optimizer
        Optimizer such as ``optim.Adam(lr=0.001)``, or a name such as ``"adam"`` for one with default arguments.
        Default: the recipe's value (SGD with ``lr=0.01`` and ``momentum=0.9``).
    schedule
        Learning rate schedule such as ``optim.OneCycleLR(0.1)``; None for a constant rate. Default: the recipe's value
        (None).
    augment
        Transforms of the training images, such as ``[transforms.Rotation(10)]``; None for none. Default: the recipe's
        value (none).
    loss
        ``"auto"``, ``"nll"``, ``"cross_entropy"``, or a loss of `mnistcnn.losses`. Default: the recipe's value
        (``"auto"``).
    label_smoothing
        Fraction of the target that is spread evenly over all classes, from 0 to 1. Default: the recipe's value (0).
    mixing
        ``losses.Mixup(...)`` or ``losses.CutMix(...)``; None for neither. Default: the recipe's value (None).
    averaging
        Weight averaging: ``optim.EMA(...)``, ``optim.SWA(...)`` or ``optim.Lookahead(...)``; None for none. Default:
        the recipe's value (None).
    shuffle
        Whether every epoch uses a new random order of the images. Default: the recipe's value (True).
    seed
        Seed of the order of the images, the dropout masks and the augmentation. The same seed gives a bit-identical
        run. Default: the recipe's value (0).
    engine
        ``"lanes"``, ``"aten"`` or ``"auto"``. Default: ``model.engine``.
    threads
        Number of CPU threads. Default: ``model.threads``.
    device
        ``"cpu"`` or ``"cuda"`` moves the model there first; ``"auto"`` trains on the model's device.
    callbacks
        Objects with one or more of the methods of `mnistcnn.callbacks.Callback`.
    checkpoint
        Directory to save a checkpoint to after every epoch, or a `Checkpoint` for more options. Default: none is saved.
    resume
        Continue from the latest checkpoint in the directory, if there is one. A resumed run is bit-identical to an
        uninterrupted one; another engine or device is allowed with a warning. More epochs than before are allowed if
        the schedule does not depend on their number.
    progress
        Whether to show a progress bar in terminals and notebooks.

    Returns
    -------
    History
        One record per epoch, and the loss of every step. The history of a `Model` is stored in ``model.history`` as
        well.

    Raises
    ------
    DivergedError
        If a loss is not finite.
    KeyboardInterrupt
        If the run is interrupted. The model has the weights after its last complete step. The history of the complete
        epochs is ``model.history`` and the attribute ``history`` of the exception.

    Examples
    --------
    >>> import mnistcnn
    >>> train_set, _ = mnistcnn.load("digits")
    >>> model = mnistcnn.create_model("budget_model3", seed=1)
    >>> history = mnistcnn.train(model, train_set[:500], validation=0.2, epochs=2, optimizer="adam", progress=False)
    >>> len(history), history.last.validation_accuracy is not None
    (2, True)
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
    epochs_of_run = trainer.epochs(train_set, validation)
    try:
        for _ in epochs_of_run:
            pass
    except KeyboardInterrupt as error:
        _attach_history(error, trainer, model)
        raise
    return trainer.history


def _attach_history(error: KeyboardInterrupt, trainer: Trainer, model: Model | nn.Module) -> None:
    """Store the history in the exception, and state in its message where the history is."""
    done, epochs = len(trainer.history), trainer.recipe.epochs
    place = "model.history" if model is trainer.model else "the attribute history of this exception"
    error.history = trainer.history  # type: ignore[attr-defined]
    error.args = (
        f"training was interrupted after {done} of {epochs} epochs. The model has the weights after its last complete "
        f"step; the History of the complete epochs is {place}.",
    )


class Trainer:
    """Training run that is driven epoch by epoch; `train` is a loop over `Trainer.epochs`.

    Parameters
    ----------
    model
        Model or module to train, in place.
    recipe
        All settings of the run. Default: ``Recipe()``.
    engine
        ``"lanes"``, ``"aten"`` or ``"auto"``. Default: ``model.engine``.
    threads
        Number of CPU threads. Default: ``model.threads``.
    device
        ``"cpu"`` or ``"cuda"`` moves the model there first; ``"auto"`` trains on the model's device.
    callbacks
        Objects with one or more of the methods of `mnistcnn.callbacks.Callback`.
    checkpoint
        Directory to save a checkpoint to after every epoch, or a `Checkpoint`. Default: no checkpoints.
    resume
        Whether to continue from the latest checkpoint in the directory.
    progress
        Whether to show a progress bar in terminals and notebooks.
    **changes
        Fields of the recipe to override, such as ``epochs=5``.

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
        callbacks: Iterable[Callback | object] = (),
        checkpoint: str | Path | Checkpoint | None = None,
        resume: bool = False,
        progress: bool = True,
        **changes: Any,
    ) -> None:
        self.model = model = as_model(model)
        self._recipe = recipe_with(recipe, changes, Trainer)
        self._callbacks = CallbackList(callbacks)
        self._checkpoint, self._resume = _checked_checkpoint(checkpoint, resume)
        self.history = History(model.name, self._recipe.seed, recipe=self._recipe.describe())
        self._engine, self._threads, self._progress = engine, threads, progress
        move(model, device)
        self._native = NativeRun(model, self._recipe, engine, threads)
        self._stopping = False
        self.failed = False  # whether an exception ended the latest call of `epochs`

    def __repr__(self) -> str:
        epochs = f"{len(self.history)} of {self.recipe.epochs} epochs"
        return f"Trainer of '{self.model.name}', seed {self.recipe.seed}: {epochs}"

    def __getstate__(self) -> object:
        raise TypeError(
            "a Trainer cannot be pickled or copied; pickle trainer.model and trainer.recipe, or pass checkpoint= and "
            "resume=True to continue the run in another process"
        )

    @property
    def recipe(self) -> Recipe:
        """Recipe of the run, read-only."""
        return self._recipe

    @property
    def optimizer(self) -> Optimizer:
        """Optimizer of the recipe, read-only."""
        return self._recipe.optimizer

    def stop(self) -> None:
        """End the run after the current epoch, or before the first one."""
        self._stopping = True

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the model has the weights that validation uses, for example the averages of EMA."""
        return self._native.averaged()

    def epochs(
        self, train_set: ImageSet, validation: Validation = None, *, epochs: int | None = None
    ) -> Iterator[EpochRecord]:
        """Train, and yield a record after every epoch.

        Breaking out of the loop ends the run: ``on_train_end`` is called, so `KeepBest` restores its weights. Averaged
        weights are copied into the model after a complete call only. Another call continues with the model's weights,
        after the last complete epoch. Schedules cover the recipe's epochs, or all epochs if the run is longer.

        Parameters
        ----------
        train_set
            Training images and labels.
        validation
            Validation set, evaluated after every epoch, or a fraction of ``train_set`` to hold out. Default: none.
        epochs
            Number of further epochs. Default: the remaining epochs of the recipe.
        """
        more = None if epochs is None else whole_number("epochs", epochs)
        sets = split_off(self.model, train_set, validation, self.recipe.seed, self.recipe.augment)
        check_last_batch(self.model, len(sets[0]), self.recipe.batch_size)
        self._callbacks.check(sets[1] is not None)
        lock: AbstractContextManager[object] = self._checkpoint.lock() if self._checkpoint else nullcontext()
        state = RunState(self.model, self.recipe, sets, self._callbacks) if self._checkpoint else None
        snapshot = self._snapshot_to_resume(state)
        done = snapshot.epoch if snapshot else len(self.history)
        last = self.recipe.epochs if more is None else done + more
        plan = plan_of(self.recipe, max(last, self.recipe.epochs), len(sets[0]))
        self._check_schedule(plan, sets[1])
        averaging.check(self.recipe.averaging, plan.epochs)
        if self._checkpoint is not None:  # not before, because errors above name the path as it was given
            self._checkpoint = self._checkpoint.absolute()
        return self._train(_Session(*sets, plan, last, state, snapshot, lock))

    def _snapshot_to_resume(self, state: RunState | None) -> Snapshot | None:
        if self._checkpoint is None or state is None or len(self.history) > 0:
            return None
        self._checkpoint.prepare(resume=self._resume)
        snapshot = self._checkpoint.latest() if self._resume else None
        if snapshot is not None:
            state.check(snapshot, self._checkpoint.folder, self._native)
        return snapshot

    def _check_schedule(self, plan: SchedulePlan, validation: ImageSet | None) -> None:
        schedule = self.recipe.schedule
        if schedule is None:
            return
        schedule.check(plan)
        check_monitor(schedule, schedule.monitored, validation is not None)

    def _train(self, session: _Session) -> Iterator[EpochRecord]:
        with session.lock:
            yield from self._train_locked(session)

    def _train_locked(self, session: _Session) -> Iterator[EpochRecord]:
        model, history = self.model, self.history
        was_training, attributes = model.training, {name: getattr(model, name) for name in _SET_AT_START}
        self._stopping = self.failed = False
        try:
            self._begin(session)
            self._callbacks.start(self)
            attributes = {}
            with ProgressBar(
                max(0, session.last - len(history)) * len(session.train_set), enabled=self._progress
            ) as bar:
                done, saved = 0, True
                while len(history) < session.last and not self._stopping:
                    record = self._one_epoch(session, bar, done)
                    done += len(session.train_set)
                    try:
                        self._callbacks.call("on_epoch", record)
                    finally:
                        saved = self._save(session)
                    try:
                        yield record
                    except GeneratorExit:  # a `break` in the loop over the epochs
                        self._stopping = True
                        saved = saved or self._save(session)
                        raise
                if not saved:  # `stop` was called after the epoch's record was yielded
                    self._save(session)
            self._native.finish(session.train_set)
        except BaseException as error:
            self.failed = not isinstance(error, GeneratorExit)
            raise
        finally:
            for name, value in attributes.items():  # of a run that could not start
                setattr(model, name, value)
            model.train(was_training)
            self._callbacks.end(history)

    def _begin(self, session: _Session) -> None:
        model = self.model
        model.history, model.card = self.history, None
        if model.normalization is None:
            model.normalization = Normalization.of(session.train_set)
        model.class_names = names_after_training(model, session.train_set.classes)
        self._native.begin(session.plan, epochs=len(self.history), steps=len(self.history.step_losses))
        if self._checkpoint and session.state and session.snapshot:
            path = self._checkpoint.path(session.snapshot.epoch)
            session.state.restore(session.snapshot, path, self.history, self._native)

    def _save(self, session: _Session) -> bool:
        """Save a checkpoint if the run has a directory for them and this epoch is due.

        Return whether nothing remains to be saved.
        """
        if not (self._checkpoint and session.state):
            return True
        number = len(self.history)
        due = number == session.last or self._stopping or number % self._checkpoint.every == 0
        if due:
            self._checkpoint.write(session.state.snapshot(self.history, self._native), self.history.epochs)
        return due

    def _one_epoch(self, session: _Session, bar: ProgressBar, done: int) -> EpochRecord:
        history = self.history
        number, first_step = len(history) + 1, len(history.step_losses)
        title = f"epoch {number}/{session.last}"
        before = _validation_texts(history.epochs[-1]) if history.epochs else {}  # shown until the next validation

        def on_progress(state: tuple[int, int, float, int]) -> None:
            images, _, loss_sum, correct = state
            mean, accuracy = f"{loss_sum / images:.4f}", f"{100 * correct / images:.2f} %"
            bar.show(done + images, title=title, loss=mean, acc=accuracy, **before)

        rates = self._rates(session.plan)
        every = self._callbacks.every
        result = self._native.next_epoch(
            session.train_set,
            rates,
            on_progress=on_progress if self._progress else None,
            on_step=self._callbacks.step_function(number, first_step, rates.learning_rates) if every else None,
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

    def _rates(self, plan: SchedulePlan) -> Rates:
        if self.recipe.schedule is None:
            return Rates([plan.learning_rate] * plan.steps)
        rates = self.recipe.schedule.rates(plan, len(self.history), self.history.epochs)
        return checked_rates(self.recipe.schedule, rates, plan.steps)


# Attributes of a model that a run sets before its first epoch.
_SET_AT_START = ("history", "card", "normalization", "class_names")


@dataclass(frozen=True)
class _Session:
    """Checked arguments of one call of `Trainer.epochs`."""

    train_set: ImageSet
    validation: ImageSet | None
    plan: SchedulePlan
    last: int  # number of the last epoch to train
    state: RunState | None  # None without checkpoints
    snapshot: Snapshot | None  # to resume from
    lock: AbstractContextManager[object]  # of the checkpoint directory


def _checked_checkpoint(checkpoint: object, resume: object) -> tuple[Checkpoint | None, bool]:
    resume = flag("resume", resume)
    if isinstance(checkpoint, str | os.PathLike):
        checkpoint = Checkpoint(os.fspath(checkpoint))
    if checkpoint is None and resume:
        raise ValueError('resume=True requires the checkpoint directory of the run: checkpoint="run/"')
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise TypeError(f"checkpoint must be the path of a directory or a mnistcnn.Checkpoint, got {checkpoint!r}")
    return checkpoint, resume


def _postfix(record: EpochRecord) -> dict[str, str]:
    numbers = {"loss": f"{record.train_loss:.4f}", "acc": f"{100 * record.train_accuracy:.2f} %"}
    return numbers | _validation_texts(record)


def _validation_texts(record: EpochRecord) -> dict[str, str]:
    return {} if record.validation_accuracy is None else {"val": f"{100 * record.validation_accuracy:.2f} %"}
