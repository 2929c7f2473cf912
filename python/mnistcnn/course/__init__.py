"""Drop-in replacements for the helper functions of the course notebooks.

1. Replace ``from utils import *``, or the cells that define the functions, by ``from mnistcnn.course import *``.
2. Keep the network, the ``torch.optim`` optimizer, the scheduler and the loop.
3. Use ``model = mnistcnn.accelerate(Net()).to(device)`` to accelerate the network; a plain ``Net()`` runs in PyTorch.
4. The loaders yield augmented, normalized batches made by native code. ``num_workers`` and ``pin_memory`` are ignored.
5. Data order and augmentation are determined by ``torch.manual_seed``.
6. If MNIST is not available, the synthetic ``digits`` data set is used instead, with a message on stderr.

`train` and `test` return lists that accumulate over all calls with the same model, like the global lists of the course,
so that `display_plot` shows the whole run after the loop. Another model starts with empty lists.

>>> import torch
>>> from mnistcnn.course import F, data_loader, mnistcnn, nn, test, train
>>> net = mnistcnn.accelerate(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
>>> loader = mnistcnn.DataLoader(mnistcnn.load("digits")[0][:640], batch_size=64)
>>> optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
>>> train_acc, train_losses = train(net, "cpu", loader, optimizer)
>>> len(train_acc), len(train_losses)
(10, 10)
"""

from __future__ import annotations

import torch
from torch import nn, optim
from torch.nn import functional as F

import mnistcnn
from mnistcnn.course.budget import train_model
from mnistcnn.course.loop import GetCorrectPredCount, test, train
from mnistcnn.course.plots import display_plot, plot_data
from mnistcnn.course.sources import (
    data_loader,
    get_dataloaders,
    make_data,
    test_transforms,
    train_transforms,
    use_device,
)
from mnistcnn.course.table import summary

# Includes the modules that `from utils import *` of the course provides.
__all__ = [
    "F",
    "GetCorrectPredCount",
    "data_loader",
    "display_plot",
    "get_dataloaders",
    "make_data",
    "mnistcnn",
    "nn",
    "optim",
    "plot_data",
    "summary",
    "test",
    "test_transforms",
    "torch",
    "train",
    "train_model",
    "train_transforms",
    "use_device",
]
