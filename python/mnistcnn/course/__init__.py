"""The functions that the courses' notebooks call, by their names: a notebook changes one import line.

1. Write ``from mnistcnn.course import *`` instead of ``from utils import *``, or of the cells with those functions.
2. Keep your network, your ``torch.optim`` optimizer, your scheduler and your loop as they are.
3. Write ``model = mnistcnn.accelerate(Net()).to(device)`` for native speed; a plain ``Net()`` runs too, in PyTorch.
4. The loaders yield native batches, already augmented and normalised; ``num_workers`` and ``pin_memory`` do nothing.
5. Order and augmentation follow ``torch.manual_seed``; where MNIST can't be had, the drawn digits stand in, and say so.

The lists that `train` and `test` return belong to the model and grow from call to call, as the courses' global ones do,
so that `display_plot` shows the whole run after the loop. Another model begins with empty lists.

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
from mnistcnn.course.pictures import display_plot, plot_data
from mnistcnn.course.sources import (
    data_loader,
    get_dataloaders,
    make_data,
    test_transforms,
    train_transforms,
    use_device,
)
from mnistcnn.course.table import summary

# With what the courses' own utils.py brings along when everything is imported from it.
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
