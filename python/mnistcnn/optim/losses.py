"""Losses and mixtures as values: what training makes small, and how images and labels are mixed.

The loss of a batch is PyTorch's mean; what is reported for an epoch is the sum of these means times their images,
divided by all images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import choice, finite_number, numbers, positive_number
from mnistcnn._internal.values import Value

if TYPE_CHECKING:
    from mnistcnn._internal.native import core
    from mnistcnn.nn.model import Model

NAMES = ("auto", "nll", "cross_entropy")


class Loss(Value, abstract=True):
    """Base class of the losses."""


class Mixing(Value, abstract=True):
    """Base class of the methods that mix the images and labels of a batch."""

    alpha: float


@dataclass(frozen=True, kw_only=True, repr=False)
class _LabelLoss(Loss, abstract=True):
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        self._set("label_smoothing", finite_number("label_smoothing", self.label_smoothing, most=1))
        if self.class_weights is not None:
            self._set("class_weights", _weights(self.class_weights))


class NLL(_LabelLoss):
    """The negative log-likelihood of the labels, for networks that end in log-probabilities.

    As ``torch.nn.functional.nll_loss``, with the label smoothing of ``cross_entropy``.

    Parameters
    ----------
    label_smoothing
        The share of the target that is spread evenly over all classes.
    class_weights
        One per class. The mean over a batch is then the weighted mean, as PyTorch's.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.NLL(label_smoothing=0.1)
    NLL(label_smoothing=0.1)
    """


class CrossEntropy(_LabelLoss):
    """The cross-entropy of logits and labels, as ``torch.nn.functional.cross_entropy``.

    Parameters
    ----------
    label_smoothing
        The share of the target that is spread evenly over all classes.
    class_weights
        One per class. The mean over a batch is then the weighted mean, as PyTorch's.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.CrossEntropy(class_weights=[1.0] * 9 + [2.0]).class_weights[-1]
    2.0
    """


@dataclass(frozen=True, repr=False)
class Distillation(Loss):
    """A student learns the labels and, softened by a temperature, what a trained teacher says.

    The loss is ``weight * temperature**2 * KL(teacher || student) + (1 - weight) * the loss of the labels`` (Hinton,
    Vinyals and Dean, 2015). The teacher sees the images that the student sees, normalised in its own way.

    Parameters
    ----------
    teacher
        A `Model`, or anything with ``.models``, whose softened probabilities are averaged.
    temperature
        Divides the outputs of both before the softmax.
    weight
        The share of the teacher.
    label_smoothing
        Of the loss of the labels.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.Distillation(mnistcnn.create_model("recognition_cnn"), temperature=2.0)
    Distillation(teacher='recognition_cnn', temperature=2.0)
    """

    teacher: Any
    temperature: float = 4.0
    weight: float = 0.5
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        self._set("temperature", positive_number("temperature", self.temperature))
        self._set("weight", finite_number("weight", self.weight, most=1))
        self._set("label_smoothing", finite_number("label_smoothing", self.label_smoothing, most=1))

    def __repr__(self) -> str:
        """With the teachers' names instead of all of their layers."""
        names = [_name(each) for each in _models(self.teacher)]
        rest = super().__repr__().rpartition(f"teacher={self.teacher!r}")[2]
        return f"Distillation(teacher={names[0] if len(names) == 1 else names!r}{rest}"

    def _compared(self, name: str) -> Any:
        """Teachers are the same if their networks and weights are."""
        if name != "teacher":
            return super()._compared(name)
        return ", ".join(map(_fingerprint, _models(self.teacher)))


@dataclass(frozen=True, repr=False)
class Mixup(Mixing):
    """Every image of a batch becomes a weighted sum of itself and another one, and so do their losses.

    The share is drawn from Beta(alpha, alpha) once per batch (Zhang et al., 2018). An answer counts as correct when it
    is the label with the larger share.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.Mixup(0.4)
    Mixup(alpha=0.4)
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        self._set("alpha", positive_number("alpha", self.alpha))


@dataclass(frozen=True, repr=False)
class CutMix(Mixing):
    """A box of another image of the batch is pasted into every image; the labels share by area (Yun et al., 2019).

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.losses.CutMix(alpha=0.5)
    CutMix(alpha=0.5)
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        self._set("alpha", positive_number("alpha", self.alpha))


