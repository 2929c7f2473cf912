"""Create the figures of the README and of the pages in docs/pictures.

    python docs/pictures.py                                # train session7_net on MNIST, in about half a minute
    python docs/pictures.py --log experiments.jsonl        # plot the trials that benchmarks/accuracy.py logged
    python docs/pictures.py --data digits --epochs 1       # quick try

The test of the demo creates its screenshot: ``MNISTCNN_SCREENSHOTS=docs/pictures pytest tests/python/test_demo.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

import mnistcnn
from mnistcnn.transforms import Cutout, ElasticDistortion, Rotation

HERE = Path(__file__).parent / "pictures"
STEPS = [Rotation(15), ElasticDistortion(), Cutout(8, p=0.5)]


def save(figure: Any, name: str, folder: Path) -> None:
    """Save a figure as a small PNG."""
    figure.savefig(folder / f"{name}.png", dpi=80, bbox_inches="tight", pad_inches=0.1, facecolor="white")
    plt.close(figure)


def montage(history: mnistcnn.History, result: mnistcnn.TestResult, model: mnistcnn.Model, data: Any) -> Any:
    """Return a figure with curves on the left, misclassified images and their Grad-CAM maps on the right."""
    figure = plt.figure(figsize=(13, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
    mnistcnn.plot.curves(history, axes=left.subplots(2, 1), evaluated="Test")
    above, below = right.subplots(2, 1, height_ratios=[1.35, 1])
    mnistcnn.plot.mistakes(result, data, count=10, ax=above, title=f"Mistakes (accuracy {result.accuracy:.2%})")
    wrong = [each.index for each in result.mistakes[:6]]
    mnistcnn.plot.grad_cam(model, data[wrong], count=6, columns=6, ax=below, title="Grad-CAM of the predicted class")
    return figure


def figures_of_run(data: str, images: int | None, epochs: int | None) -> dict[str, Any]:
    """Train session7_net with its published recipe, evaluated on the test set after every epoch; return the figures."""
    train_set, test_set = mnistcnn.load(data)
    train_set = train_set[:images]
    recipe = mnistcnn.recipe("session7_net").replace(seed=1)
    recipe = recipe if epochs is None else recipe.replace(epochs=epochs)
    model = mnistcnn.create_model("session7_net", seed=1)
    history = mnistcnn.train(model, train_set, recipe, validation=test_set, progress=False)
    result = mnistcnn.test(model, test_set, progress=False)
    found = mnistcnn.find_lr(mnistcnn.create_model("session7_net"), train_set)
    return {
        "readme": montage(history, result, model, test_set),
        "curves": mnistcnn.plot.curves(history, evaluated="Test"),
        "mistakes": mnistcnn.plot.mistakes(result, test_set),
        "confusion": mnistcnn.plot.confusion(result),
        "grad_cam": mnistcnn.plot.grad_cam(model, test_set, count=8),
        "augmented": mnistcnn.plot.augmented(train_set, STEPS, count=8, versions=3),
        "find_lr": mnistcnn.plot.lr_finder(found),
    }


def figures_of_log(log: Path) -> dict[str, Any]:
    """Return the figure of the trials of every experiment in a log."""
    return {"trials": mnistcnn.plot.trials(list(mnistcnn.experiments(log)))}


def main() -> None:
    """Create the figures and save them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number")
    parser.add_argument("--images", type=int, help="train on this many images only")
    parser.add_argument("--log", type=Path, help="plot the trials of this experiment log instead of a run")
    parser.add_argument("--folder", type=Path, default=HERE)
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    figures = (
        figures_of_log(options.log) if options.log else figures_of_run(options.data, options.images, options.epochs)
    )
    for name, figure in figures.items():
        save(figure, name, options.folder)


if __name__ == "__main__":
    main()
