"""The published networks. The core holds them (``cpp/mnistcnn/zoo``), layer by layer as their authors wrote them.

Names of layers are the authors', so their state dicts load. The reference lists every network as PyTorch code.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING

from mnistcnn._internal.checks import did_you_mean, whole_number
from mnistcnn.data.normalization import Normalization

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model


@dataclass(frozen=True)
class Citation:
    """Where a network was published. A field is empty if it is not known.

    Parameters
    ----------
    project
        What its author calls the project.
    session
        The session of the course that set the task.
    file
        The file, and the class in it.
    url
        The address of the project.
    """

    project: str
    session: str = ""
    file: str = ""
    url: str = ""

    def __str__(self) -> str:
        return "; ".join(part for part in (self.project, self.session, self.file, self.url) if part)


@dataclass(frozen=True)
class PublishedNetwork:
    """What the zoo knows about a network.

    Parameters
    ----------
    name
        The name for `create_model`.
    description
        One sentence.
    citation
        Where it was published.
    normalization
        How its author normalises pixels.
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
    """Return the names of the published networks, all or those that match a pattern such as ``"session7*"``.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.list_models("session7*")
    ['session7_net1', 'session7_net2', 'session7_net']
    """
    return [name for name in _networks() if fnmatchcase(name, pattern)]


def published_network(name: str) -> PublishedNetwork:
    """Return description, citation and normalization of a published network.

    Examples
    --------
    >>> from mnistcnn.nn.zoo import published_network
    >>> print(published_network("session7_net").citation)
    ShikhaERAV2/Session7; ERA V2 (The School of AI), session 7; model.py, class Net; https://github.com/ShikhaERAV2/Session7
    """
    check_name(name)
    return _networks()[name]


def check_name(name: str) -> None:
    """Raise ValueError unless there is a published network of this name."""
    if name not in _networks():
        hint = did_you_mean(name, _networks()) or "."
        raise ValueError(f"there is no model {name!r}{hint} Choose from: {', '.join(_networks())}")


def create_model(
    name: str,
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    seed: int = 0,
) -> Model:
    """Return a published network with fresh weights.

    Pixels are normalised with MNIST's mean and deviation (``assignment7_model8``: pixels / 255, as its author did);
    set ``model.normalization`` to change that, or to None to take the training set's.

    Parameters
    ----------
    name
        One of `list_models`.
    num_classes
        Number of classes.
    in_channels
        Number of channels of an image; its size is 28 x 28.
    seed
        Determines the weights.

    Examples
    --------
    >>> import mnistcnn
    >>> mnistcnn.create_model("session7_net", seed=1).parameter_count
    7596
    """
    from mnistcnn._internal.native import core
    from mnistcnn.nn.model import Model

    network = published_network(name)
    num_classes = whole_number("num_classes", num_classes)
    in_channels = whole_number("in_channels", in_channels)
    return Model.from_rows(
        core.zoo_create(name, classes=num_classes, channels=in_channels),
        (in_channels, 28, 28),
        seed=seed,
        name=name,
        normalization=network.normalization,
    )
