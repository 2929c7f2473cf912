"""A whole training run, as the course on small budgets calls it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from mnistcnn._internal.atomic_files import write_whole
from mnistcnn._internal.checks import positive_number, whole_number
from mnistcnn.course.loop import evaluated, one_epoch
from mnistcnn.course.sources import get_dataloaders
from mnistcnn.data.loader import DataLoader
from mnistcnn.nn.model import Model

_WATCHED_PART = 1 / 6  # of the training set: as many images as MNIST's test set has
_FACTOR, _PATIENCE = 0.1, 3  # of the learning rate, after so many epochs that were not better


class Curves(NamedTuple):
    """What `train_model` returns, in the order of `display_plot`: ``display_plot(*train_model(model))``."""

    train_losses: list[float]  # of every batch
    train_acc: list[float]  # after every batch, of its epoch so far, in per cent
    validation_losses: list[float]  # of every epoch
    validation_acc: list[float]  # of every epoch, in per cent


def train_model(
    model: nn.Module, epochs: int = 15, learning_rate: float = 0.001, *, folder: str | Path = "."
) -> Curves:
    """Trains with Adam, a learning rate that falls on a plateau, and cross-entropy; keeps the best epoch's weights.

    What is best, and when the rate falls, is told by a sixth of the training set that is not trained on, so that the
    test set chooses nothing. It is used once, at the end, with the best weights, which the model then has.

    Parameters
    ----------
    model
        A network of the zoo, an accelerated one or any ``torch.nn.Module``; trained where it lies.
    epochs, learning_rate
        How many, and Adam's first rate; it becomes a tenth after more than three epochs that were not better.
    folder
        Where ``best_<Name>.pth`` is written, whenever an epoch is better than all before: weights for
        ``model.load_state_dict(torch.load(...))``.
    """
    whole_number("epochs", epochs)
    positive_number("learning_rate", learning_rate)
    path = Path(folder) / f"best_{model.name if isinstance(model, Model) else type(model).__name__}.pth"
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist")
    whole, test_loader = get_dataloaders()
    train_loader, watched = _split(whole)
    device = next(model.parameters()).device
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=_FACTOR, patience=_PATIENCE)
    curves, best = Curves([], [], [], []), -1.0
    for epoch in range(1, epochs + 1):
        accuracies, losses = one_epoch(model, device, train_loader, optimizer)
        score = evaluated(model, device, watched)
        for column, values in zip(curves, (losses, accuracies, [score.loss], [score.percent]), strict=True):
            column.extend(values)
        print(f"Epoch {epoch}/{epochs}: {score.line('Validation set')}")
        scheduler.step(score.percent)
        if score.percent > best:
            best = score.percent
            _write(model, path)
            print(f"Best model so far saved as {path} ({best:.2f}%)")
    model.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    print(f"\n{evaluated(model, device, test_loader).line('Test set')}\n")
    return curves


def _split(whole: DataLoader) -> tuple[DataLoader, DataLoader]:
    """Loaders of the larger part, and of the part that is looked at."""
    images, held_back = whole.image_set.split(_WATCHED_PART, seed=whole.seed)
    options: dict[str, Any] = {"batch_size": whole.batch_size, "normalization": whole.normalization}
    return DataLoader(images, seed=whole.seed, **options), DataLoader(held_back, shuffle=False, **options)


def _write(model: nn.Module, path: Path) -> None:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    write_whole(path, file.getvalue())
