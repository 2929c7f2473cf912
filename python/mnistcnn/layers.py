"""Layers of a `Model`, with the names and arguments of ``torch.nn``.

>>> import mnistcnn
>>> from mnistcnn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU
>>> mnistcnn.Model([Conv2d(8, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(10)]).parameter_count
13610
"""

from mnistcnn.nn.layers import *  # noqa: F403
from mnistcnn.nn.layers import __all__ as __all__
