"""Training, testing and predicting: checks and words here, every batch in the core."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch.autograd.graph import increment_version

from mnistcnn import losses, optimizers
from mnistcnn._native import core
from mnistcnn.arrays import as_tensor
from mnistcnn.checks import finite_number, seed_number, whole_number
from mnistcnn.history import EpochRecord, History
from mnistcnn.image_set import ImageSet
from mnistcnn.normalization import Normalization
from mnistcnn.optimizers import OPTIMIZERS, SGD, Optimizer
from mnistcnn.progress import ProgressBar
from mnistcnn.results import TestResult

if TYPE_CHECKING:
    from mnistcnn.model import Model

LossName = Literal["auto", "nll", "cross_entropy"]
_EVALUATION_BATCH = 512


class Callback(Protocol):
    """What may be told of the end of every epoch."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Called after each epoch; an exception ends the training and comes out unchanged."""


def train(
    model: Model,
    train_set: ImageSet,
    *,
    validation: ImageSet | None = None,
    epochs: int = 15,
    batch_size: int = 128,
    optimizer: Optimizer | None = None,
    loss: LossName = "auto",
    label_smoothing: float = 0.0,
    seed: int = 0,
    shuffle: bool = True,
    engine: str | None = None,
    threads: int | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> History:
    """Trains a model and says how it went.

    Parameters
    ----------
    model
        Trained in place. Without a normalization of its own it takes the training set's mean and deviation.
    train_set, validation
        The validation set is looked at after every epoch and changes nothing.
    epochs, batch_size
        The last batch of an epoch may be smaller; it is used too.
    optimizer
        By default ``SGD(lr=0.01, momentum=0.9)``.
    loss
        "auto" fits the model's outputs: "nll" for log-probabilities, "cross_entropy" for logits.
    label_smoothing
        The share of the target that is spread evenly over all classes.
    seed
        Decides the order of the images and the dropout masks. The same seed gives the same bits.
    shuffle
        Whether every epoch has an order of its own.
    engine, threads
        Override ``model.engine`` and ``model.threads`` for this run.
    device
        "auto" trains where the model lies; "cpu" or "cuda" moves it there first.
    callbacks
        Objects with a method ``on_epoch(record)``.
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
    trainer = Trainer(
        model,
        batch_size=batch_size,
        optimizer=optimizer,
        loss=loss,
        label_smoothing=label_smoothing,
        seed=seed,
        shuffle=shuffle,
        engine=engine,
        threads=threads,
        device=device,
        progress=progress,
    )
    if callable(getattr(callbacks, "on_epoch", None)):
        raise TypeError("callbacks must be a list: callbacks=[...]")
    listeners = list(callbacks)
    for listener in listeners:
        if not callable(getattr(listener, "on_epoch", None)):
            raise TypeError(f"a callback needs a method on_epoch(record), {listener!r} has none")
    for record in trainer.epochs(train_set, validation, epochs=epochs):
        for listener in listeners:
            listener.on_epoch(record)
    return trainer.history


class Trainer:
    """A training run that is driven epoch by epoch; `train` drives it for you.

    Takes what `train` takes, except for the data, the number of epochs and the callbacks.

    Examples
    --------
    >>> import mnistcnn
    >>> data = mnistcnn.load("digits")[1][:200]
    >>> trainer = mnistcnn.Trainer(mnistcnn.create_model("budget_model3"), progress=False)
    >>> for record in trainer.epochs(data, validation=data, epochs=2):
    ...     print(record.epoch, record.train_loss > 0)
    1 True
    2 True
    """

    def __init__(
        self,
        model: Model,
        *,
        batch_size: int = 128,
        optimizer: Optimizer | None = None,
        loss: LossName = "auto",
        label_smoothing: float = 0.0,
        seed: int = 0,
        shuffle: bool = True,
        engine: str | None = None,
        threads: int | None = None,
        device: str | torch.device = "auto",
        progress: bool = True,
    ) -> None:
        _check_model(model)
        self.model = model
        self.loss = fitting_loss(model, loss)
        self.batch_size = whole_number("batch_size", batch_size)
        self._optimizer = _checked_optimizer(optimizer)
        self.seed = seed_number(seed)
        self.history = History(model.name, seed)
        self._label_smoothing = finite_number("label_smoothing", label_smoothing, most=1)
        self._shuffle = shuffle
        self._engine, self._threads, self._progress = engine, threads, progress
        _move(model, device)
        model.native_engine(engine, threads)  # a wrong choice is told before any work
        self._native: core.Optimizer | None = None

    @property
    def optimizer(self) -> Optimizer:
        """Chosen once, for the whole run."""
        return self._optimizer

    def epochs(
        self, train_set: ImageSet, validation: ImageSet | None = None, *, epochs: int = 15
    ) -> Iterator[EpochRecord]:
        """Trains, and yields the record of every epoch. Leaving the loop ends the run."""
        whole_number("epochs", epochs)
        _check_set(self.model, train_set, "train_set")
        if validation is not None:
            _check_set(self.model, validation, "validation")
        _check_last_batch(self.model, len(train_set), self.batch_size)
        if self.model.normalization is None:
            self.model.normalization = _measured(train_set)
        return self._run(train_set, validation, epochs)

    def _run(self, train_set: ImageSet, validation: ImageSet | None, epochs: int) -> Iterator[EpochRecord]:
        self.model.history = self.history
        was_training = self.model.training
        try:
            with ProgressBar(epochs * len(train_set), enabled=self._progress) as bar:
                for index in range(epochs):
                    done = index * len(train_set)
                    title = f"epoch {index + 1}/{epochs}"
                    yield self._one_epoch(train_set, validation, bar, done, title)
        finally:
            self.model.train(was_training)

    def _one_epoch(
        self, train_set: ImageSet, validation: ImageSet | None, bar: ProgressBar, done: int, title: str
    ) -> EpochRecord:
        model, history = self.model, self.history
        pixels = model.pixel_normalization

        def on_progress(state: tuple[int, int, float, int]) -> None:
            images, _, loss_sum, correct = state
            bar.show(
                done + images,
                title=title,
                loss=f"{loss_sum / images:.4f}",
                accuracy=f"{100 * correct / images:.2f} %",
            )

        increment_version(tuple(model.parameters()))  # autograd then refuses the backward of an older forward
        result = self._train_natively(
            train_set,
            scale=pixels.scale,
            shift=pixels.shift,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=len(history),
            first_step=len(history.step_losses),
            shuffle=self._shuffle,
            learning_rates=[self.optimizer.lr] * -(-len(train_set) // self.batch_size),
            loss=losses.native(self.loss, model, self._label_smoothing),
            on_progress=on_progress if self._progress else None,
        )
        outcome = None if validation is None else self._evaluate(validation)
        record = EpochRecord(
            epoch=len(history) + 1,
            train_loss=result["loss_sum"] / result["count"],
            train_accuracy=result["correct"] / result["count"],
            validation_loss=None if outcome is None else outcome["loss_sum"] / len(outcome["predictions"]),
            validation_accuracy=None if outcome is None else outcome["correct"] / len(outcome["predictions"]),
            learning_rate=self.optimizer.lr,
            seconds=result["seconds"],
        )
        history.epochs.append(record)
        history.step_losses.extend(result["step_losses"].tolist())
        bar.show(done + len(train_set), title=title, **_postfix(record))
        return record

    def _evaluate(self, validation: ImageSet) -> dict[str, Any]:
        outputs = _outputs(self.model, validation.images, self._engine, self._threads, None)
        return _scores(self.model, outputs, validation)

    def _train_natively(self, train_set: ImageSet, **options: Any) -> dict[str, Any]:
        model = self.model
        with model._lock:
            engine = model.native_engine(self._engine, self._threads)
            return core.train_epoch(model._network, engine, self._native_optimizer(), *_tensors(train_set), **options)

    def _native_optimizer(self) -> core.Optimizer:
        trainable = self.model.trainable_ranges()
        if not trainable:
            raise ValueError(f"every parameter of model '{self.model.name}' is frozen: there is nothing to train")
        if self._native is None:
            network = self.model._network
            undecayed = optimizers.undecayed_ranges(self.optimizer, network)
            self._native = core.Optimizer(
                network, optimizers.settings(self.optimizer), trainable=trainable, undecayed=undecayed
            )
        self._native.set_trainable(trainable)
        return self._native


def test(
    model: Model,
    test_set: ImageSet,
    *,
    batch_size: int = _EVALUATION_BATCH,
    engine: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> TestResult:
    """Loss, accuracy, confusion matrix and every single answer of a model on a labelled set.

    The loss is the mean negative log-likelihood of the labels. The model is used in evaluation mode and not changed.
    """
    _check_model(model)
    _check_set(model, test_set, "test_set")
    with ProgressBar(len(test_set), enabled=progress) as bar:
        outputs = _outputs(model, test_set.images, engine, threads, bar, whole_number("batch_size", batch_size))
    scores = _scores(model, outputs, test_set)
    count = len(test_set)
    return TestResult(
        loss=scores["loss_sum"] / count,
        accuracy=scores["correct"] / count,
        correct=scores["correct"],
        count=count,
        confusion=scores["confusion"],
        predictions=scores["predictions"],
        labels=np.asarray(test_set.labels),
        probabilities=_probabilities(model, outputs).numpy(),
        classes=_class_names(model, test_set),
    )


def predict(
    model: Model,
    images: ImageSet | np.ndarray[Any, Any] | torch.Tensor,
    *,
    batch_size: int = _EVALUATION_BATCH,
    engine: str | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The probability of every class for every image, f32 [N, classes].

    ``images`` are uint8 (normalised as in training) or floats (used as they are), [N, C, H, W]; one image [C, H, W],
    and [N, H, W] or [H, W] for one channel, are understood too. ``predict(...).argmax(1)`` gives the classes.
    """
    _check_model(model)
    _ = model.num_classes  # refuses outputs that are no classes
    batch = _as_batch(model, images.images if isinstance(images, ImageSet) else images)
    whole_number("batch_size", batch_size)
    if batch.dtype != torch.uint8:
        return _probabilities(model, _float_outputs(model, batch, batch_size, engine, threads)).numpy()
    with ProgressBar(len(batch), enabled=progress) as bar:
        outputs = _outputs(model, batch, engine, threads, bar, batch_size)
    return _probabilities(model, outputs).numpy()


def fitting_loss(model: Model, loss: str = "auto") -> str:
    """The loss that fits what a model's outputs mean."""
    if loss not in ("auto", "nll", "cross_entropy"):
        raise ValueError(f"loss must be 'auto', 'nll' or 'cross_entropy', got {loss!r}")
    if loss == "nll" and model.outputs != "log_probabilities":
        raise ValueError(
            f"loss='nll' needs log-probabilities, but model '{model.name}' gives {model.outputs}; use 'auto'"
        )
    if loss != "auto":
        return loss
    if model.outputs == "probabilities":
        raise ValueError(
            f"model '{model.name}' ends in Softmax; end it with LogSoftmax() or with logits, or say "
            "loss='cross_entropy' to treat the probabilities as logits, as some scripts do"
        )
    return "nll" if model.outputs == "log_probabilities" else "cross_entropy"


# ---- on the way to the core


def _outputs(
    model: Model,
    images: np.ndarray[Any, Any] | torch.Tensor,
    engine: str | None,
    threads: int | None,
    bar: ProgressBar | None,
    batch_size: int = _EVALUATION_BATCH,
) -> torch.Tensor:
    """uint8 images -> f32 [N, outputs] on the CPU."""
    pixels = model.pixel_normalization
    with model._lock:
        outputs: torch.Tensor = core.predict(
            model._network,
            model.native_engine(engine, threads),
            _tensor(images),
            scale=pixels.scale,
            shift=pixels.shift,
            batch_size=batch_size,
            on_progress=None if bar is None else bar.show,
        )
        model._forwards += 1  # the engine's record of an earlier forward is gone
    if bar is not None:
        bar.show(len(images))
    return outputs


def _float_outputs(
    model: Model, images: torch.Tensor, batch_size: int, engine: str | None, threads: int | None
) -> torch.Tensor:
    with model._lock:
        native = model.native_engine(engine, threads)
        parts = [
            native.forward(model.prepare(part), training=False, seed=0, keep=False, keep_images=False).flatten(1)
            for part in torch.split(images, batch_size)
        ]
        model._forwards += 1
    return torch.cat(parts).cpu()


def _scores(model: Model, outputs: torch.Tensor, labelled: ImageSet) -> dict[str, Any]:
    if model.outputs == "probabilities":
        outputs = outputs.clamp_min(torch.finfo(torch.float32).tiny).log()
    normalised = model.outputs != "logits"
    scores: dict[str, Any] = core.score(outputs, _tensor(labelled.labels), normalised=normalised)
    return scores


def _probabilities(model: Model, outputs: torch.Tensor) -> torch.Tensor:
    if model.outputs == "probabilities":
        return outputs
    return outputs.exp() if model.outputs == "log_probabilities" else outputs.softmax(1)


def _tensors(labelled: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    return _tensor(labelled.images), _tensor(labelled.labels)


def _tensor(array: np.ndarray[Any, Any] | torch.Tensor) -> torch.Tensor:
    """As the core takes it."""
    return as_tensor(array).cpu().contiguous()


def _measured(train_set: ImageSet) -> Normalization:
    mean, std = train_set.mean_std()
    return Normalization(mean, tuple(each if each > 0 else 1.0 for each in std))


def _as_batch(model: Model, images: np.ndarray[Any, Any] | torch.Tensor) -> torch.Tensor:
    batch = as_tensor(images)
    if batch.dim() in (2, 3) and model.input_shape[0] == 1 and tuple(batch.shape[-2:]) == model.input_shape[1:]:
        batch = batch.reshape(-1, *model.input_shape)
    if tuple(batch.shape) == model.input_shape:
        batch = batch[None]
    if batch.dim() != 4 or tuple(batch.shape[1:]) != model.input_shape or len(batch) == 0:
        expected = ", ".join(map(str, model.input_shape))
        raise ValueError(f"model '{model.name}' takes images [N, {expected}], got {list(batch.shape)}")
    if batch.dtype != torch.uint8 and not batch.is_floating_point():
        raise TypeError(f"images must be uint8 or floating point, got {batch.dtype}")
    return batch


# ---- checks, once, at the entrance


def _check_model(model: object) -> None:
    from mnistcnn.model import Model

    if not isinstance(model, Model):
        raise TypeError(
            f"model must be an mnistcnn.Model, such as mnistcnn.create_model gives, got {type(model).__name__}"
        )


def _check_set(model: Model, images: object, what: str) -> None:
    if not isinstance(images, ImageSet):
        raise TypeError(
            f"{what} must be an mnistcnn.ImageSet, got {type(images).__name__}; "
            "mnistcnn.ImageSet.from_arrays(images, labels) makes one"
        )
    if len(images) == 0:
        raise ValueError(f"{what} is empty")
    if tuple(images.shape) != model.input_shape:
        raise ValueError(f"{what} has images {tuple(images.shape)}, but model '{model.name}' takes {model.input_shape}")
    if images.num_classes > model.num_classes:
        raise ValueError(
            f"{what} has {images.num_classes} classes, but model '{model.name}' tells only {model.num_classes} apart"
        )


def _checked_optimizer(optimizer: object) -> Optimizer:
    if optimizer is None:
        return SGD(lr=0.01, momentum=0.9)
    if isinstance(optimizer, OPTIMIZERS):
        return optimizer
    hint = "; torch.optim's work in a loop of your own" if isinstance(optimizer, torch.optim.Optimizer) else ""
    kind = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
    raise TypeError(f"optimizer must be one of mnistcnn's, such as mnistcnn.SGD(lr=0.01), got {kind}{hint}")


def _check_last_batch(model: Model, count: int, batch_size: int) -> None:
    """A batch that is too small for a batch norm is refused now, not at the end of the first epoch."""
    last = count % batch_size or batch_size
    try:
        model._network.check_batch(images=last, training=True)
    except ValueError as error:
        raise ValueError(f"{count} images in batches of {batch_size} end with a batch of {last}: {error}") from None


def _move(model: Model, device: str | torch.device) -> None:
    if device == "auto" or torch.device(device) == model.device:
        return
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(device)!r}, but torch {torch.__version__} has no CUDA here; use 'cpu' or 'auto'")
    model.to(device)


def _class_names(model: Model, labelled: ImageSet) -> tuple[str, ...]:
    """The set's names; outputs it has no name for are numbered."""
    extra = range(len(labelled.classes), model.num_classes)
    return (*labelled.classes, *(str(number) for number in extra))


def _postfix(record: EpochRecord) -> dict[str, str]:
    numbers = {"loss": f"{record.train_loss:.4f}", "accuracy": f"{100 * record.train_accuracy:.2f} %"}
    if record.validation_accuracy is not None:
        numbers["validation"] = f"{100 * record.validation_accuracy:.2f} %"
    return numbers
