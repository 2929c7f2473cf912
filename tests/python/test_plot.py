"""Plots: returned figures, drawn values and legibility."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import mnistcnn
from mnistcnn import History, plot
from mnistcnn.callbacks import EpochRecord
from mnistcnn.plot.style import colours, markers
from studies import made_setting, made_trials

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def tested(digits: Any) -> tuple[mnistcnn.Model, mnistcnn.ImageSet, mnistcnn.TestResult]:
    model, data = mnistcnn.create_model("session7_net", seed=1), digits[1][:200]
    return model, data, mnistcnn.test(model, data, progress=False)


LEARNING_RATES = SimpleNamespace(
    learning_rates=[1e-3, 1e-2, 1e-1, 1], losses=[2.0, 1.0, 0.5, float("nan")], suggestion=0.03
)
ITEM = (np.zeros((1, 28, 28), np.uint8), 7)  # as an `ImageSet` returns for an index
NETWORKS = {"small": (4_500, 0.985), "large": (320_000, [0.991, 0.993])}
PLOTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "augmented": lambda model, data, result, **o: plot.augmented(data, [mnistcnn.transforms.Rotation(30)], **o),
    "confusion": lambda model, data, result, **o: plot.confusion(result, **o),
    "feature_maps": lambda model, data, result, **o: plot.feature_maps(model, data, "convblock2", **o),
    "filters": lambda model, data, result, **o: plot.filters(model, **o),
    "grad_cam": lambda model, data, result, **o: plot.grad_cam(model, data, **o),
    "images": lambda model, data, result, **o: plot.images(data, **o),
    "lr_finder": lambda model, data, result, **o: plot.lr_finder(LEARNING_RATES, **o),
    "mistakes": lambda model, data, result, **o: plot.mistakes(result, data, **o),
    "parameters_against_accuracy": lambda model, data, result, **o: plot.parameters_against_accuracy(NETWORKS, **o),
    "per_class": lambda model, data, result, **o: plot.per_class(result, **o),
    "receptive_field": lambda model, data, result, **o: plot.receptive_field(model, data, **o),
    "reliability": lambda model, data, result, **o: plot.reliability(result, **o),
    "roofline": lambda model, data, result, **o: plot.roofline(mnistcnn.profile.profile(model, seconds=0.05), **o),
    "saliency": lambda model, data, result, **o: plot.saliency(model, data, **o),
    "trials": lambda model, data, result, **o: plot.trials({"a": [0.98, 0.99], "b": [0.99]}, **o),
}


def test_table_has_all_plot_functions():
    assert {*PLOTS, "curves", "LiveCurves"} == set(plot.__all__)


@pytest.mark.parametrize("name", PLOTS)
def test_plots_return_a_new_figure_or_draw_into_ax(name: str, tested: Any):
    from matplotlib import pyplot as plt

    before = dict(matplotlib.rcParams)
    figure = PLOTS[name](*tested, title="a title")
    assert isinstance(figure, matplotlib.figure.Figure)
    assert not plt.get_fignums()  # pyplot must not keep figures alive if the backend has no windows
    assert "a title" in {ax.get_title(loc) for ax in figure.axes for loc in ("left", "center")}
    figure.savefig(io.BytesIO())
    _, axes = plt.subplots(1, 2)
    assert PLOTS[name](*tested, ax=axes[1]) is axes[1]
    assert axes[1].has_data()
    assert not axes[0].has_data()
    assert dict(matplotlib.rcParams) == before
    axes[0].figure.savefig(io.BytesIO())


@pytest.mark.parametrize("name", PLOTS)
def test_texts_are_inside_the_figure(name: str, tested: Any):
    figure = PLOTS[name](*tested)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    ticks = {label for ax in figure.axes for label in (*ax.get_xticklabels(), *ax.get_yticklabels())}
    minor = {label for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for label in axis.get_ticklabels(minor=True)}
    for text in set(figure.findobj(matplotlib.text.Text)) - ticks - minor:  # findobj also returns invisible tick labels
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            inside = box.x0 >= -2 and box.y0 >= -2 and box.x1 <= width + 2 and box.y1 <= height + 2
            assert inside, f"{text.get_text()!r} at {box.extents} in {width}x{height}"


def test_plots_keep_the_style_of_the_user(tested: Any):
    from matplotlib import pyplot as plt

    with plt.style.context("dark_background"):
        figure = plot.confusion(tested[2])
    assert figure.get_facecolor()[:3] == (0, 0, 0)
    assert matplotlib.colors.to_rgb(figure.axes[0].xaxis.label.get_color()) == (1, 1, 1)


@pytest.fixture(autouse=True)
def _no_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from matplotlib import pyplot as plt

    backend = matplotlib.get_backend()
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a plot was shown"))
    yield
    matplotlib.pyplot.close("all")
    plt.switch_backend(backend)


def history(seed: int = 1, epochs: int = 5, validated: bool = True) -> History:
    records = [
        EpochRecord(
            epoch,
            1 / epoch + 0.1 * seed,
            1 - 0.3 / epoch,
            0.8 / epoch if validated else None,
            1 - 0.2 / epoch if validated else None,
            0.01,
            1.0,
        )
        for epoch in range(1, epochs + 1)
    ]
    return History("session7_net", seed, records)


def values(ax: Any, line: int = 0) -> list[float]:
    return ax.lines[line].get_ydata().tolist()


def test_curves_draw_training_and_validation_on_the_same_axes():
    figure = mnistcnn.plot.curves(history())
    assert isinstance(figure, matplotlib.figure.Figure)
    assert [ax.get_title() for ax in figure.axes] == ["Loss", "Accuracy"]
    loss, accuracy = figure.axes
    assert values(loss, 0) == history().column("train_loss").tolist()
    assert values(loss, 1) == history().column("validation_loss").tolist()
    assert values(accuracy, 0) == (100 * history().column("train_accuracy")).tolist()
    assert values(accuracy, 1) == (100 * history().column("validation_accuracy")).tolist()
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy (%)"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["epoch", "epoch"]
    assert [line.get_linestyle() for line in loss.lines] == ["--", "-"]
    assert legend_texts(loss) == ["Training 0.3000", "Validation 0.1600"]
    assert legend_texts(accuracy) == ["Training 94.00 %", "Validation 96.00 %"]
    figure.canvas.draw()


def test_curves_of_several_histories_have_a_legend():
    figure = mnistcnn.plot.curves([history(1), history(2, epochs=3)])
    assert all(len(ax.lines) == 4 for ax in figure.axes)
    assert values(figure.axes[0], 2) == history(2, epochs=3).column("train_loss").tolist()
    assert run_names(figure) == ["session7_net, training seed 1", "session7_net, training seed 2"]
    first, first_validation, second, second_validation = (line.get_color() for line in figure.axes[0].lines)
    assert first == first_validation != second == second_validation
    figure.canvas.draw()


def test_curves_number_runs_of_the_same_training_seed():
    figure = mnistcnn.plot.curves([history(0), history(0), history(2)], band=False)
    assert run_names(figure) == [
        "session7_net, training seed 0, run 1",
        "session7_net, training seed 0, run 2",
        "session7_net, training seed 2",
    ]


def test_curves_with_and_without_validation():
    figure = mnistcnn.plot.curves([history(1), history(2, validated=False)])
    assert [len(ax.lines) for ax in figure.axes] == [3, 3]
    assert run_names(figure) == ["session7_net, training seed 1", "session7_net, training seed 2"]


@pytest.mark.parametrize(("first_loss", "hidden"), [(9.0, True), (0.8, False), (float("nan"), False)])
def test_curves_leave_an_extreme_first_epoch_outside_of_the_axes(first_loss: float, hidden: bool):
    losses = [first_loss, 0.6, 0.4, 0.3]
    records = [EpochRecord(epoch, loss, 0.9, 0.5, 0.9, 0.01, 1.0) for epoch, loss in enumerate(losses, start=1)]
    loss = plot.curves(History("net", 0, records)).axes[0]
    low, high = loss.get_ylim()
    assert low < 0.3 < 0.6 < high
    assert (high < first_loss) == hidden
    assert len(loss.collections) == hidden  # a triangle at the edge
    np.testing.assert_equal(values(loss), losses)


def test_curves_of_three_epochs_show_the_first_epoch():
    records = [EpochRecord(epoch, loss, 0.9, 0.3, 0.9, 0.01, 1.0) for epoch, loss in enumerate((9.0, 0.4, 0.3), 1)]
    assert plot.curves(History("net", 0, records)).axes[0].get_ylim()[1] > 9


def legend_texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def run_names(figure: Any, evaluated: str = "Validation") -> list[str]:
    """Return the names of the runs in the legend of a figure; after them it has the two line styles."""
    (legend,) = _legends(figure)
    *names, training, validation = (text.get_text() for text in legend.get_texts())
    assert (training, validation) == ("Training", evaluated)
    return names


def _legends(figure: Any) -> list[Any]:
    return [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]


def test_curves_without_validation_have_one_line():
    figure = mnistcnn.plot.curves(history(validated=False))
    assert [ax.get_title() for ax in figure.axes] == ["Training loss", "Training accuracy"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["epoch", "epoch"]
    assert [len(ax.lines) for ax in figure.axes] == [1, 1]
    assert figure.axes[0].lines[0].get_linestyle() == "-"
    figure.canvas.draw()


def test_curves_of_one_epoch_in_a_given_figure():
    figure = matplotlib.figure.Figure()
    assert mnistcnn.plot.curves(history(epochs=1), figure=figure) is figure
    assert len(figure.axes) == 2
    figure.savefig(__import__("io").BytesIO())


def test_curves_without_epochs_raise():
    for nothing in ([], History(), [history(), History()]):
        with pytest.raises(ValueError, match="there is nothing to draw"):
            mnistcnn.plot.curves(nothing)


def test_curves_of_three_seeds_are_mean_and_standard_deviation():
    figure = plot.curves([history(1), history(2), history(4)])
    loss = figure.axes[0]
    assert len(loss.lines) == 2
    runs = np.stack([history(seed).column("train_loss") for seed in (1, 2, 4)])
    np.testing.assert_allclose(values(loss), runs.mean(0))
    edges = loss.collections[0].get_paths()[0].vertices
    assert edges[:, 1].max() == pytest.approx((runs.mean(0) + runs.std(0, ddof=1)).max())
    assert edges[:, 1].min() == pytest.approx((runs.mean(0) - runs.std(0, ddof=1)).min())
    assert loss.get_legend().get_title().get_text() == "session7_net, mean ± sd of 3"
    assert len(plot.curves([history(1), history(2), history(4)], band=False).axes[0].lines) == 6
    assert len(plot.curves([history(1), history(2)], band=True).axes[0].lines) == 2


def test_curves_group_trials_by_recipe():
    turned = mnistcnn.recipe("session7_net", "rotation").describe()
    first, second = made_trials(), replace(made_trials(), setting=made_setting(recipe=turned))
    figure = plot.curves([first, second])
    names = [text.get_text() for legend in _legends(figure) for text in legend.get_texts()]
    assert names == ["session7_net, mean ± sd of 3", "session7_net (rotation), mean ± sd of 3"]


def test_results_of_one_network_are_named_by_their_recipes():
    settings = [made_setting(recipe=mnistcnn.Recipe(epochs=5, batch_size=size).describe()) for size in (128, 16)]
    results = [replace(made_trials(), setting=each) for each in settings]
    wanted = ["session7_net", "session7_net: batch_size 16"]
    rows = plot.trials(results).axes[0].get_yticklabels()
    assert [text.get_text() for text in rows] == wanted
    legend = [text.get_text() for each in _legends(plot.curves(results)) for text in each.get_texts()]
    assert legend == [f"{name}, mean ± sd of 3" for name in wanted]
    assert [text.get_text() for text in plot.parameters_against_accuracy(results).axes[0].texts] == wanted
    same = plot.trials([results[0], results[0]]).axes[0].get_yticklabels()
    assert [text.get_text() for text in same] == ["session7_net", "session7_net"]


def test_descriptions_of_recipes_are_inside_the_figure():
    recipe = mnistcnn.Recipe(
        schedule=mnistcnn.optim.OneCycleLR(max_lr=0.1), augment=[mnistcnn.transforms.Rotation(degrees=10)]
    )
    results = [
        replace(made_trials(), setting=made_setting("compact_network", recipe=each.describe()))
        for each in (mnistcnn.Recipe(), recipe)
    ]
    figure = plot.trials(results)
    names = figure.axes[0].get_yticklabels()
    assert [text.get_text() for text in names] == [
        "compact_network",
        "compact_network: OneCycleLR(max_lr=0.1),\nRotation(degrees=(-10.0, 10.0))",
    ]
    boxes = _boxes(figure, [*names, figure.axes[0].xaxis.label])
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    figure = plot.curves(results)
    boxes = _boxes(figure, [text for legend in _legends(figure) for text in legend.get_texts()])
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_captions_with_long_class_names_have_two_lines(tested: Any):
    model, data, _ = tested
    named = mnistcnn.ImageSet.from_arrays(data.images, data.labels, classes=[f"class {each}" for each in range(10)])
    texts = [text.get_text() for text in plot.grad_cam(model, named, target=3, count=4).axes[0].texts]
    assert any(text.startswith("class 3\n(true class ") for text in texts)


def test_parameters_against_accuracy_accepts_trials():
    other = replace(made_trials(), setting=made_setting("other", parameters=9**6))
    figure = plot.parameters_against_accuracy([made_trials(), other], target=0.994)
    assert {text.get_text() for text in figure.axes[0].texts} == {"session7_net", "other"}
    named = plot.parameters_against_accuracy({"mine": made_trials()})
    assert [text.get_text() for text in named.axes[0].texts] == ["mine"]


def test_labels_of_points_are_inside_the_axes():
    sizes = {f"a network of a long name, {n}": (7_600 + 10 * n, 0.99 + 0.0001 * n) for n in range(5)}
    figure = plot.parameters_against_accuracy(sizes | {"large": (98_000, 0.992)})
    figure.canvas.draw()
    left = figure.axes[0].get_window_extent().x0
    assert all(text.get_window_extent().x0 >= left for text in figure.axes[0].texts)


def test_curves_accepts_a_mapping_of_names():
    trials = SimpleNamespace(histories=(history(1), history(2), history(3)))
    figure = plot.curves({"plain": history(1), "many": trials}, evaluated="Test")
    assert run_names(figure, "Test") == ["plain", "many, mean ± sd of 3"]


def test_curves_in_given_axes():
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2)
    assert plot.curves([history(1), history(2)], axes=axes) is figure
    assert all(len(ax.lines) == 4 for ax in axes)
    assert not figure.legends  # it could overlap other axes
    assert [legend_texts(ax) for ax in axes] == [
        ["session7_net, training seed 1", "session7_net, training seed 2"],
        ["Training", "Validation"],
    ]
    with pytest.raises(ValueError, match="axes must be two axes, for loss and accuracy, got 4"):
        plot.curves(history(), axes=plt.subplots(2, 2)[1])
    with pytest.raises(TypeError, match="got int"):
        plot.curves(3)


def test_confusion_shows_all_numbers(tested: Any):
    result = tested[2]
    shown = [text.get_text() for text in plot.confusion(result).axes[0].texts]
    assert shown == [str(count) if count else "·" for count in result.confusion.ravel()]
    rows = 100 * result.confusion / np.maximum(result.confusion.sum(1, keepdims=True), 1)
    shown = [text.get_text() for text in plot.confusion(result, normalize=True).axes[0].texts]
    assert shown == [f"{value:.1f}" if value else "·" for value in rows.ravel()]


def test_mistakes_plots_the_mistakes_of_the_result(tested: Any):
    _, data, result = tested
    ax = plot.mistakes(result, data, count=7).axes[0]
    assert [text.get_text() for text in ax.texts] == [
        f"pred {each.prediction}, true {each.label}\n{100 * each.confidence:.1f} %" for each in result.mistakes[:7]
    ]
    first = 1 - np.asarray(ax.images[0].get_array())[..., 0]
    np.testing.assert_allclose(255 * first, data.images[result.mistakes[0].index, 0], atol=1e-3)
    one = result.confusions[0]
    chosen = plot.mistakes(result, data, chosen=result.mistakes_between(one.label, one.prediction), count=99)
    assert len(chosen.axes[0].images) == one.count
    with pytest.raises(ValueError, match=r"data .* 200 images, got 5 images"):
        plot.mistakes(result, data[:5])
    with pytest.raises(ValueError, match="data must be the data set that was tested, got one with other labels"):
        plot.mistakes(result, data[::-1])


def test_per_class_and_reliability_plot_the_scores_of_the_result(tested: Any):
    result = tested[2]
    scored = plot.per_class(result).axes[0]
    assert not scored.containers, "no bars, because the axis does not start at zero"
    for line, name in zip(scored.lines, ("precision", "recall", "f1"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [100 * getattr(score, name) for score in result.per_class])
    calibration = result.calibration(10)
    ax = plot.reliability(result, bins=10).axes[0]
    heights = [bar.get_height() for container in ax.containers for bar in container]
    np.testing.assert_allclose(heights, [100 * each for each in calibration.accuracies if each == each])
    assert f"ECE {100 * calibration.expected_error:.2f} %" in ax.get_title()


def test_plots_of_outputs_that_are_not_finite(tested: Any):
    _, data, result = tested
    broken = replace(result, probabilities=np.full_like(result.probabilities, np.nan))
    for figure in (plot.reliability(broken), plot.mistakes(broken, data)):
        texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
        assert any("-" in text for text in texts)
        assert not any("nan" in text for text in texts)


def test_trials_plots_accuracies_mean_and_interval():
    ax = plot.trials({"a": [0.98, 0.99, 0.985]}, target=0.994).axes[0]
    assert sorted(ax.collections[0].get_offsets()[:, 0]) == pytest.approx([98, 98.5, 99])
    interval, mean, target = (line.get_xdata() for line in ax.lines)
    assert list(mean) == pytest.approx([98.5])
    half = 4.30265273 * 0.5 / 3**0.5  # Student's t for 2 degrees of freedom
    assert list(interval) == pytest.approx([98.5 - half, 98.5 + half], abs=1e-6)
    assert target[0] == pytest.approx(99.4)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_one_or_three_channels(channels: int):
    images = np.random.default_rng(1).integers(0, 256, (12, channels, 9, 7), dtype=np.uint8)
    ax = plot.images(images, labels=range(12), columns=4).axes[0]
    assert [text.get_text() for text in ax.texts] == [str(each) for each in range(12)]
    shown = np.asarray(ax.images[5].get_array())
    wanted = np.moveaxis(images[5], 0, -1) / 255 if channels == 3 else 1 - images[5, 0][..., None] / 255
    np.testing.assert_allclose(shown, np.broadcast_to(wanted, shown.shape), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: plot.images(np.zeros((2, 28, 28))), TypeError, "uint8"),
        (lambda _: plot.images(np.zeros((2, 2, 28, 28), np.uint8)), ValueError, "1 or 3 channels"),
        (lambda _: plot.images(np.zeros((2, 28, 28), np.uint8), labels=[1]), ValueError, "2 images, got 1 labels"),
        (lambda model: plot.filters(model, "pool1"), ValueError, "'pool1' contains no convolution"),
        (lambda model: plot.filters(model, "pool9"), ValueError, "did you mean 'pool1'"),
        (
            lambda model: plot.feature_maps(model, np.zeros((1, 28, 28), np.uint8), "flatten"),
            ValueError,
            "layer must have .*'flatten'",
        ),
        (
            lambda _: plot.images(np.zeros((2, 28, 28), np.uint8), columns=0),
            ValueError,
            "columns must be an integer of at least 1, got 0",
        ),
        (
            lambda model: plot.grad_cam(model, np.zeros((1, 28, 28), np.uint8), columns=0),
            ValueError,
            "columns must be an integer of at least 1, got 0",
        ),
        *(
            (
                call,
                TypeError,
                r"images must be .*, got tuple; an item of an ImageSet is \(image, label\): pass its image",
            )
            for call in (
                lambda model: plot.feature_maps(model, ITEM, "flatten"),
                lambda model: plot.grad_cam(model, ITEM),
                lambda model: plot.saliency(model, ITEM),
                lambda model: plot.receptive_field(model, ITEM),
                lambda _: plot.images(ITEM),
            )
        ),
        (
            lambda model: plot.curves(model),
            TypeError,
            r"history must be .* got Model; pass its history: model\.history",
        ),
        (lambda model: plot.confusion(model), TypeError, "result must be a TestResult of .*got Model$"),
        (lambda model: plot.reliability(model), TypeError, "result must be a TestResult of .*got Model$"),
        (lambda model: plot.mistakes(model, None), TypeError, "result must be a TestResult of .*got Model$"),
        (lambda _: plot.trials([[0.98]]), TypeError, "a result must be one of mnistcnn.run_trials, got list"),
        (
            lambda _: plot.images(np.zeros((2, 28, 28), np.uint8), count=-1),
            ValueError,
            "count must be an integer of at least 1, got -1",
        ),
        (lambda _: plot.trials({}), ValueError, "nothing to draw"),
        (lambda _: plot.trials({"a": [0.98]}, target=99.4), ValueError, "target must .* got 99.4; .* pass 0.994"),
        (
            lambda _: plot.parameters_against_accuracy({"a": (7_000, 0.98)}, target=99.4),
            ValueError,
            "target must .* got 99.4; .* pass 0.994",
        ),
        (lambda _: plot.parameters_against_accuracy({}), ValueError, "nothing to draw"),
    ],
)
def test_invalid_arguments_raise(call: Any, error: type[Exception], message: str, tested: Any):
    with pytest.raises(error, match=message):
        call(tested[0])


def test_mistakes_without_mistakes_shows_a_note(tested: Any):
    model, data, result = tested
    right = np.flatnonzero(result.predictions == result.labels)
    best = mnistcnn.test(model, data[right], progress=False)
    assert plot.mistakes(best, data[right]).axes[0].texts[0].get_text() == "no mistakes"
    plot.confusion(best).savefig(io.BytesIO())
    plot.per_class(best).savefig(io.BytesIO())


def test_mistakes_and_confusion_draw_into_a_subfigure(digits):
    """A SubFigure of matplotlib has no width in inches."""
    data = digits[1][:100]
    result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
    part = matplotlib.pyplot.figure(layout="constrained").subfigures(1, 2)[1]
    above, below = part.subplots(2, 1)
    assert mnistcnn.plot.mistakes(result, data, ax=above) is above
    assert mnistcnn.plot.confusion(result, ax=below) is below
    matplotlib.pyplot.close("all")


# ---- legibility


def _boxes(figure: Any, texts: Any) -> list[Any]:
    figure.draw_without_rendering()
    return [text.get_window_extent() for text in texts]


def test_row_names_are_inside_the_figure(digits: Any) -> None:
    figure = mnistcnn.plot.augmented(digits[0][:8], [mnistcnn.transforms.Rotation(7)], versions=2)
    boxes = _boxes(figure, [text for text in figure.axes[0].texts if text.get_text()])
    assert len(boxes) == 3
    assert all(box.x0 >= 0 for box in boxes)


def test_grad_cam_maps_are_next_to_their_images(digits: Any) -> None:
    figure = plot.grad_cam(mnistcnn.create_model("session7_net"), digits[1], count=4, columns=2)
    tops = sorted({each.get_extent()[3] for each in figure.axes[0].images})
    bottoms = sorted({each.get_extent()[2] for each in figure.axes[0].images})
    gaps = [top - bottom for bottom, top in zip(bottoms, tops[1:], strict=False)]
    assert len(gaps) == 3  # image, map, image, map
    assert gaps[0] == pytest.approx(gaps[2])
    assert gaps[0] < 0.5 * gaps[1]


@pytest.mark.parametrize("size", [(1.9, 3.0), (1.2, 3.0), (3.0, 1.0)], ids=str)
def test_captions_of_mistakes_do_not_overlap(size: tuple[float, float], digits: Any) -> None:
    from matplotlib.figure import Figure

    data = digits[1][:300]
    result = mnistcnn.test(mnistcnn.create_model("budget_model3"), data, progress=False)
    figure = Figure(figsize=size)
    axes = figure.subplots()
    mnistcnn.plot.mistakes(result, data, ax=axes)
    boxes = _boxes(figure, axes.texts)
    assert len(boxes) == 10
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_sizes_have_short_tick_labels() -> None:
    sizes = {"small": (4_500, 0.985), "large": (7_600, 0.99)}
    axes = mnistcnn.plot.parameters_against_accuracy(sizes, target=0.994).axes[0]
    axes.figure.draw_without_rendering()
    labels = [label.get_text() for label in axes.get_xticklabels(which="both")]
    assert "5k" in labels
    assert not any("^" in label for label in labels)
    assert axes.get_legend().get_texts()[0].get_text() == "target 99.4 %"


def test_legend_describes_mean_and_standard_deviation() -> None:
    record = mnistcnn.callbacks.EpochRecord(1, 0.3, 0.9, 0.1, 0.97, 0.01, 1.0)
    runs = [mnistcnn.History(epochs=[record], model="net", seed=seed) for seed in range(3)]
    legend = mnistcnn.plot.curves(runs).axes[0].get_legend()
    assert legend.get_title().get_text() == "net, mean ± sd of 3"


def test_lines_beyond_the_palette_have_other_markers():
    looks = list(zip(colours(20), markers(20), strict=True))
    assert len(set(looks)) == 20


@pytest.mark.parametrize("values", [[99.1, 99.3], [], 0.9, [[0.9, 0.8]], [0.9, float("nan")]])
def test_trials_of_wrong_accuracies(values: Any):
    with pytest.raises(ValueError, match="the accuracies of 'a' must be a list of at least one number from 0 to 1"):
        plot.trials({"a": values})


@pytest.mark.parametrize("path", ["history.json", Path("history.json")])
def test_curves_of_a_path(path: Any):
    with pytest.raises(TypeError, match=r"got (str|PosixPath); read a file with mnistcnn\.History\.from_json"):
        plot.curves(path)


def test_images_of_a_tensor():
    assert plot.images(torch.zeros(3, 1, 28, 28, dtype=torch.uint8)).axes
