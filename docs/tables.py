"""Writes the tables of the README and of the pages between their markers, ``<!-- zoo: begin -->`` and so on.

    python docs/tables.py           # writes them
    python docs/tables.py --check   # says which are out of date, and fails if any is

Tables of networks, recipes and commands come from the package itself; those of accuracy and speed from what
``benchmarks`` printed into ``benchmarks/results``. Where that is missing a table stays as it was last measured.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pytorch_code import pytorch_code

import mnistcnn
from mnistcnn.nn.zoo import Citation, published_network
from mnistcnn.training.published_recipes import variants

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = re.compile(r"(<!-- (\w+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def table(head: str, rows: list[list[str]]) -> str:
    """Markdown; ``head`` names the columns, separated by |."""
    columns = head.split("|")
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def zoo_table() -> str:
    """Every published network."""
    rows = []
    for name in mnistcnn.list_models():
        model = mnistcnn.create_model(name)
        summary = model.summary()
        about = mnistcnn.recipe(name).about
        accuracy = about.accuracy if about else None
        reported = "" if accuracy is None else f"{accuracy:.2f} %"
        field = str(summary.receptive_field)
        description = published_network(name).description
        rows.append(
            [f"`{name}`", description, f"{model.parameter_count:,}", field, model.outputs.replace("_", "-"), reported]
        )
    return table("name|what it is|parameters|receptive field|gives|author reports", rows)


def networks() -> str:
    """Every published network as PyTorch code, with its source."""
    sections = []
    for name in mnistcnn.list_models():
        network = published_network(name)
        code = pytorch_code(mnistcnn.create_model(name))
        sections.append(
            f"### {name}\n\n{network.description}\n\nSource: {cited(network.citation)}.\n\n```python\n{code}\n```\n"
        )
    return "\n".join(sections)


def cited(citation: Citation) -> str:
    """Return a citation with its address as a link."""
    address = f"[{citation.project}]({citation.url})"
    project = address if citation.url else f"{citation.project} (address not recorded)"
    return ", ".join(part for part in (project, citation.session, citation.file) if part)


def recipes_table() -> str:
    """Every published recipe; what we chose has a star."""
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
            fields = ("epochs", "batch_size", "optimizer", "schedule", "augment")
            source = recipe.about.source if recipe.about else ""
            rows.append([call, *(cell(field).replace("|", "\\|") for field in fields), source])
    return table("recipe|epochs|batch|optimizer|schedule|augmentation|source", rows)


def layers_table() -> str:
    """Every kind of layer, with the first line of its own words."""
    rows = []
    for name in mnistcnn.layers.__all__:
        words = (getattr(mnistcnn.layers, name).__doc__ or "").strip().split("\n")[0]
        rows.append([f"`{name}`", words])
    return table("layer|what it does", rows)


def commands_table() -> str:
    """Every command with its own words."""
    from typer.main import get_command

    from mnistcnn.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    rows = [[f"`mnistcnn {name}`", " ".join((each.help or "").split("\n\n")[0].split())]
            for name, each in commands.items()]  # fmt: skip
    return table("command|what it does", rows)


def measured(name: str) -> Callable[[], str | None]:
    """The table that a benchmark left in its folder of results, without the text around it."""

    def read() -> str | None:
        path = RESULTS / f"{name}.md"
        if not path.exists():
            return None
        tables = re.findall(r"(?:^\|.*\n)+", path.read_text(encoding="utf-8") + "\n", re.MULTILINE)
        return str(tables[-1]) if tables else None  # of several, the one with most threads

    return read


BLOCKS: dict[str, Callable[[], str | None]] = {
    "zoo": zoo_table,
    "networks": networks,
    "recipes": recipes_table,
    "layers": layers_table,
    "commands": commands_table,
    "accuracy": measured("accuracy"),
    "speed": measured("epoch"),
    "prediction": measured("predict"),
    "user_loop": measured("user_loop"),
    "loader": measured("loader"),
}


@cache
def _made(name: str) -> str | None:
    return BLOCKS[name]()


def renewed(text: str) -> str:
    """The same page with its tables as they are now."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in BLOCKS:
            raise ValueError(f"there is no table {name!r}; choose from {', '.join(BLOCKS)}")
        made = _made(name)
        return match.group(0) if made is None else f"{match.group(1)}\n{made}\n{match.group(3)}"

    return MARKED.sub(block, text)


def main() -> None:
    """Writes or checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table is out of date")
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
