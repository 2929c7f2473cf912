"""`write_report`: a README about the steps of the assignment, with tables, logs and pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Template as Text
from textwrap import dedent
from typing import Any

from mnistcnn._internal.atomic_files import replacing
from mnistcnn._internal.tables import counted, dimensions, markdown_table, write_text
from mnistcnn.course.networks import Network
from mnistcnn.course.project import TEMPLATES
from mnistcnn.data.image_set import ImageSet
from mnistcnn.evaluation.evaluate import test
from mnistcnn.evaluation.results import TestResult
from mnistcnn.nn.model import Model
from mnistcnn.plot import curves, grad_cam, mistakes, trials
from mnistcnn.study.comparison import compare
from mnistcnn.study.job import Template
from mnistcnn.study.student_t import deviation_of, mean_of
from mnistcnn.study.trials import spread
from mnistcnn.training.checkpoints import Checkpoint
from mnistcnn.training.history import History
from mnistcnn.training.recipes import Recipe
from mnistcnn.training.trainer import train

Picture = Callable[[str, Any, str], str]  # saves a figure under a name, and returns Markdown with a caption
_MARK = "<!-- Written by mnistcnn report."  # first line of the README; other files are not overwritten
_PICTURES = "pictures"
_LAST = 3  # epochs at the end of a run in the table of the steps
_IMAGES = 10  # of a picture of mistakes


@dataclass(frozen=True)
class Run:
    """Training run of a step with one seed, and its test after the last epoch."""

    model: Model
    history: History
    result: TestResult


@dataclass(frozen=True)
class Step:
    """Step of the assignment: a network, its recipe and its runs."""

    name: str
    network: Network
    recipe: Recipe
    runs: tuple[Run, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Test accuracies after the last epoch, one for each seed."""
        return tuple(run.result.accuracy for run in self.runs)

    @property
    def accuracy(self) -> str:
        """Mean and standard deviation of the accuracies as text."""
        return spread(mean_of(self.accuracies), deviation_of(self.accuracies))


