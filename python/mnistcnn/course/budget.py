"""Complete training run of the course on parameter budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from mnistcnn._internal.atomic_files import replacing
from mnistcnn._internal.checks import positive_number, whole_number
from mnistcnn.course.loop import evaluate, train_epoch
from mnistcnn.course.sources import get_dataloaders
from mnistcnn.data.loader import DataLoader
from mnistcnn.nn.model import Model

_VALIDATION_FRACTION = 1 / 6  # of the training set: 10,000 of 60,000 images of MNIST
_FACTOR, _PATIENCE = 0.1, 3  # of ReduceLROnPlateau


class Curves(NamedTuple):
    """Result of `train_model`. Pass it to `display_plot`: ``display_plot(*train_model(model))``."""

    train_losses: list[float]  # per batch
    train_acc: list[float]  # running accuracy of the epoch after each batch, in per cent
    validation_losses: list[float]  # per epoch
    validation_acc: list[float]  # per epoch, in per cent


def train_model(
    model: nn.Module, epochs: int = 15, learning_rate: float = 0.001, *, folder: str | Path = "."
) -> Curves:
    """Train with Adam and a learning rate that decreases on a plateau, and load the weights of the best epoch.

    One sixth of the training set is held out as a validation set. Its accuracy determines the best epoch and the
    learning rate. The test set is used once, at the end, to test the model with the best weights.

    The loss is that of `train` without a criterion.

    Parameters
    ----------
    model
        Network of the zoo, accelerated network or any ``torch.nn.Module``. It is trained on its own device.
    epochs
        Number of epochs.
    learning_rate
        Initial learning rate of Adam. It is multiplied by 0.1 after more than three epochs without improvement.
    folder
        Directory for ``best_<Name>.pth``, which is written whenever the validation accuracy improves. Load it with
        ``model.load_state_dict(torch.load(...))``.

    Returns
    -------
    Curves
        Loss and accuracy of training and validation set.
    """
    whole_number("epochs", epochs)
    positive_number("learning_rate", learning_rate)
    path = Path(folder) / f"best_{model.name if isinstance(model, Model) else type(model).__name__}.pth"
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the directory {path.parent} does not exist")
    whole, test_loader = get_dataloaders()
    train_loader, validation_loader = _split(whole)
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=_FACTOR, patience=_PATIENCE)
    curves, best = Curves([], [], [], []), -1.0
    for epoch in range(1, epochs + 1):
        accuracies, losses = train_epoch(model, device, train_loader, optimizer)
        score = evaluate(model, device, validation_loader)
        for column, values in zip(curves, (losses, accuracies, [score.loss], [score.percent]), strict=True):
            column.extend(values)
        print(f"Epoch {epoch}/{epochs}: {score.line('Validation set')}")
        scheduler.step(score.percent)
        if score.percent > best:
            best = score.percent
            _write(model, path)
            print(f"Best model so far saved as {path} ({best:.2f}%)")
    model.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    print(f"\n{evaluate(model, device, test_loader).line('Test set')}\n")
    return curves


def _split(whole: DataLoader) -> tuple[DataLoader, DataLoader]:
    """Return loaders of the training part and of the validation part."""
    images, held_back = whole.image_set.split(_VALIDATION_FRACTION, seed=whole.seed)
    options: dict[str, Any] = {"batch_size": whole.batch_size, "normalization": whole.normalization}
    return DataLoader(images, seed=whole.seed, **options), DataLoader(held_back, shuffle=False, **options)


def _write(model: nn.Module, path: Path) -> None:
    with replacing(path) as file:
        torch.save(model.state_dict(), file)
