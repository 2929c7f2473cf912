"""Functions for a training loop in PyTorch: train for one epoch, and test. They accept any module and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from mnistcnn._internal.progress import ProgressBar
from mnistcnn.convert.from_torch import model_of
from mnistcnn.data.image_set import ImageSet
from mnistcnn.data.loader import DataLoader

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[..., torch.Tensor]
_TOLERANCE = 1e-3  # of the sum of the probabilities of an image


@dataclass
class Record:
    """Accumulated results of `train` and `test` for one model."""

    train_acc: list[float] = field(default_factory=list)  # running accuracy of the epoch after each batch, in per cent
    train_losses: list[float] = field(default_factory=list)  # per batch
    test_acc: list[float] = field(default_factory=list)  # per test, in per cent
    test_losses: list[float] = field(default_factory=list)  # per test, mean over the images


@dataclass(frozen=True)
class Score:
    """Loss and accuracy of a model on the images of a loader."""

    loss: float  # mean over all images
    correct: int
    count: int

    @property
    def percent(self) -> float:
        """Accuracy in per cent."""
        return 100 * self.correct / self.count

    def line(self, name: str) -> str:
        """Return the score in the format of the course."""
        return f"{name}: Average loss: {self.loss:.4f}, Accuracy: {self.correct}/{self.count} ({self.percent:.2f}%)"


_RECORDS: WeakKeyDictionary[nn.Module, Record] = WeakKeyDictionary()


def train(
    model: nn.Module,
    device: torch.device | str,
    train_loader: Batches,
    optimizer: torch.optim.Optimizer,
    criterion: Loss | int | None = None,
    epoch: int | None = None,
) -> tuple[list[float], list[float]]:
    """Train the model for one epoch, with a progress bar in terminals and notebooks.

    A learning rate scheduler is not an argument: step it after each call, as the loops of the courses do.

    Without a criterion, the loss is selected by the outputs of the model: ``nll_loss`` for log-probabilities,
    ``cross_entropy`` for logits. For a module that is not an mnistcnn network, the kind of outputs is determined from
    their values.

    Parameters
    ----------
    model
        Network of the zoo, accelerated network or any ``torch.nn.Module``. It must be on ``device``.
    device
        Device to which the batches are moved.
    train_loader
        Loader of mnistcnn or PyTorch, or another iterable of pairs (images, labels).
    optimizer
        Optimizer of ``torch.optim`` for the parameters of the model.
    criterion
        Loss of (outputs, labels), for example ``nn.CrossEntropyLoss()`` or ``F.nll_loss``. An integer is used as
        ``epoch``, because some courses pass the number of the epoch as this argument. Default: None, the loss that
        matches the outputs.
    epoch
        Number of the epoch, shown in the progress bar. Default: None, no number.

    Returns
    -------
    train_acc, train_losses
        Lists with an entry for each batch of all calls with this model: running accuracy of the epoch in per cent, and
        loss.
    """
    record = _record(model)
    criterion, epoch = _criterion_and_epoch(criterion, epoch)
    accuracies, losses = train_epoch(model, device, train_loader, optimizer, criterion, epoch)
    record.train_acc += accuracies
    record.train_losses += losses
    return list(record.train_acc), list(record.train_losses)


def test(
    model: nn.Module,
    device: torch.device | str,
    test_loader: Batches,
    criterion: Loss | int | None = None,
    epoch: int | None = None,
) -> tuple[list[float], list[float]]:
    """Test the model, and print average loss and accuracy.

    Parameters
    ----------
    model
        Network of the zoo, accelerated network or any ``torch.nn.Module``. It must be on ``device``.
    device
        Device to which the batches are moved.
    test_loader
        Loader of mnistcnn or PyTorch, or another iterable of pairs (images, labels).
    criterion
        Loss of (outputs, labels). An integer is used as ``epoch``, as in `train`. Default: None, the loss that matches
        the outputs.
    epoch
        Number of the epoch, printed before the result. Default: None, no number.

    Returns
    -------
    test_acc, test_losses
        Lists with an entry for each call with this model: accuracy in per cent, and mean loss of the images.
    """
    record = _record(model)
    criterion, epoch = _criterion_and_epoch(criterion, epoch)
    score = evaluate(model, device, test_loader, criterion)
    print(f"\n{'' if epoch is None else f'Epoch {epoch}: '}{score.line('Test set')}\n")
    record.test_acc.append(score.percent)
    record.test_losses.append(score.loss)
    return list(record.test_acc), list(record.test_losses)


test.__test__ = False  # type: ignore[attr-defined]  # do not collect it as a test where it is imported


def GetCorrectPredCount(pPrediction: torch.Tensor, pLabels: torch.Tensor) -> int:  # noqa: N802, N803 - the course's names
    """Return the number of correct predictions of a batch.

    Parameters
    ----------
    pPrediction
        Outputs [N, classes].
    pLabels
        Labels [N].

    Examples
    --------
    >>> import torch
    >>> from mnistcnn.course import GetCorrectPredCount
    >>> GetCorrectPredCount(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    1
    """
    return int((pPrediction.detach().argmax(dim=1) == pLabels).sum().item())


def train_epoch(
    model: nn.Module,
    device: torch.device | str,
    loader: Batches,
    optimizer: torch.optim.Optimizer,
    criterion: Loss | None = None,
    epoch: int | None = None,
) -> tuple[list[float], list[float]]:
    """Train for one epoch. Return running accuracy in per cent and loss of each batch."""
    _check(model, loader, optimizer)
    _check_criterion(criterion)
    _store_normalization(model, loader)
    model.train()
    accuracies: list[float] = []
    losses: list[float] = []
    correct = seen = 0
    loss_of = criterion
    prefix = "" if epoch is None else f"Epoch={epoch} "
    with ProgressBar(_batch_count(loader), enabled=True, unit="batch") as bar:
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            outputs = model(images)
            _check_outputs(outputs)
            loss_of = loss_of or matching_loss(model, outputs)
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
        raise ValueError("train_loader must have at least one batch, got no batches")
    return accuracies, losses


def evaluate(model: nn.Module, device: torch.device | str, loader: Batches, criterion: Loss | None = None) -> Score:
    """Evaluate the model on all images in evaluation mode, and leave it in that mode."""
    _check(model, loader)
    _check_criterion(criterion)
    model.eval()
    loss_sum, correct, seen = 0.0, 0, 0
    loss_of = None if criterion is None else _summed_loss(criterion)
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            outputs = model(images)
            _check_outputs(outputs)
            loss_of = loss_of or matching_loss(model, outputs)
            loss_sum += loss_of(outputs, labels, reduction="sum").item()
            correct += GetCorrectPredCount(outputs, labels)
            seen += len(labels)
    if not seen:
        raise ValueError("test_loader must have at least one batch, got no batches")
    return Score(loss_sum / seen, correct, seen)


def matching_loss(model: nn.Module, outputs: torch.Tensor) -> Loss:
    """Return the negative log-likelihood loss for the kind of outputs, f32 [N, classes], that the model has."""
    found = model_of(model)
    return _LOSSES[output_kind(outputs) if found is None else found.outputs]


def output_kind(outputs: torch.Tensor) -> str:
    """Return "probabilities", "log_probabilities" or "logits", determined from the values [N, classes].

    Probabilities are at least 0, and each row sums up to 1. Exponentials of log-probabilities sum up to 1.
    """
    rows = outputs.detach().double()
    if bool((rows >= 0).all() and ((rows.sum(1) - 1).abs() < _TOLERANCE).all()):
        return "probabilities"
    return "log_probabilities" if bool((rows.logsumexp(1).abs() < _TOLERANCE).all()) else "logits"


def _nll_of_probabilities(outputs: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    return F.nll_loss(outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log(), labels, reduction=reduction)


_LOSSES: dict[str, Loss] = {
    "log_probabilities": F.nll_loss,
    "logits": F.cross_entropy,
    "probabilities": _nll_of_probabilities,
}


def _summed_loss(criterion: Loss) -> Loss:
    """Return a loss that is the sum over the images. A criterion without ``reduction="sum"`` returns the mean."""
    sums = getattr(criterion, "reduction", "mean") == "sum"

    def loss_of(outputs: torch.Tensor, labels: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
        return criterion(outputs, labels) * (1 if sums else len(labels))

    return loss_of


def _check_outputs(outputs: Any) -> None:
    if not isinstance(outputs, torch.Tensor) or outputs.dim() != 2:
        got = list(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        several = "; to select one output: mnistcnn.accelerate(net, output=0)" if isinstance(outputs, tuple) else ""
        raise ValueError(f"outputs of the model must be a tensor [N, classes], got {got}{several}")


def _criterion_and_epoch(criterion: Loss | int | None, epoch: object) -> tuple[Loss | None, int | None]:
    """Return the loss and the epoch number. The number may also be given in the place of the loss."""
    if isinstance(criterion, int):
        criterion, epoch = None, criterion if epoch is None else epoch
    _check_criterion(criterion)
    if epoch is not None and not isinstance(epoch, Integral):
        raise TypeError(f"epoch must be an integer, got {type(epoch).__name__}{_scheduler_hint(epoch)}")
    return criterion, None if epoch is None else int(epoch)


def _scheduler_hint(argument: object) -> str:
    if not isinstance(argument, LRScheduler):
        return ""
    return (
        "; call scheduler.step() after each epoch, because course functions step no scheduler. For a schedule that "
        "steps after each batch: mnistcnn.train(model, train_set, schedule=mnistcnn.optim.OneCycleLR(0.1))"
    )


def _check_criterion(criterion: object) -> None:
    if criterion is None or callable(criterion):
        return
    if isinstance(criterion, LRScheduler):
        raise TypeError(f"criterion must be a loss, got {type(criterion).__name__}{_scheduler_hint(criterion)}")
    lists = "; train and test return their lists, do not pass them" if isinstance(criterion, list) else ""
    raise TypeError(
        f"criterion must be a loss of (outputs, labels), for example nn.CrossEntropyLoss(), got {criterion!r}{lists}"
    )


def _record(model: nn.Module) -> Record:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    return _RECORDS.setdefault(model, Record())


def _store_normalization(model: nn.Module, loader: Any) -> None:
    """Store the loader's normalization in the model, for `mnistcnn.test`, `mnistcnn.predict` and saved files."""
    found = model_of(model)
    if found is not None and isinstance(loader, DataLoader) and not loader.raw:
        found.normalization = loader.normalization


def _batch_count(loader: Any) -> int | None:
    return len(loader) if hasattr(loader, "__len__") else None


def _check(model: object, loader: object, optimizer: Any = None) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if isinstance(loader, ImageSet):
        raise TypeError("loader must be a loader of batches, got ImageSet; write mnistcnn.DataLoader(image_set)")
    if not hasattr(loader, "__iter__"):
        raise TypeError(f"loader must be an iterable of pairs (images, labels), got {type(loader).__name__}")
    if optimizer is not None and not (hasattr(optimizer, "zero_grad") and hasattr(optimizer, "step")):
        raise TypeError(
            f"optimizer must be a torch.optim optimizer, for example torch.optim.SGD(model.parameters(), lr=0.01), got "
            f"{optimizer!r}; use optimizers of mnistcnn.optim with mnistcnn.train"
        )
