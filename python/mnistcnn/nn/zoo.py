"""The published networks, which the core defines layer by layer as their authors did (``cpp/mnistcnn/zoo``).

Layers have the names of the authors' code, so that the authors' state dicts can be loaded. The reference lists every
network as PyTorch code.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING

from mnistcnn._internal.checks import did_you_mean, whole_number
from mnistcnn.data.normalization import Normalization
from mnistcnn.nn.pretrained import load_pretrained

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


@dataclass(frozen=True)
class Citation:
    """Source of a published network. Unknown fields are empty.

    Parameters
    ----------
    project
        Name of the project.
    session
        Session of the course that assigned the task.
    file
        File, and the class in it.
    url
        URL of the project.
    """

    project: str
    session: str = ""
    file: str = ""
    url: str = ""

    def __str__(self) -> str:
        return "; ".join(part for part in (self.project, self.session, self.file, self.url) if part)


@dataclass(frozen=True)
class PublishedNetwork:
    """Description of a published network.

    Parameters
    ----------
    name
        Name that `create_model` takes.
    description
        Description in two sentences: the architecture, and how it differs from other networks.
    citation
        Source of the network.
    normalization
        Normalization of the pixels that its author used.
    """

    name: str
    description: str
    citation: Citation
    normalization: Normalization


@cache
def _networks() -> dict[str, PublishedNetwork]:
    from mnistcnn._internal.native import core

    return {
        row["name"]: PublishedNetwork(
            row["name"], row["description"], Citation(**row["citation"]), Normalization(*row["normalization"])
        )
        for row in core.zoo_list()
    }


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the published networks.

    Parameters
    ----------
    pattern
        Shell-style pattern that the names must match, such as ``"session7*"``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.list_models("session7*")
    ['session7_net1', 'session7_net2', 'session7_net']
    """
    return [name for name in _networks() if fnmatchcase(name, pattern)]


def published_network(name: str) -> PublishedNetwork:
    """Return the description, citation and normalization of a published network.

    Examples
    --------
    >>> from mnistcnn.nn.zoo import published_network
    >>> print(published_network("session7_net").citation)
    ShikhaERAV2/Session7; ERA V2 (The School of AI), session 7; model.py, class Net; https://github.com/ShikhaERAV2/Session7
    """
    check_name(name)
    return _networks()[name]


def check_name(name: str) -> None:
    """Raise ValueError unless ``name`` is a published network."""
    if name not in _networks():
        hint = did_you_mean(name, _networks()) or "."
        raise ValueError(f"there is no model {name!r}{hint} Choose from: {', '.join(_networks())}")


def create_model(
    name: str,
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    seed: int = 0,
    pretrained: bool = False,
) -> Model:
    """Return a published network with newly initialised or pretrained weights.

    uint8 pixels are normalized with the mean and standard deviation of MNIST (``assignment7_model8``: pixels / 255, as
    its author did). To change this, set ``model.normalization``. With None, `train` uses the statistics of the training
    set.

    Parameters
    ----------
    name
        Name of the network: one of `list_models`.
    num_classes
        Number of classes.
    in_channels
        Number of channels of an image. Images are 28 x 28 pixels.
    seed
        Seed of the initial weights.
    pretrained
        Whether to load weights that were trained on MNIST with the published recipe. The package contains them for the
        networks with fewer than 100,000 parameters. ``model.card`` states their origin and test accuracy.

    Raises
    ------
    ValueError
        If there is no network of this name, or if there are no pretrained weights for it.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.create_model("session7_net", seed=1).parameter_count
    7596
    >>> model = mnistcnn.create_model("session7_net", pretrained=True)
    >>> model.card.test_accuracy > 0.99
    True
    """
    from mnistcnn._internal.native import core
    from mnistcnn.nn.model import Model

    network = published_network(name)
    num_classes = whole_number("num_classes", num_classes)
    in_channels = whole_number("in_channels", in_channels)
    if pretrained:
        if (num_classes, in_channels, seed) != (10, 1, 0):
            raise ValueError(
                "pretrained weights are for num_classes=10 and in_channels=1, and have no seed to choose; "
                f"got num_classes={num_classes}, in_channels={in_channels}, seed={seed}"
            )
        return load_pretrained(name)
    return Model.from_rows(
        core.zoo_create(name, classes=num_classes, channels=in_channels),
        (in_channels, 28, 28),
        seed=seed,
        name=name,
        normalization=network.normalization,
    )
