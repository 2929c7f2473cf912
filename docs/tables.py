"""Write the generated tables of the README and of the pages between their markers, such as ``<!-- zoo: begin -->``.

    python docs/tables.py           # update the tables
    python docs/tables.py --check   # list the pages whose tables are outdated, and fail if there are any

The tables of networks, recipes, names and commands are generated from the package, those of accuracy from the log of
``benchmarks/accuracy.py``, those of speed from the other files in ``benchmarks/results``. If a results file is missing,
its table is left unchanged.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from inspect import getdoc, ismodule
from pathlib import Path
from pkgutil import resolve_name

from pytorch_code import pytorch_code

import mnistcnn
from mnistcnn._internal.tables import markdown_table
from mnistcnn.nn.pretrained import cards
from mnistcnn.nn.zoo import Citation, published_network
from mnistcnn.study.student_t import deviation_of, mean_of
from mnistcnn.study.trials import spread
from mnistcnn.training.published_recipes import variants

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import accuracy
import records
from ensemble import RESULT as ENSEMBLE

RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def table(head: str, rows: list[list[str]]) -> str:
    """Return a table in Markdown; ``head`` holds the column names, separated by ``|``."""
    return markdown_table(head.split("|"), rows) + "\n"


def zoo_table() -> str:
    """Return the table of the published networks."""
    rows = []
    for name in mnistcnn.list_models():
        model = mnistcnn.create_model(name)
        summary = model.summary()
        about = mnistcnn.recipe(name).about
        reported = f"{about.accuracy:.2f} %" if about and about.accuracy else ""
        found = trials_of().get(name)
        measured = f"{percent(found.accuracies)} ({len(found.accuracies)} seeds)" if found else ""
        field, outputs = str(summary.receptive_field), model.outputs.replace("_", "-")
        card = cards().get(name)
        pretrained = f"{100 * card.test_accuracy:.2f} %" if card else ""
        cells = [f"[`{name}`](#{name})", f"{model.parameter_count:,}", field, outputs, reported, measured, pretrained]
        rows.append(cells)
    return table("name|parameters|receptive field|outputs|author reports|measured|pretrained", rows)


@cache
def trials_of() -> dict[str, mnistcnn.Trials]:
    """Return the logged trials by recipe, such as ``session7_net/rotation``, in the order of the zoo."""
    found = accuracy.logged()
    return {name: found[name] for name in accuracy.RECIPES if name in found}


def percent(accuracies: Sequence[float]) -> str:
    """Return mean and standard deviation of accuracies."""
    return spread(mean_of(tuple(accuracies)), deviation_of(tuple(accuracies)))


def networks() -> str:
    """Return a section for each published network, with its source and its PyTorch code."""
    sections = []
    for name in mnistcnn.list_models():
        network = published_network(name)
        code = pytorch_code(mnistcnn.create_model(name))
        sections.append(
            f"### {name}\n\n{network.description}\n\n{measurements(name)}Source: {cited(network.citation)}.\n\n"
            f"```python\n{code}\n```\n"
        )
    return "\n".join(sections)


def measurements(name: str) -> str:
    """Return a paragraph with the measured accuracies of a network; an empty text without trials."""
    parts = []
    for row, trials in trials_of().items():
        network, _, variant = row.partition("/")
        if network == name:
            recipe = f" with the recipe `{variant}`" if variant else ""
            parts.append(f"{percent(trials.accuracies)} over {len(trials.accuracies)} seeds{recipe}")
    return f"Measured test accuracy: {', '.join(parts)}.\n\n" if parts else ""


def cited(citation: Citation) -> str:
    """Return a citation with its address as a link."""
    if citation.project == "mnistcnn":
        return "this project"
    address = f"[{citation.project}]({citation.url})"
    project = address if citation.url else f"{citation.project} (address not recorded)"
    return ", ".join(part for part in (project, citation.session, citation.file) if part)


def recipes_table() -> str:
    """Return the table of the published recipes; a star marks values that the author does not state."""
    rows = []
    for name in mnistcnn.list_models():
        for variant in variants(name):
            recipe = mnistcnn.recipe(name, variant)
            chosen = set(recipe.about.chosen if recipe.about else ())

            def cell(field: str, recipe: mnistcnn.Recipe = recipe, chosen: set[str] = chosen) -> str:
                value = getattr(recipe, field)
                shown = ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)
                star = any(each.partition(".")[0] == field for each in chosen)
                return (shown if value not in (None, ()) else "") + ("*" if star else "")

            call = f'`recipe("{name}"{f", {chr(34)}{variant}{chr(34)}" if variant else ""})`'
            fields = ("epochs", "batch_size", "optimizer", "schedule", "augment", "averaging")
            source = recipe.about.source if recipe.about else ""
            rows.append([call, *(cell(field).replace("|", "\\|") for field in fields), source])
    return table("recipe|epochs|batch size|optimizer|schedule|augmentation|averaging|source", rows)


def names_table(text: str) -> str:
    """Return the table of the names that a page of the reference describes, with the first line of each docstring."""
    rows = []
    for name in re.findall(r"^::: (mnistcnn\.[\w.]+)$", text, re.MULTILINE):
        namespace, _, last = name.rpartition(".")
        described = getattr(resolve_name(namespace), last)  # a name may also be that of a private module
        if not ismodule(described):
            line = (getdoc(described) or "").split("\n")[0].replace("|", "\\|")
            rows.append([f"`{name}`", line])
    return table("name|description", rows)


def commands_table() -> str:
    """Return the table of the commands, with the first paragraph of each help text."""
    from typer.main import get_command

    from mnistcnn.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    rows = [[f"`mnistcnn {name}`", " ".join((each.help or "").split("\n\n")[0].split())]
            for name, each in commands.items()]  # fmt: skip
    return table("command|description", rows)


def last_table(name: str) -> str | None:
    """Return the last table of a results file, the one with most threads; None if there is no such file."""
    path = RESULTS / f"{name}.md"
    if not path.exists():
        return None
    tables = re.findall(r"(?:^\|.*\n)+", path.read_text(encoding="utf-8") + "\n", re.MULTILINE)
    return str(tables[-1]) if tables else None


def small_networks() -> str | None:
    """Return the accuracies of the networks with fewer than 8,000 parameters; None without a log."""
    rows = []
    for name, trials in trials_of().items():
        if trials.setting.parameters < 8000:
            about = accuracy.published(name)[1].about
            reported = f"{about.accuracy:.2f} %" if about and about.accuracy else "-"
            seeds, minimum = str(len(trials.accuracies)), f"{100 * trials.minimum:.2f} %"
            rows.append([name, f"{trials.setting.parameters:,}", percent(trials.accuracies), minimum, seeds, reported])
    return table("recipe|parameters|test accuracy, mean ± sd|minimum|seeds|author reports", rows) if rows else None


def all_accuracies() -> str | None:
    """Return the accuracies of all published networks and recipes; None without a log."""
    return accuracy.table(trials_of()) + "\n" if trials_of() else None


def records_table() -> str | None:
    """Return the accuracies of the records and of ensembles of the largest one; None without trials."""
    rows: list[list[str]] = []
    candidates = records.found(records.LOG)
    for name in accuracy.RECORDS:
        if name in trials_of():
            trials = trials_of()[name]
            cells = [f"[`{name}`](zoo.md#{name})", f"{trials.setting.parameters:,}", str(trials.recipe.epochs)]
            group, chosen = records.CHOSEN[name]
            cells += [f"{100 * candidates[group][chosen].mean:.2f} %", percent(trials.accuracies)]
            cells += [f"{100 * trials.minimum:.2f} %", str(len(trials.accuracies))]
            rows.append([*cells, f"{100 * trials.consistent(0.994):.0f} %"])
    if ENSEMBLE.exists():
        found = json.loads(ENSEMBLE.read_text("utf-8"))
        network, size, accuracies = found["network"], found["size"], found["accuracies"]
        trials = trials_of()[network]
        cells = [f"ensemble of {size} `{network}`", f"{size * trials.setting.parameters:,}", str(trials.recipe.epochs)]
        cells += ["-", percent(accuracies), f"{100 * min(accuracies):.2f} %"]
        rows.append([*cells, f"{size * len(accuracies)} in {len(accuracies)} ensembles", "-"])
    head = "network|parameters|epochs|validation accuracy in the search|test accuracy, mean ± sd|minimum|seeds"
    head += "|seeds at 99.4 % in each of the last 3 epochs"
    return table(head, rows) if rows else None


def search_table() -> str | None:
    """Return the table of the candidates of the search for the records; None without a log."""
    return records.table(records.LOG) + "\n" if records.LOG.exists() else None


def measured(name: str) -> Callable[[], str | None]:
    """Return a function that reads the last table of a results file."""
    return lambda: last_table(name)


def speed_table() -> str | None:
    """Return a summary of the results of ``epoch.py``: lanes beside the fastest variants of PyTorch."""
    text = last_table("epoch")
    if text is None:
        return None
    rows = []
    for name in mnistcnn.list_models():
        if f"| {name} |" not in text:
            continue  # added after the measurement
        cells = row_of(name, text)
        ours = float(cells["mnistcnn lanes"])
        times = {label.removeprefix("torch "): float(cell) for label, cell in cells.items()
                 if label.startswith("torch") and cell}  # fmt: skip
        fastest = [min((label for label in times if ("bf16" in label) == bf16), key=times.__getitem__)
                   for bf16 in (False, True)]  # fmt: skip
        shown = [f"{times[label]:.2f} ({label.removesuffix(' bf16')})" for label in fastest]
        peak = next(cell for label, cell in cells.items() if "in turns" in label)
        speedup = next(cell for label, cell in cells.items() if label.startswith("speedup"))
        rows.append([name, f"{ours:.2f}", *shown, speedup, peak])
    head = "network|`lanes`, float32|fastest PyTorch, float32|fastest PyTorch, bf16|speedup over the fastest PyTorch"
    head += "|% of peak FMA"
    return table(head, rows)


def row_of(name: str, text: str) -> dict[str, str]:
    """Return the row of a Markdown table whose first cell is ``name``, as a dictionary by column name."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return dict(zip(lines[0], next(line for line in lines if line[0] == name), strict=True))


