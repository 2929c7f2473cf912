"""Plots of a batch of images and of the curves of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnistcnn.plot.style import new_figure, plot_style, tidy
from mnistcnn.plot.tiles import draw_tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4


def plot_data(batch_data: torch.Tensor, batch_label: torch.Tensor | Sequence[Any], n_images: int = 12) -> Figure:
    """Plot the first images of a batch with their labels, four per row.

    Parameters
    ----------
    batch_data
        Images [N, C, H, W] of a loader, with 1 or 3 channels: normalized floats or uint8.
    batch_label
        Label of each image.
    n_images
        Number of images to plot.

    Examples
    --------
    >>> import torch
    >>> from mnistcnn.course import plot_data
    >>> figure = plot_data(torch.rand(16, 1, 28, 28), torch.arange(16), 12)
    >>> len(figure.axes[0].images), figure.axes[0].texts[3].get_text()
    (12, '3')
    """
    images = torch.as_tensor(batch_data).detach().cpu().float()
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"batch_data must be images [N, 1 or 3, H, W], got {list(images.shape)}")
    if not 1 <= n_images <= len(images):
        raise ValueError(f"n_images must be from 1 to {len(images)}, the size of the batch, got {n_images}")
    if len(batch_label) < n_images:
        raise ValueError(
            f"batch_label must have at least {n_images} labels for {n_images} images, got {len(batch_label)}"
        )
    low, high = images.min(), images.max()
    shades = (images[:n_images] - low) / (high - low).clamp_min(1e-12)
    if images.shape[1] == 1:
        shades = 1 - shades.expand(-1, 3, -1, -1)  # dark on white
    tiles = list(np.moveaxis(shades.numpy(), 1, -1))
    figure: Figure = draw_tiles(  # type: ignore[assignment]
        tiles, columns=_COLUMNS, captions=[str(int(label)) for label in batch_label[:n_images]], tile_inches=1.1
    )
    return figure


def display_plot(
    train_losses: Iterable[Any], train_acc: Iterable[Any], test_losses: Iterable[Any], test_acc: Iterable[Any]
) -> Figure:
    """Plot the four curves of a run: losses above accuracies, training per batch and test per epoch.

    Parameters
    ----------
    train_losses
        Training loss of each batch, as returned by `train`.
    train_acc
        Training accuracy in per cent of each batch, as returned by `train`.
    test_losses
        Test loss of each epoch, as returned by `test`.
    test_acc
        Test accuracy in per cent of each epoch, as returned by `test`.

    Examples
    --------
    >>> from mnistcnn.course import display_plot
    >>> figure = display_plot([2.3, 1.0, 0.5], [10, 40, 60], [0.4, 0.2], [88, 94])
    >>> [ax.get_title() for ax in figure.axes]
    ['Training Loss', 'Test Loss', 'Training Accuracy', 'Test Accuracy']
    """
    columns = [[float(each) for each in values] for values in (train_losses, test_losses, train_acc, test_acc)]
    titles = ("Training Loss", "Test Loss", "Training Accuracy", "Test Accuracy")
    figure = new_figure(10, 6.5)
    with plot_style():
        for index, (values, title) in enumerate(zip(columns, titles, strict=True)):
            ax = figure.add_subplot(2, 2, index + 1)
            tested = index % 2 == 1
            ax.plot(range(tested, len(values) + tested), values, marker="o" if tested else None, linewidth=1.2)
            ax.set(title=title, xlabel="epoch" if tested else "batch", ylabel="loss" if index < 2 else "accuracy (%)")
            if tested:
                ax.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
            tidy(ax)
    return figure
