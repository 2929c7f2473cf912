"""Draws the pictures of the README and of the pages into docs/pictures.

    python docs/pictures.py                                # trains session7_net on the real MNIST, half a minute
    python docs/pictures.py --log experiments.jsonl        # the trials that benchmarks/accuracy.py logged, as dots
    python docs/pictures.py --data digits --epochs 1       # to try it out

The demo's picture is taken by its test: ``MNISTCNN_SCREENSHOTS=docs/pictures pytest tests/python/test_demo.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

import mnistcnn

HERE = Path(__file__).parent / "pictures"
STEPS = [
    mnistcnn.transforms.Rotation(15),
    mnistcnn.transforms.ElasticDistortion(),
    mnistcnn.transforms.Cutout(8, p=0.5),
]


def save(figure: Any, name: str, folder: Path) -> None:
    """As a small PNG."""
    figure.savefig(folder / f"{name}.png", dpi=80, bbox_inches="tight", pad_inches=0.1, facecolor="white")
    plt.close(figure)


def montage(history: mnistcnn.History, result: mnistcnn.TestResult, model: mnistcnn.Model, data: Any) -> Any:
    """Curves on the left; mistakes and where their evidence lies on the right."""
    figure = plt.figure(figsize=(13, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
    mnistcnn.plot.curves(history, axes=left.subplots(2, 2).ravel(), evaluated="Test")
    above, below = right.subplots(2, 1, height_ratios=[1.35, 1])
    mnistcnn.plot.mistakes(result, data, count=10, ax=above, title=f"Mistakes ({result.accuracy:.2%} right)")
    wrong = [each.index for each in result.mistakes[:6]]
    mnistcnn.plot.grad_cam(model, data[wrong], count=6, columns=6, ax=below, title="Where the evidence lay (Grad-CAM)")
    return figure


def of_a_run(data: str, images: int | None, epochs: int | None) -> dict[str, Any]:
    """Trains session7_net as the README does, but with the test set in view, and looks at it from all sides."""
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


def of_a_log(log: Path) -> dict[str, Any]:
    """The seeds of every experiment in a log, as dots."""
    return {"trials": mnistcnn.plot.trials(list(mnistcnn.experiments(log)))}


def main() -> None:
    """Trains, tests, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=("mnist", "digits"))
    parser.add_argument("--epochs", type=int, help="other than the recipe's")
    parser.add_argument("--images", type=int, help="train on the first so many only")
    parser.add_argument("--log", type=Path, help="draw the trials of this experiment log instead of a run")
    parser.add_argument("--folder", type=Path, default=HERE)
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    pictures = of_a_log(options.log) if options.log else of_a_run(options.data, options.images, options.epochs)
    for name, figure in pictures.items():
        save(figure, name, options.folder)


if __name__ == "__main__":
    main()