def headline() -> str | None:
    """Return the table of the main figures of session7_net, from the results of ``accuracy.py`` and ``epoch.py``."""
    epochs, found = last_table("epoch"), trials_of()
    names = ("session7_net", "session7_net/rotation_step", "record_8k")
    if epochs is None or any(name not in found for name in names):
        return None
    plain, rotated, record = (found[name] for name in names)
    reported = [f"{accuracy.published(name)[1].about.accuracy:.2f} %" for name in names[:2]]
    times = {label: float(cell) for label, cell in row_of("session7_net", epochs).items()
             if label.startswith(("torch", "mnistcnn")) and cell}  # fmt: skip
    ours = times["mnistcnn lanes"]
    fastest = min((label for label in times if label.startswith("torch")), key=times.__getitem__)
    rows = [
        [f"one run: {plain.recipe.epochs} epochs of 60,000 images", f"{plain.recipe.epochs * ours:.0f} s of training"],
        [
            "one epoch, compared with the fastest PyTorch variant",
            f"{ours:.2f} s; {fastest} takes {times[fastest]:.2f} s ({times[fastest] / ours:.1f} x)",
        ],
        [
            f"test accuracy over {len(plain.accuracies)} seeds",
            f"{percent(plain.accuracies)}; the author reports {reported[0]}",
        ],
        [
            f"with the recipe `rotation_step`, over {len(rotated.accuracies)} seeds",
            f"{percent(rotated.accuracies)}; the author reports {reported[1]}",
        ],
        [
            f"`record_8k` ({record.setting.parameters:,} parameters), {len(record.accuracies)} seeds",
            f"{percent(record.accuracies)}, minimum {100 * record.minimum:.2f} %",
        ],
        ["two runs with the same seed", "bit-identical weights, for any number of threads, on AVX2 and AVX-512"],
    ]
    return table("`session7_net` on MNIST|result", rows)


