"""One epoch of training, and a test, in a loop of the user's own: their optimizer, their scheduler, any module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional as F

from mnistcnn._internal.progress import ProgressBar
from mnistcnn.convert.from_torch import model_of
from mnistcnn.data.loader import DataLoader

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[..., torch.Tensor]
_CLOSE = 1e-3  # how far the probabilities of an image may sum up from 1


@dataclass
class Record:
    """What `train` and `test` have found for one model so far."""

    train_acc: list[float] = field(default_factory=list)  # of the epoch so far after each batch, in per cent
    train_losses: list[float] = field(default_factory=list)  # of each batch
    test_acc: list[float] = field(default_factory=list)  # of each test, in per cent
    test_losses: list[float] = field(default_factory=list)  # of each test, the mean over its images


@dataclass(frozen=True)
class Score:
    """A model on the images of a loader."""

    loss: float  # the mean over all images
    correct: int
    count: int

    @property
    def percent(self) -> float:
        """The accuracy."""
        return 100 * self.correct / self.count

    def line(self, what: str) -> str:
        """As the courses print it."""
        return f"{what}: Average loss: {self.loss:.4f}, Accuracy: {self.correct}/{self.count} ({self.percent:.2f}%)"


_RECORDS: WeakKeyDictionary[nn.Module, Record] = WeakKeyDictionary()


def train(
    model: nn.Module,
    device: torch.device | str,
    train_loader: Batches,
    optimizer: torch.optim.Optimizer,
    criterion: Loss | int | None = None,
    epoch: int | None = None,
) -> tuple[list[float], list[float]]:
    """One epoch, with a bar in terminals and notebooks.

    Without a criterion, the loss is the one that fits what the model gives: ``nll_loss`` for log-probabilities,
    ``cross_entropy`` for logits. A network of mnistcnn says which; the outputs of another module are looked at.

    Parameters
    ----------
    model
        A network of the zoo, an accelerated one or any ``torch.nn.Module``, on the device.
    device
        Where the batches are moved.
    train_loader
        Yields (images, labels): ours or PyTorch's.
    optimizer
        One of ``torch.optim``, over the model's parameters.
    criterion
        The loss of (outputs, labels), such as ``nn.CrossEntropyLoss()`` or ``F.nll_loss``; or the epoch's number, which
        other courses give in this place.
    epoch
        Its number, shown before the loss.

    Returns
    -------
    (train_acc, train_losses)
        Of every batch that this model was trained with, in all calls: the accuracy of its epoch so far in per cent, and
        the loss.
    """
    record = _record(model)
    if isinstance(criterion, int):
        criterion, epoch = None, criterion
    accuracies, losses = one_epoch(model, device, train_loader, optimizer, criterion, epoch)
    record.train_acc += accuracies
    record.train_losses += losses
    return list(record.train_acc), list(record.train_losses)


def test(
    model: nn.Module, device: torch.device | str, test_loader: Batches, criterion: Loss | None = None
) -> tuple[list[float], list[float]]:
    """Tests the model, and prints average loss and accuracy; the loss as in `train`, as a mean over the images.

    Returns
    -------
    (test_acc, test_losses)
        Of every test that this model has had: accuracy in per cent, and the mean loss.
    """
    record = _record(model)
    score = evaluated(model, device, test_loader, criterion)
    print(f"\n{score.line('Test set')}\n")
    record.test_acc.append(score.percent)
    record.test_losses.append(score.loss)
    return list(record.test_acc), list(record.test_losses)


test.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test wherever it is imported


def GetCorrectPredCount(pPrediction: torch.Tensor, pLabels: torch.Tensor) -> int:  # noqa: N802, N803 - the course's names
    """How many images of a batch have their largest output at their label.

    Examples
    --------
    >>> import torch
    >>> from mnistcnn.course import GetCorrectPredCount
    >>> GetCorrectPredCount(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    1
    """
    return int((pPrediction.detach().argmax(dim=1) == pLabels).sum().item())


def one_epoch(
    model: nn.Module,
    device: torch.device | str,
    loader: Batches,
    optimizer: torch.optim.Optimizer,
    criterion: Loss | None = None,
    epoch: int | None = None,
) -> tuple[list[float], list[float]]:
    """The accuracy so far, in per cent, and the loss of every batch."""
    _check(model, loader, optimizer)
    _check_criterion(criterion)
    _remember_pixels(model, loader)
    model.train()
    accuracies: list[float] = []
    losses: list[float] = []
    correct = seen = 0
    loss_of = criterion
    prefix = "" if epoch is None else f"Epoch={epoch} "
    with ProgressBar(_batches(loader), enabled=True, unit="batch") as bar:
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            outputs = model(images)
            _check_rows(outputs)
            loss_of = loss_of or fitting_loss(model, outputs)
            loss = loss_of(outputs, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            correct += GetCorrectPredCount(outputs, labels)
            seen += len(labels)
            losses.append(loss.item())
            accuracies.append(100 * correct / seen)
            title = f"{prefix}Loss={losses[-1]:.4f} Batch_id={len(losses) - 1} Accuracy={accuracies[-1]:.2f}"
            bar.show(len(losses), title=title)
    if not losses:
        raise ValueError("train_loader has no batches")
    return accuracies, losses


def evaluated(model: nn.Module, device: torch.device | str, loader: Batches, criterion: Loss | None = None) -> Score:
    """The model in evaluation mode on all images; no weight changes."""
    _check(model, loader)
    _check_criterion(criterion)
    model.eval()
    loss_sum, correct, seen = 0.0, 0, 0
    loss_of = None if criterion is None else _summed(criterion)
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            outputs = model(images)
            _check_rows(outputs)
            loss_of = loss_of or fitting_loss(model, outputs)
            loss_sum += loss_of(outputs, labels, reduction="sum").item()
            correct += GetCorrectPredCount(outputs, labels)
            seen += len(labels)
    if not seen:
        raise ValueError("test_loader has no batches")
    return Score(loss_sum / seen, correct, seen)


def fitting_loss(model: nn.Module, outputs: torch.Tensor) -> Loss:
    """The negative log-likelihood of the labels, from what the outputs f32 [N, classes] mean."""
    found = model_of(model)
    return _LOSSES[meaning(outputs) if found is None else found.outputs]


def meaning(outputs: torch.Tensor) -> str:
    """Probabilities are at least 0 and sum up to 1 in every row, and so do the exponentials of log-probabilities."""
    rows = outputs.detach().double()
    if bool((rows >= 0).all() and ((rows.sum(1) - 1).abs() < _CLOSE).all()):
        return "probabilities"
    return "log_probabilities" if bool((rows.logsumexp(1).abs() < _CLOSE).all()) else "logits"


def _nll_of_probabilities(outputs: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    return F.nll_loss(outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log(), labels, reduction=reduction)


_LOSSES: dict[str, Loss] = {
    "log_probabilities": F.nll_loss,
    "logits": F.cross_entropy,
    "probabilities": _nll_of_probabilities,
}


def _summed(criterion: Loss) -> Loss:
    """The sum over a batch's images, of a criterion that gives their mean unless it says otherwise."""
    sums = getattr(criterion, "reduction", "mean") == "sum"

    def loss_of(outputs: torch.Tensor, labels: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
        return criterion(outputs, labels) * (1 if sums else len(labels))

    return loss_of


def _check_rows(outputs: Any) -> None:
    if not isinstance(outputs, torch.Tensor) or outputs.dim() != 2:
        got = list(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        several = "; mnistcnn.accelerate(net, output=0) takes one of them alone" if isinstance(outputs, tuple) else ""
        raise ValueError(f"the model must give a row of classes for every image, [N, classes]; it gives {got}{several}")


def _check_criterion(criterion: object) -> None:
    if criterion is None or callable(criterion):
        return
    lists = ": train and test return their lists" if isinstance(criterion, list) else ""
    raise TypeError(
        f"criterion must be a loss of (outputs, labels), such as nn.CrossEntropyLoss(), got {criterion!r}{lists}"
    )


def _record(model: nn.Module) -> Record:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    return _RECORDS.setdefault(model, Record())


def _remember_pixels(model: nn.Module, loader: Any) -> None:
    """So that `mnistcnn.test`, `predict` and saved files normalise bytes as the model has learnt them."""
    found = model_of(model)
    if found is not None and isinstance(loader, DataLoader) and not loader.raw:
        found.normalization = loader.normalization


def _batches(loader: Any) -> int | None:
    return len(loader) if hasattr(loader, "__len__") else None


def _check(model: object, loader: object, optimizer: Any = None) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not hasattr(loader, "__iter__"):
        raise TypeError(f"the loader must yield (images, labels), got {type(loader).__name__}")
    if optimizer is not None and not (hasattr(optimizer, "zero_grad") and hasattr(optimizer, "step")):
        raise TypeError(
            f"optimizer must be one of torch.optim, such as torch.optim.SGD(model.parameters(), lr=0.01), got "
            f"{optimizer!r}; mnistcnn's own optimizers are for mnistcnn.train"
        )
