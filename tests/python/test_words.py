"""Words to avoid in code, messages and pages: metaphors and former private terms, each with the term to use instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("python", "cpp", "tests", "docs", "notebooks", "benchmarks", "examples", "cmake")
SUFFIXES = {".py", ".pyi", ".h", ".c", ".cpp", ".inc", ".md", ".ipynb", ".html", ".js", ".txt", ".toml", ".yml"}
SKIPPED = {Path(__file__), *(ROOT / "benchmarks" / "results").glob("*.md")}

EVERYWHERE = {
    r"the house|rooms? (of|may|can|and)|arrows? (that|which) points?": "architecture, modules, dependencies",
    r"chooses? nothing": "is never used for model selection",
    r"(takes?|taking) (no )?part\b": "is used, is included",
    r"go(es)? on (with|after|from)|\bgo(es)? on\b": "continue, resume, fall back to",
    r"tells? (\w+ ){0,3}apart|told apart": "number of classes, distinguishes",
    r"(is|are|was|were) told\b": "fails early, is reported",
    r"far down again": "anneals",
    r"makes? small\b": "minimises",
    r"multiply-adds alone would": "% of peak FMA throughput",
    r"another engine than": "fell back to the slower `aten` engine",
    r"X where it is positive": "max(x, 0)",
    r"looks? out\b": "spins before blocking",
    r"\b(has|have) no say\b": "is ignored",
    r"\bat home\b": "is defined in",
    r"\b[Rr]efuses\b": "raises, is not supported",
    r"whole or not at all|the whole file or none": "atomically",
    r"\bso many\b": "the number",
    r"\b([Nn]obody|[Ww]hoever)\b": "no thread, no other process",
    r"values without a meaning": "invalid values",
    r"may be had\b|can('t| not)? be had\b": "is available",
    r"\b[Hh]ouse(Figure|_style)\b": "NotebookFigure, plot_style",
    r"\b(speaks?|spoken) (of|for|to)\b": "describes",
}
# Former names in the engine.
IN_CPP = {
    r"\btake_part\b|\bclaims?_piece\b": "worker loop, task",
    r"\b[Ll]enders?\b": "borrowed threads",
    r"\b(SoftStep|soft_step|Shaping)\b": "CustomLossStep, gradient clipping",
    r"\b([Cc]orrelation|Placement|Needs)\b": "direct convolution, memory planner, requirements",
    r"\bnear_cache\b|\bat_hand\b|\bnear cache\b|\bat hand\b": "L1, L2 budget",
    r"\b[Bb]ands?\b": "1-D Winograd",
    r"\b[Ww]ays?\b": "convolution algorithm",
    r"\b[Cc]hores?\b": "overhead",
    r"\bmost_[a-z]|\bkMost[A-Z]": "max_, kMax",
}


def texts() -> dict[Path, str]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    files += [*ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    return {path: path.read_text(encoding="utf-8") for path in files if path not in SKIPPED}


TEXTS = texts()


def found(pattern: str, files: dict[Path, str]) -> list[str]:
    expression = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for path, text in files.items()
        for match in expression.finditer(text)
    ]


def test_there_are_files():
    assert len(TEXTS) > 400


@pytest.mark.parametrize("pattern", EVERYWHERE)
def test_words_to_avoid(pattern: str):
    places = found(pattern, TEXTS)
    assert not places, f"write {EVERYWHERE[pattern]!r} instead: {places}"


@pytest.mark.parametrize("pattern", IN_CPP)
def test_former_names_of_the_engine(pattern: str):
    places = found(pattern, {path: text for path, text in TEXTS.items() if "cpp" in path.parts})
    assert not places, f"write {IN_CPP[pattern]!r} instead: {places}"