def check_report_path(path: Path) -> None:
    """Raise an error if the report cannot be written. A file that `write_report` did not write is kept."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the directory {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"the directory {folder} is not writable; give another path with -o")
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(_MARK.encode())):
        raise FileExistsError(f"{path} exists and is not a report of mnistcnn; give another path with -o, or remove it")
    if (folder / _PICTURES).exists() and not (folder / _PICTURES).is_dir():
        raise FileExistsError(
            f"{folder / _PICTURES} must be a directory, for the pictures of the report; remove the file"
        )


def run_step(
    name: str,
    network: Network,
    recipe: Recipe,
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    seeds: int = 1,
    checkpoints: Path | None = None,
    **options: Any,
) -> Step:
    """Train a step with the seeds 0, 1, ... The test set is evaluated after each epoch, as the course does.

    With ``checkpoints``, each run is resumed from its directory; a complete run is read from it.
    """
    template = Template.of(network.model, train_set)
    runs = []
    for seed in range(seeds):
        model = template.model(seed)
        # No best epoch is kept, because it would be selected by the test set.
        checkpoint = checkpoints and Checkpoint(str(checkpoints / name / f"seed-{seed}"), keep_best=0)
        history = train(
            model,
            train_set,
            recipe.replace(seed=seed),
            validation=test_set,
            checkpoint=checkpoint,
            resume=checkpoint is not None,
            **options,
        )
        runs.append(Run(model, history, test(model, test_set, engine=options.get("engine"), progress=False)))
    return Step(name, network, recipe, tuple(runs))


def write_report(path: Path, steps: Sequence[Step], test_set: ImageSet, *, command: str, data: str) -> list[Path]:
    """Write the README and its pictures, and return the paths of all written files.

    Parameters
    ----------
    path
        Path of the README. The pictures are written to the directory ``pictures`` beside it.
    steps
        Results of `run_step`.
    test_set
        Test set of the runs.
    command
        Command that writes the report, which is quoted in it.
    data
        Description of the data set.
    """
    check_report_path(path)
    pictures = path.parent / _PICTURES
    pictures.mkdir(exist_ok=True)
    written: list[Path] = []

    def picture(name: str, figure: Any, caption: str) -> str:
        """Save a figure, and return the Markdown that shows it."""
        with replacing(pictures / f"{name}.png") as file:
            figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
        written.append(pictures / f"{name}.png")
        return f"![{caption}]({_PICTURES}/{name}.png)"

    sections = [_section(step, test_set, picture) for step in steps]
    several = len(steps) > 1 and len(steps[0].runs) > 1
    values = {
        "command": command,
        "data": data,
        "steps": _steps_table(steps),
        "comparison": _comparison(steps, picture) if several else "",
        "sections": "\n".join(sections),
    }
    write_text(path, _filled("readme.md", values))
    return [path, *written]


def _filled(template: str, values: Mapping[str, str]) -> str:
    text = Text((TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)
    return re.sub(r"\n{3,}", "\n\n", text)


def _percent(values: Sequence[float]) -> str:
    return f"{', '.join(f'{100 * each:.2f}' for each in values)} %"


def _steps_table(steps: Sequence[Step]) -> str:
    headings = ["step", "parameters", "receptive field", "epochs", "train accuracy", "test accuracy"]
    rows = [[*headings, "last epochs of seed 0"]]
    for step in steps:
        first = step.runs[0].history
        rows.append(
            [
                f"[{step.name}](#{step.name.lower()})",
                f"{step.network.parameters:,}",
                str(step.network.model.summary().receptive_field),
                str(len(first)),
                _percent([mean_of(tuple(run.history.last.train_accuracy for run in step.runs))]),
                step.accuracy,
                _percent([each.validation_accuracy or 0.0 for each in first.epochs[-_LAST:]]),
            ]
        )
    return markdown_table(rows[0], rows[1:])


def _comparison(steps: Sequence[Step], picture: Picture) -> str:
    """Return the section that compares each step with the one before it, from all seeds."""
    lines = ["## Comparison", picture("comparison", trials({step.name: step.accuracies for step in steps}), "Accuracy")]
    for before, step in pairwise(steps):
        found = compare(step.accuracies, before.accuracies, names=(step.name, before.name))
        numbers = repr(found).partition("\n")[2]
        lines += [f"**{step.name} and {before.name}:** {found.verdict}.", f"```text\n{dedent(numbers)}\n```"]
    return "\n\n".join(lines)


def _section(step: Step, test_set: ImageSet, picture: Picture) -> str:
    run, name = step.runs[0], step.name
    texts = described_parts(step.network.description)
    missing = f"*Write it in the docstring of `{name}`.*"
    values = {
        "name": name,
        "title": texts["title"],
        "target": texts["target"] or missing,
        "analysis": texts["analysis"] or missing,
        "result": _result(step),
        "recipe": repr(step.recipe),
        "layers": layers_table(run.model),
        "log": _log(run.history),
        "curves": picture(f"{name}_curves", curves([each.history for each in step.runs], evaluated="Test"), "Curves"),
        "mistakes": picture(f"{name}_mistakes", mistakes(run.result, test_set, count=_IMAGES, columns=5), "Mistakes"),
        "grad_cam": _grad_cam(run, name, test_set, picture),
    }
    return _filled("readme_step.md", values)


def described_parts(description: str) -> dict[str, str]:
    """Return title, target and analysis of a docstring. Lines that begin with "Target:" and "Analysis:" start a part.

    A part "Result:" is left out, because it is replaced by the result of the run.
    """
    title, *rest = re.split(r"^(Target|Result|Analysis)\s*:", description, flags=re.MULTILINE)
    texts = {name.lower(): text.strip() for name, text in zip(rest[::2], rest[1::2], strict=True)}
    return {"title": title.strip(), "target": texts.get("target", ""), "analysis": texts.get("analysis", "")}


def _result(step: Step) -> str:
    run = step.runs[0]
    train_accuracy = run.history.last.train_accuracy
    seeds = "" if len(step.runs) == 1 else f" (mean ± standard deviation of {len(step.runs)} seeds)"
    return (
        f"{step.network.parameters:,} parameters. "
        f"Test accuracy after {counted(len(run.history), 'epoch')}: {step.accuracy}{seeds}. "
        f"Training accuracy of seed 0: {_percent([train_accuracy])}, measured with dropout and augmentation, if any. "
        f"{len(run.result.mistakes):,} of {run.result.count:,} test images are misclassified."
    )


def _log(history: History) -> str:
    rows = [["epoch", "train loss", "train accuracy", "test loss", "test accuracy", "learning rate", "seconds"]]
    for each in history:
        loss, accuracy = each.validation_loss or 0.0, each.validation_accuracy or 0.0
        scores = [f"{each.train_loss:.4f}", _percent([each.train_accuracy]), f"{loss:.4f}", _percent([accuracy])]
        rows.append([str(each.epoch), *scores, f"{each.learning_rate:.4g}", f"{each.seconds:.1f}"])
    return markdown_table(rows[0], rows[1:])


def layers_table(model: Model) -> str:
    """Return a Markdown table of the layers."""
    headings = ["layer", "operation", "output", "kernel", "stride", "padding"]
    rows = [[*headings, "receptive field", "jump", "parameters"]]
    for node in model._network.nodes:
        fields = node["fields"]
        sizes = [
            dimensions(fields.get("kernel", ())),
            _size(fields.get("stride", ())),
            _size(fields.get("padding", ())),
        ]
        numbers = [str(node[name] or "") for name in ("receptive_field", "jump")]
        parameters = f"{node['parameters']:,}" if node["parameters"] else ""
        rows.append([node["name"], node["op"], dimensions(node["output_shape"]), *sizes, *numbers, parameters])
    return markdown_table(rows[0], rows[1:])


def _size(sizes: Sequence[int]) -> str:
    """Return a stride or a padding as text: "1" if all sizes are equal, otherwise such as "1x2"."""
    return str(sizes[0]) if len(set(sizes)) == 1 else dimensions(sizes)


def _grad_cam(run: Run, name: str, test_set: ImageSet, picture: Picture) -> str:
    """Return the Grad-CAM maps of the images with the most confident mistakes, or of the first images without one."""
    chosen = [each.index for each in run.result.mistakes[:_IMAGES]] or list(range(min(_IMAGES, len(test_set))))
    try:
        figure = grad_cam(run.model, test_set[chosen], count=_IMAGES, columns=5)
    except ValueError:  # no layer has maps of more than one pixel
        return "The network has no layer whose output is a map, so there is no Grad-CAM."
    return picture(f"{name}_grad_cam", figure, "Grad-CAM")