# Tables that are the same on every page. `names` depends on the page.
BLOCKS: dict[str, Callable[[], str | None]] = {
    "headline": headline,
    "zoo": zoo_table,
    "networks": networks,
    "recipes": recipes_table,
    "commands": commands_table,
    "accuracy": small_networks,
    "all_accuracies": all_accuracies,
    "records": records_table,
    "search": search_table,
    "speed": speed_table,
    "prediction": measured("predict"),
    "user_loop": measured("user_loop"),
    "loader": measured("loader"),
    "time_to_accuracy": measured("time_to_accuracy"),
}


@cache
def _made(name: str) -> str | None:
    return BLOCKS[name]()


def renewed(text: str) -> str:
    """Return the text of a page with its tables updated."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in {*BLOCKS, "names"}:
            raise ValueError(f"there is no table {name!r}; choose from names, {', '.join(BLOCKS)}")
        made = names_table(text) if name == "names" else _made(name)
        return match.group(0) if made is None else f"{match.group(1)}\n{made}\n{match.group(3)}"

    return MARKED.sub(block, text)


def main() -> None:
    """Update the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table is outdated")
    check = parser.parse_args().check
    old = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = renewed(text)
        if new != text:
            old.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(new, encoding="utf-8")
    print("\n".join(old) if old else "all tables are current")
    sys.exit(1 if check and old else 0)


if __name__ == "__main__":
    main()
