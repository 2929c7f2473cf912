"""Options that several commands share, and the checks that are made before any work."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistcnn.cli.output import say

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model


class Data(str, Enum):
    """What to train or test on."""

    auto = "auto"
    mnist = "mnist"
    fashion_mnist = "fashion_mnist"
    kmnist = "kmnist"
    qmnist = "qmnist"
    digits = "digits"


DataOption = Annotated[
    Data, typer.Option(help="The data set; auto is MNIST, or the drawn digits where MNIST can't be had.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ModelArgument = Annotated[str, typer.Argument(help="A published network; see `mnistcnn models`.")]
ModelOrFile = Annotated[str, typer.Argument(help="A published network, or the file of a saved model.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of the engine; by default all cores.")]
EngineOption = Annotated[str, typer.Option(help="auto, lanes or aten.")]
ImagesOption = Annotated[int | None, typer.Option(min=1, help="Train on the first so many images only.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Decides weights, order and dropout.")]

PICTURES = (".png", ".svg", ".pdf")


def load(data: Data, images: int | None = None) -> tuple[ImageSet, ImageSet]:
    """The training set, or its first images, and the test set."""
    from mnistcnn.data import datasets

    if data is not Data.auto:
        train_set, test_set = datasets.load(data.value)
        return train_set[:images], test_set
    train_set, test_set, message = datasets.load_auto()
    if message:
        say(message)
    return train_set[:images], test_set


def network_for(model: str, train_set: ImageSet, seed: int) -> Model:
    """A published network with fresh weights that fits a training set, and a line that says so."""
    import mnistcnn

    network = mnistcnn.create_model(model, max(10, train_set.num_classes), train_set.shape[0], seed=seed)
    say(f"{network.name}: {network.parameter_count:,} parameters; {train_set.name}: {len(train_set):,} images")
    return network


def named_model(model: str) -> Model:
    """A published network with fresh weights, or a saved model."""
    import mnistcnn

    if is_file(model):
        return mnistcnn.load_model(model)
    check_network(model)
    return mnistcnn.create_model(model)


def is_file(model: str) -> bool:
    """Whether a model is named by its file."""
    return model.endswith(".safetensors") or Path(model).is_file()


def check_target(path: Path | None, *, option: str = "", endings: tuple[str, ...] = ()) -> None:
    """What can't be written is told before the work, not after it."""
    if path is None:
        return
    if endings and path.suffix.lower() not in endings:
        raise ValueError(
            f"{option} must name a {' or '.join(filter(None, (', '.join(endings[:-1]), endings[-1])))} file, got {path}"
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"the folder {folder} can't be written to")


def check_network(name: str) -> None:
    """Before any download; an unknown one is a command that was written wrongly."""
    from mnistcnn.nn.zoo import check_name

    try:
        check_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def check_engine(engine: str) -> None:
    """As `check_network`."""
    from mnistcnn.nn.model import ENGINES

    if engine not in ENGINES:
        raise typer.BadParameter(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}")