# ---- on the way to the core: what doesn't fit the model is told before any work


def fitting_kind(model: Model, loss: str = "auto") -> str:
    """The loss of the labels that fits what a model's outputs mean: "nll" or "cross_entropy"."""
    choice("loss", loss, NAMES)
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


def native(loss: str | Loss, model: Model, label_smoothing: float = 0.0) -> core.Loss:
    """What ``core.TrainingRun`` takes; a name, or a value without a smoothing of its own, gets ``label_smoothing``."""
    from mnistcnn._internal.native import core

    smoothing = finite_number("label_smoothing", label_smoothing, most=1)
    own = getattr(loss, "label_smoothing", 0.0)
    if own and smoothing and own != smoothing:
        raise ValueError(f"label_smoothing={smoothing} contradicts {loss!r}; give only one of them")
    weights = getattr(loss, "class_weights", None)
    if weights is not None and len(weights) != model.num_classes:
        raise ValueError(
            f"class_weights has {len(weights)} numbers, but model '{model.name}' tells {model.num_classes} classes "
            "apart; give one per class"
        )
    taught = loss if isinstance(loss, Distillation) else None
    return core.Loss(
        _kind(loss, model),
        label_smoothing=own or smoothing,
        class_weights=list(weights or ()),
        teachers=_teachers(taught, model) if taught else [],
        temperature=taught.temperature if taught else 1.0,
        teachers_weight=taught.weight if taught else 0.0,
    )


def native_mixing(mixing: Mixing | None, model: Model, batch_size: int) -> core.Mixing | None:
    """What ``core.TrainingRun`` takes."""
    from mnistcnn._internal.native import core

    if mixing is None:
        return None
    if not isinstance(mixing, Mixing):
        raise TypeError(f"mixing must be a Mixup, a CutMix or None, got {mixing!r}")
    if model.num_classes < 2:
        raise ValueError(f"{mixing!r} mixes labels, but model '{model.name}' knows a single class")
    if batch_size < 2:
        raise ValueError(f"{mixing!r} mixes the images of a batch; batch_size must be at least 2, got {batch_size}")
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


def _teachers(loss: Distillation, student: Model) -> list[core.ModelView]:
    from mnistcnn.nn.model import Model

    models = _models(loss.teacher)
    if not models or not all(isinstance(each, Model) for each in models):
        raise TypeError(f"a teacher must be an mnistcnn.Model or have .models, got {type(loss.teacher).__name__}")
    return [_teacher(each, student) for each in models]


def _teacher(teacher: Model, student: Model) -> core.ModelView:
    """Return the teacher with an engine of its own, so that it may be used elsewhere meanwhile."""
    from mnistcnn._internal.native import core
    from mnistcnn.nn.model import choose_engine

    if teacher is student:
        raise ValueError(f"model '{student.name}' can't be its own teacher; give a trained copy: copy.deepcopy(model)")
    for what in ("input_shape", "num_classes", "device"):
        its, wanted = getattr(teacher, what), getattr(student, what)
        if its != wanted:
            raise ValueError(f"teacher '{teacher.name}' has {what} {its}, but student '{student.name}' has {wanted}")
    chosen = choose_engine(teacher._network, teacher.engine, teacher.device)
    engine = core.Engine(teacher._network, chosen, teacher.threads or 0)
    pixels = teacher.pixel_normalization
    return core.ModelView(teacher.tensors, engine, scale=pixels.scale, shift=pixels.shift)


def _weights(values: object) -> tuple[float, ...]:
    weights = numbers("class_weights", values)
    if any(weight < 0 for weight in weights) or sum(weights) == 0:
        raise ValueError(f"class_weights must be at least 0, and not all 0, got {weights!r}")
    return weights
