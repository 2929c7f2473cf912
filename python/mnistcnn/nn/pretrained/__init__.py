"""Pretrained weights of published networks, one file per network, and their cards.

``benchmarks/pretrain.py`` trains the weights and writes all files of this folder except this one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistcnn._internal.checks import did_you_mean
from mnistcnn._internal.json_data import errors_naming, read_json, typed
from mnistcnn._internal.tables import percent

if TYPE_CHECKING:
    from mnistcnn.nn.model import Model

FOLDER = Path(__file__).parent
CARDS = FOLDER / "cards.json"


@dataclass(frozen=True, repr=False)
class ModelCard:
    """Origin of pretrained weights.

    Parameters
    ----------
    name
        Name of the network.
    variant
        Variant of the published recipe, None for the default variant.
    recipe
        Recipe as JSON data; `Recipe.from_dict` reads it.
    seed
        Seed of the initial weights, the order of the images, dropout and augmentation. It was chosen before training.
    data
        Name of the data set.
    train_digest
        SHA-256 of the training images and labels.
    train_images
        Number of training images.
    test_accuracy
        Accuracy on the test set after the last epoch, from 0 to 1.
    test_images
        Number of test images.
    versions
        Versions of the packages that trained the weights.
    sha256
        SHA-256 of the file of the weights.

    Examples
    --------
    >>> import mnistcnn
    >>> card = mnistcnn.create_model("fast_99", pretrained=True).card
    >>> card.data, card.train_images, card.seed
    ('mnist', 60000, 0)
    """

    name: str
    variant: str | None
    recipe: dict[str, Any]
    seed: int
    data: str
    train_digest: str
    train_images: int
    test_accuracy: float
    test_images: int
    versions: dict[str, str]
    sha256: str

    def __repr__(self) -> str:
        recipe = self.name if self.variant is None else f"{self.name}, variant {self.variant}"
        versions = ", ".join(f"{package} {version}" for package, version in self.versions.items())
        return "\n".join(
            [
                f"ModelCard {self.name!r}",
                f"  test accuracy   {percent(self.test_accuracy)} on {self.test_images:,} images, after the last epoch",
                f"  recipe          {recipe}; seed {self.seed}, chosen before training",
                f"  training set    {self.data}, {self.train_images:,} images, SHA-256 {self.train_digest}",
                f"  trained with    {versions}",
                f"  weights         SHA-256 {self.sha256}",
            ]
        )


@cache
def cards() -> dict[str, ModelCard]:
    """Return the cards of all pretrained weights by network."""
    with errors_naming(CARDS, OSError):
        listed: list[ModelCard] = typed(read_json(CARDS), list[ModelCard], "cards")
    return {card.name: card for card in listed}


def weights_file(name: str) -> Path:
    """Return the file of a network's weights."""
    return FOLDER / f"{name}.safetensors"


def load_pretrained(name: str) -> Model:
    """Return a network with its pretrained weights.

    Raises
    ------
    ValueError
        If there are no weights for the network.
    OSError
        If the file was changed.
    """
    from mnistcnn.nn.load import load_model

    card = cards().get(name)
    if card is None:
        hint = did_you_mean(name, cards()) or "."
        raise ValueError(f"there are no pretrained weights for {name!r}{hint} Choose from: {', '.join(cards())}")
    path = weights_file(name)
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.sha256:
        raise OSError(f"{path} was changed: its SHA-256 is not that of its card; install mnistcnn again")
    model = load_model(path)
    model.card = card
    return model
