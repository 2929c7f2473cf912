"""Options that several commands share, and checks of their values."""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistcnn.cli.output import print_message

if TYPE_CHECKING:
    from mnistcnn.data.image_set import ImageSet
    from mnistcnn.nn.model import Model


class Data(str, Enum):
    """Data set to train or test on."""

    auto = "auto"
    mnist = "mnist"
    fashion_mnist = "fashion_mnist"
    kmnist = "kmnist"
    qmnist = "qmnist"
    emnist_balanced = "emnist-balanced"
    emnist_byclass = "emnist-byclass"
    emnist_bymerge = "emnist-bymerge"
    emnist_letters = "emnist-letters"
    emnist_digits = "emnist-digits"
    emnist_mnist = "emnist-mnist"
    digits = "digits"


DataOption = Annotated[
    Data, typer.Option(help="Data set; auto selects MNIST, or the synthetic digits if MNIST is not available.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ModelArgument = Annotated[str, typer.Argument(help="Published network; see `mnistcnn models`.")]
ModelOrFile = Annotated[str, typer.Argument(help="Published network, or file of a saved model.")]
_TRAINED = "File of a saved model, or network with pretrained weights."
TrainedModel = Annotated[str, typer.Argument(help=_TRAINED)]
_THREADS = "Number of threads of the engine. Default: one per physical core."
ThreadsOption = Annotated[int | None, typer.Option(min=1, help=_THREADS)]
EngineOption = Annotated[str, typer.Option(help="Engine: auto, lanes or aten.")]
ImagesOption = Annotated[int | None, typer.Option(min=1, help="Train on the first N training images only.")]
SeedOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Seed of the initial weights, the data order, dropout, augmentation and the held-out images. "
        "Default: that of the recipe, otherwise 0.",
    ),
]

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
DEFAULT_FILE = Path("session7_net.safetensors")  # which `mnistcnn train` writes by default
DEFAULT_NETWORK = "record_8k"  # its pretrained weights are used if there is no DEFAULT_FILE
TRAINED_OR_DEFAULT = f"{_TRAINED} Default: {DEFAULT_FILE} if it exists, otherwise {DEFAULT_NETWORK}."  # a help text


def load(data: Data, images: int | None = None) -> tuple[ImageSet, ImageSet]:
    """Return the training set, limited to its first ``images`` images if given, and the test set."""
    from mnistcnn.data import datasets

    if data is not Data.auto:
        train_set, test_set = datasets.load(data.value)
        return train_set[:images], test_set
    train_set, test_set, message = datasets.load_auto()
    if message:
        print_message(message)
    return train_set[:images], test_set


def create_network(model: str, train_set: ImageSet, seed: int) -> Model:
    """Create a published network with the channels and classes of a training set, and print their sizes to stderr."""
    import mnistcnn

    network = mnistcnn.create_model(model, max(10, train_set.num_classes), train_set.shape[0], seed=seed)
    print_message(
        f"{network.name}: {network.parameter_count:,} parameters; {train_set.name}: {len(train_set):,} images"
    )
    return network


def load_or_create(model: str, *, pretrained: bool = False) -> Model:
    """Load a saved model, or create a published network with newly initialised or pretrained weights."""
    import mnistcnn

    if is_saved_model(model):
        return mnistcnn.load_model(model)
    check_network(model)
    return mnistcnn.create_model(model, pretrained=pretrained)


def load_trained(model: str | None) -> Model:
    """Load a saved model, or a published network with pretrained weights.

    None: the model that `mnistcnn train` saves, or pretrained weights if it does not exist; prints which to stderr.
    """
    if model is None:
        exists = DEFAULT_FILE.exists()
        model = str(DEFAULT_FILE) if exists else DEFAULT_NETWORK
        print_message(f"model: {model}" if exists else f"model: {model} with pretrained weights")
    return load_or_create(model, pretrained=True)


def is_saved_model(model: str) -> bool:
    """Return whether ``model`` is the path of a saved model."""
    return model.endswith(".safetensors") or Path(model).is_file()


def check_writable(path: Path | None, *, option: str, endings: tuple[str, ...] = (), replaced: bool = True) -> None:
    """Raise typer.BadParameter unless ``path`` is writable and its suffix is in ``endings``. Called before any work.

    ``replaced`` is False for a file to which lines are appended; it may be a device such as /dev/null.
    """
    if path is None:
        return
    folder = path.absolute().parent
    problem = ""
    if endings and path.suffix.lower() not in endings:
        names = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        problem = f"it must name a {names} file, got {path}"
    elif path.is_dir():
        problem = f"{path} is a directory; give the path of a file"
    elif replaced and path.exists() and not path.is_file():
        problem = f"{path} is a device or a pipe; give the path of a file"
    elif not folder.is_dir():
        problem = f"the directory {folder} does not exist"
    elif not replaced and path.exists():
        problem = "" if os.access(path, os.W_OK) else f"{path} is not writable"
    elif not os.access(folder, os.W_OK):
        problem = f"the directory {folder} is not writable"
    if problem:
        raise typer.BadParameter(problem, param_hint=f"'{option}'")


def check_distinct(files: dict[str, Path | None]) -> None:
    """Raise typer.BadParameter if two options name the same file. Called before any work."""
    seen: dict[Path, str] = {}
    for option, path in files.items():
        if path is not None and seen.setdefault(path.resolve(), option) != option:
            raise typer.BadParameter(f"it names the file of {seen[path.resolve()]}, {path}", param_hint=f"'{option}'")


def networks(pattern: str) -> list[str]:
    """Return the published networks that match a pattern. Raise typer.BadParameter if there are none."""
    import mnistcnn

    names = mnistcnn.list_models(pattern)
    if not names:
        raise typer.BadParameter(f"no model matches {pattern!r}; available: {', '.join(mnistcnn.list_models())}")
    return names


def check_network(name: str) -> None:
    """Raise typer.BadParameter unless ``name`` is a published network. Called before any download."""
    from mnistcnn.nn.zoo import check_name

    if re.search(r"\.py\b", name):
        raise typer.BadParameter(
            f"{name} is not a published network; train your own class in Python with mnistcnn.train, or with "
            "`mnistcnn check FILE.py:CLASS`"
        )
    if is_saved_model(name):
        raise typer.BadParameter(
            f"{name} is a file, but this command creates a published network; train a saved model in Python: "
            f"mnistcnn.train(mnistcnn.load_model({name!r}), train_set)"
        )
    try:
        check_name(name)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; to list them: mnistcnn models") from None


def check_percentage(value: float | None) -> float | None:
    """Return ``value``. Raise typer.BadParameter if it is a fraction such as 0.994 instead of a percentage."""
    if value is not None and 0 < value < 1:
        raise typer.BadParameter(
            f"it must be a percentage such as 99.4, got {value:g}; for {100 * value:g} % pass {100 * value:g}"
        )
    return value


def check_engine(engine: str) -> None:
    """Raise typer.BadParameter unless ``engine`` is the name of an engine."""
    from mnistcnn.nn.engine_choice import ENGINES

    if engine not in ENGINES:
        raise typer.BadParameter(
            f"it must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}", param_hint="'--engine'"
        )
