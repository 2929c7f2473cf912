"""Losses that training minimises, and methods that mix the images and labels of a batch.

The loss of a batch is the mean over its images, as in PyTorch. The loss of an epoch is the mean of the losses of its
batches, weighted by the number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mnistcnn._internal.checks import choice, finite_number, numbers, positive_number, zero_or_positive
from mnistcnn._internal.values import Value

if TYPE_CHECKING:
    from mnistcnn._internal.native import core
    from mnistcnn.nn.model import Model

NAMES = ("auto", "nll", "cross_entropy")


class HasModels(Protocol):
    """Object with several trained models, such as `mnistcnn.Ensemble` or the result of `mnistcnn.run_trials`."""

    @property
    def models(self) -> Sequence[Model]: ...


class Loss(Value, abstract=True, native=True):
    """Base class of the losses."""


class Mixing(Value, abstract=True, native=True):
    """Base class of the methods that mix the images and labels of a batch."""

    alpha: float

    def __post_init__(self) -> None:
        self._set("alpha", positive_number("alpha", self.alpha, minimum=1e-6, maximum=1e6))


@dataclass(frozen=True, kw_only=True, repr=False)
class _LabelLoss(Loss, abstract=True):
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self._set("label_smoothing", finite_number("label_smoothing", self.label_smoothing, maximum=1))
        if self.class_weights is not None:
            self._set("class_weights", _weights(self.class_weights))


class NLL(_LabelLoss):
    """Negative log-likelihood for networks that end in log-probabilities.

    Equivalent to ``torch.nn.NLLLoss``, with the label smoothing of ``torch.nn.CrossEntropyLoss``.

    Parameters
    ----------
    label_smoothing
        Fraction of the target probability that is spread evenly over all classes, as in PyTorch.
    class_weights
        Weight of each class; the loss of a batch is then the weighted mean, as in PyTorch. Default: None, all equal.
        The losses of a validation set and of a test are computed without weights and without label smoothing.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.NLL(label_smoothing=0.1)
    NLL(label_smoothing=0.1)
    """


class CrossEntropy(_LabelLoss):
    """Cross-entropy for networks that end in logits; equivalent to ``torch.nn.CrossEntropyLoss``.

    Parameters
    ----------
    label_smoothing
        Fraction of the target probability that is spread evenly over all classes, as in PyTorch.
    class_weights
        Weight of each class; the loss of a batch is then the weighted mean, as in PyTorch. Default: None, all equal.
        The losses of a validation set and of a test are computed without weights and without label smoothing.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.CrossEntropy(class_weights=[1.0] * 9 + [2.0]).class_weights[-1]
    2.0
    """


@dataclass(frozen=True, repr=False)
class Distillation(Loss):
    """Knowledge distillation (Hinton, Vinyals and Dean, 2015): learn the labels and the outputs of a trained teacher.

    The loss is ``weight * temperature**2 * KL(teacher || student) + (1 - weight) * label_loss``. Teacher and student
    get the same images, each with its own normalization.

    Parameters
    ----------
    teacher
        A `Model`, or an object with a list ``.models``, whose softened probabilities are averaged.
    temperature
        Divisor of the outputs of teacher and student before the softmax, 0.001 to 1,000,000.
    weight
        Weight of the teacher's term, between 0 and 1.
    label_smoothing
        Label smoothing of the loss of the labels.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.Distillation(mnistcnn.create_model("recognition_cnn"), temperature=2.0)
    Distillation(teacher='recognition_cnn', temperature=2.0)
    """

    teacher: Model | HasModels
    temperature: float = 4.0
    weight: float = 0.5
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        self._set("temperature", positive_number("temperature", self.temperature, minimum=1e-3, maximum=1e6))
        self._set("weight", finite_number("weight", self.weight, maximum=1))
        self._set("label_smoothing", finite_number("label_smoothing", self.label_smoothing, maximum=1))

    def __repr__(self) -> str:
        """Show the names of the teachers instead of all of their layers."""
        names = [_name(each) for each in _models(self.teacher)]
        rest = super().__repr__().rpartition(f"teacher={self.teacher!r}")[2]
        return f"Distillation(teacher={names[0] if len(names) == 1 else names!r}{rest}"

    def _compared(self, name: str) -> Any:
        """Return a digest of networks and weights for teachers."""
        if name != "teacher":
            return super()._compared(name)
        return ", ".join(map(_fingerprint, _models(self.teacher)))


@dataclass(frozen=True, repr=False)
class Mixup(Mixing):
    """Mixup (Zhang et al., 2018): replace each image by a weighted sum of itself and another image of the batch.

    The losses of the two labels get the same weights, which are drawn from Beta(alpha, alpha) once per batch. For the
    training accuracy, the label with the larger weight is the correct one.

    Parameters
    ----------
    alpha
        Parameter of the Beta distribution, 1e-6 to 1e6; larger values mix more strongly.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.Mixup(0.4)
    Mixup(alpha=0.4)
    """

    alpha: float = 0.2


@dataclass(frozen=True, repr=False)
class CutMix(Mixing):
    """CutMix (Yun et al., 2019): paste a box of another image of the batch into each image.

    The losses of the two labels are weighted by area. The area is drawn from Beta(alpha, alpha) once per batch.

    Parameters
    ----------
    alpha
        Parameter of the Beta distribution of the area that is kept, 1e-6 to 1e6.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.CutMix(alpha=0.5)
    CutMix(alpha=0.5)
    """

    alpha: float = 1.0


# ---- conversion for the core, with checks against the model before training starts


def fitting_kind(model: Model, loss: str = "auto") -> str:
    """Return the loss of the labels for the outputs of a model: "nll" or "cross_entropy".

    Raise ValueError if ``loss`` does not fit the outputs.
    """
    choice("loss", loss, NAMES)
    if loss == "nll" and model.outputs != "log_probabilities":
        raise ValueError(
            f"loss='nll' requires log-probabilities, but model '{model.name}' returns {model.outputs}; use loss='auto'"
        )
    if loss != "auto":
        return loss
    if model.outputs == "probabilities":
        raise ValueError(
            f"model '{model.name}' ends in Softmax; end it with LogSoftmax() or with logits, or pass "
            "loss='cross_entropy' to treat the probabilities as logits"
        )
    return "nll" if model.outputs == "log_probabilities" else "cross_entropy"


def native(loss: str | Loss, model: Model, label_smoothing: float = 0.0, threads: int | None = None) -> core.Loss:
    """Return the loss for ``core.TrainingRun``.

    ``label_smoothing`` applies to names and to losses without label smoothing of their own, ``threads`` to teachers
    without a number of threads of their own.
    """
    from mnistcnn._internal.native import core

    smoothing = finite_number("label_smoothing", label_smoothing, maximum=1)
    own = getattr(loss, "label_smoothing", 0.0)
    if own and smoothing and own != smoothing:
        raise ValueError(f"label_smoothing={smoothing} contradicts {loss!r}; pass only one of them")
    weights = getattr(loss, "class_weights", None)
    if weights is not None and len(weights) != model.num_classes:
        raise ValueError(
            f"class_weights must have one number per class, got {len(weights)} numbers for the {model.num_classes} "
            f"classes of model '{model.name}'"
        )
    taught = loss if isinstance(loss, Distillation) else None
    return core.Loss(
        _kind(loss, model),
        label_smoothing=own or smoothing,
        class_weights=list(weights or ()),
        teachers=_teachers(taught, model, threads or model.threads or 0) if taught else [],
        temperature=taught.temperature if taught else 1.0,
        teachers_weight=taught.weight if taught else 0.0,
    )


def native_mixing(mixing: Mixing | None, model: Model, batch_size: int) -> core.Mixing | None:
    """Return the mixing for ``core.TrainingRun``."""
    from mnistcnn._internal.native import core

    if mixing is None:
        return None
    if not isinstance(mixing, Mixup | CutMix):
        raise TypeError(f"mixing must be a Mixup, a CutMix or None, got {mixing!r}")
    if model.num_classes < 2:
        raise ValueError(f"{mixing!r} requires at least 2 classes, but model '{model.name}' has 1")
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2 with mixing={mixing!r}, got {batch_size}")
    return core.Mixing("mixup" if isinstance(mixing, Mixup) else "cutmix", alpha=mixing.alpha)


def _kind(loss: str | Loss, model: Model) -> str:
    if isinstance(loss, str):
        return fitting_kind(model, loss)
    if isinstance(loss, Distillation):
        return fitting_kind(model)
    if isinstance(loss, NLL):
        return fitting_kind(model, "nll")
    if isinstance(loss, CrossEntropy):
        return fitting_kind(model, "cross_entropy")
    names = ", ".join(map(repr, NAMES))
    raise TypeError(
        f"loss must be one of {names}, or an mnistcnn.losses.NLL, CrossEntropy or Distillation, got {loss!r}"
    )


def _models(teacher: Any) -> Sequence[Any]:
    models = getattr(teacher, "models", None)
    return [teacher] if models is None else list(models)


def _name(teacher: Any) -> str:
    return teacher if isinstance(teacher, str) else getattr(teacher, "name", type(teacher).__name__)


def _fingerprint(teacher: Any) -> str:
    from mnistcnn.nn.model import Model
    from mnistcnn.nn.save import content_digest

    return f"{_name(teacher)} ({content_digest(teacher)[:16]})" if isinstance(teacher, Model) else _name(teacher)


def _teachers(loss: Distillation, student: Model, threads: int) -> list[core.ModelView]:
    from mnistcnn.nn.model import Model

    models = _models(loss.teacher)
    if not models or not all(isinstance(each, Model) for each in models):
        raise TypeError(f"teacher must be an mnistcnn.Model or have a list .models, got {type(loss.teacher).__name__}")
    return [_teacher(each, student, threads) for each in models]


def _teacher(teacher: Model, student: Model, threads: int) -> core.ModelView:
    """Return the teacher with an engine of its own, so that other threads can use the model meanwhile."""
    from mnistcnn._internal.native import core
    from mnistcnn.nn.engine_choice import choose_engine

    if teacher is student:
        raise ValueError(f"model '{student.name}' cannot be its own teacher; pass a trained copy: copy.deepcopy(model)")
    for what in ("input_shape", "num_classes", "device"):
        its, wanted = getattr(teacher, what), getattr(student, what)
        if its != wanted:
            raise ValueError(f"teacher '{teacher.name}' has {what} {its}, but student '{student.name}' has {wanted}")
    chosen = choose_engine(teacher._network, teacher.engine, teacher.device)
    engine = core.Engine(teacher._network, chosen, teacher.threads or threads)
    pixels = teacher.pixel_normalization
    return core.ModelView(teacher.tensors, engine, scale=pixels.scale, shift=pixels.shift)


def _weights(values: object) -> tuple[float, ...]:
    weights = numbers("class_weights", values)
    if any(weight < 0 for weight in weights) or sum(weights) == 0:
        raise ValueError(f"class_weights must be at least 0, and not all 0, got {weights!r}")
    return tuple(zero_or_positive("class_weights", weight) for weight in weights)
