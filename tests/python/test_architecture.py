"""Tests of the architecture: which folder may include or import which, and the size of files and functions.

The imports between the folders of the Python package are checked by `lint-imports`, with contracts in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "cpp" / "mnistcnn"
BINDINGS = ROOT / "cpp" / "bindings"
PYTHON = ROOT / "python" / "mnistcnn"

# Folders that each folder may include besides itself. The two engines do not include each other.
MAY_INCLUDE = {
    "common": set(),
    "data": {"common"},
    "network": {"common"},
    "zoo": {"common", "data", "network"},
    "metrics": {"common"},
    "engine": {"common", "network", "engine/aten", "engine/lanes"},
    "engine/aten": {"common", "network", "engine"},
    "engine/lanes": {"common", "network", "engine"},
    "train": {"common", "data", "network", "metrics", "engine", "engine/aten", "engine/lanes"},
    "bindings": {"common", "data", "network", "zoo", "metrics", "engine", "engine/aten", "engine/lanes", "train"},
}
# Each folder of the lanes engine may include the folders before it; files outside of these folders may include all.
LANES_LAYERS = ("kernels", "layout", "gemm", "conv", "runtime", "ops", "plan", "execution")
WITHOUT_TORCH = [
    *("common/*", "data/**/*", "zoo/*", "metrics/*", "engine/lanes/**/*"),
    *("network/layers.*", "network/graph.*", "network/analysis.*"),
]
# Importing these modules imports neither torch nor the compiled core.
LIGHT_MODULES = [
    *(
        "_internal.tables",
        "_internal.values",
        "_internal.plain_values",
        "_internal.json_data",
        "transforms.steps",
        "data.normalization",
    ),
    *("nn.layers", "nn.graph", "nn.summary", "optim.optimizers", "optim.schedules", "optim.losses", "optim.averaging"),
    *("training.recipes", "training.published_recipes", "training.history", "training.callbacks"),
    *("training.builtin_callbacks", "training.torch_hints", "evaluation.results", "plot"),
    *("study.trials", "study.comparison", "study.log", "study.student_t", "study.recipe_words"),
]

MODULES = sorted(PYTHON.rglob("*.py"))  # of the package and its subpackages
SOURCES = sorted(
    path for folder in (CORE, BINDINGS) for path in folder.rglob("*") if path.suffix in (".h", ".cpp", ".inc")
)
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def includes(path: Path) -> list[str]:
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def folder_of(path: Path) -> str:
    if BINDINGS in path.parents:
        return "bindings"
    return _folder(path.relative_to(CORE).parts)


def _folder(parts: tuple[str, ...]) -> str:
    inner = "/".join(parts[:2])
    return inner if inner in MAY_INCLUDE else parts[0]


def test_there_are_sources():
    assert len(SOURCES) > 30
    assert {folder_of(path) for path in SOURCES} <= set(MAY_INCLUDE)


def test_folders_include_only_allowed_folders():
    wrong = []
    for path in SOURCES:
        folder = folder_of(path)
        for included in includes(path):
            if included.startswith("mnistcnn/"):
                other = _folder(tuple(included.split("/")[1:]))
                if other != folder and other not in MAY_INCLUDE[folder]:
                    wrong.append(f"{path.relative_to(ROOT)} includes {included}: {folder} must not include {other}")
    assert not wrong, "\n".join(wrong)


def test_folders_of_the_lanes_engine_include_only_lower_ones():
    root = CORE / "engine" / "lanes"
    assert {path.name for path in root.iterdir() if path.is_dir()} == set(LANES_LAYERS)
    wrong = []
    for layer, folder in enumerate(LANES_LAYERS):
        allowed = tuple(f"mnistcnn/engine/lanes/{lower}/" for lower in LANES_LAYERS[: layer + 1])
        for path in (root / folder).iterdir():
            for included in includes(path):
                if included.startswith("mnistcnn/engine/lanes/") and not included.startswith(allowed):
                    wrong.append(f"{path.relative_to(ROOT)} includes {included}")
    assert not wrong, "\n".join(wrong)


def test_our_headers_are_included_by_their_full_path():
    """Check that headers are included by full path, so that the tests above find them; only neighbours may be short."""
    names = {path.name for path in SOURCES if path.suffix != ".cpp"}
    for path in SOURCES:
        for included in includes(path):
            if included.split("/")[-1] in names and not re.match(r"(mnistcnn|ATen|c10|torch)/", included):
                neighbour = (path.parent / included).resolve()
                assert neighbour.exists(), f"{path.relative_to(ROOT)} includes {included}"
                assert folder_of(neighbour) == folder_of(path), f"{path.relative_to(ROOT)} includes {included}"


def test_every_include_of_ours_exists():
    for path in SOURCES:
        for included in includes(path):
            if included.startswith("mnistcnn/"):
                assert (ROOT / "cpp" / included).exists(), f"{path.relative_to(ROOT)} includes {included}"


@pytest.mark.parametrize("pattern", WITHOUT_TORCH)
def test_folders_without_torch(pattern: str):
    for path in CORE.glob(pattern):
        if path.suffix not in (".h", ".cpp", ".inc"):
            continue
        for included in includes(path):
            assert not re.match(r"(ATen|c10|torch|caffe2)/", included), f"{path.relative_to(ROOT)} includes {included}"


def test_only_the_bindings_use_python():
    for path in SOURCES:
        for included in includes(path):
            uses = re.match(r"pybind11/|Python\.h|torch/csrc/utils/pybind|torch/python", included)
            assert not uses or folder_of(path) == "bindings", f"{path.relative_to(ROOT)} includes {included}"


def test_bindings_release_the_gil_with_native_call():
    """The interpreter waits for these calls when it exits."""
    found = {path.name for path in SOURCES if "gil_scoped_release" in path.read_text()}
    assert found == {"bind_exit.cpp"}


def test_no_file_includes_a_large_torch_header():
    for path in SOURCES:
        large = {"torch/torch.h", "torch/extension.h", "torch/all.h", "ATen/ATen.h", "ATen/Functions.h"}
        assert not large & set(includes(path)), path.relative_to(ROOT)


def test_the_core_prints_nothing():
    printing = re.compile(r"std::(cout|cerr|clog)|\b(printf|puts|fprintf)\s*\(")
    for path in CORE.rglob("*"):
        if path.suffix in (".h", ".cpp", ".inc"):
            assert not printing.search(path.read_text(encoding="utf-8")), path.relative_to(ROOT)


def test_length_of_files():
    for path in [*SOURCES, *MODULES]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 650, f"{path.relative_to(ROOT)} has {lines} lines"


def functions(path: Path) -> list[tuple[str, int]]:
    """Return the first line and the number of lines of each function, from the indentation that clang-format gives."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for end, line in enumerate(lines):
        if line not in ("}", "  }"):
            continue
        indentation = line.index("}")
        start = end - 1
        while not lines[start].strip() or lines[start].startswith(("#", " " * (indentation + 1))):
            start -= 1
        found.append((lines[start].strip(), end - start + 1))
    return found


def test_functions_of_the_lanes_engine_are_short():
    root = CORE / "engine" / "lanes"
    sources = [path for path in SOURCES if root in path.parents]
    long = [
        f"{path.relative_to(ROOT)}: {head} has {count} lines"
        for path in sources
        for head, count in functions(path)
        if count > 40
    ]
    assert not long, "\n".join(long)


# ---- Python


def module_name(path: Path) -> str:
    parts = path.relative_to(PYTHON.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_light_modules_load_neither_torch_nor_the_core(module: str):
    code = f"import sys, mnistcnn.{module}; print('torch' in sys.modules, 'mnistcnn._core' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def imported_names(path: Path) -> set[str]:
    """Return the full names of everything that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_only_native_imports_the_core():
    for path in MODULES:
        if path != PYTHON / "_internal" / "native.py":
            assert not {"mnistcnn._core", "mnistcnn._core.DivergedError"} & imported_names(path), module_name(path)


def test_only_the_command_line_and_course_import_the_package_itself():
    """All other modules import the modules that they need, so that import-linter finds the dependencies."""
    importers = {path.relative_to(PYTHON).parts[0] for path in MODULES if "mnistcnn" in imported_names(path)}
    assert importers == {"cli", "course"}


def test_page_lists_every_folder_of_the_package():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = {
        name for cell in re.findall(r"^\| \d+ \| (.*?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }
    ours = {path.relative_to(PYTHON).parts[0].removesuffix(".py") for path in MODULES}
    assert listed == ours - {"__init__", "_built_with"}


def test_page_names_existing_files():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = "\n".join(re.findall(r"^\|.*$", page.partition("## Folders of the Python package")[0], re.MULTILINE))
    named = set(re.findall(r"`([\w/]+(?:\.(?:py|h|cpp)|/))`", table))
    assert len(named) > 30
    roots = (
        PYTHON,
        CORE,
        ROOT,
        PYTHON / "convert" / "operations",
        CORE / "engine" / "lanes" / "kernels",
        PYTHON / "plot",
    )
    missing = {name for name in named if not any((root / name).exists() for root in roots)}
    assert not missing, f"docs/architecture.md names files that do not exist: {sorted(missing)}"


def test_tests_mirror_the_sources():
    """Check that test_x.py tests a module or folder x, or a property of the whole package that is listed here."""
    properties = {
        "architecture",
        "benchmarks",
        "build_requirements",
        "bindings",
        "cpp_example",
        "docs",
        "docstrings",
        "doctests",
        "ecosystem",
        "ecosystem_libraries",
        "gil",
        "invalid_numbers",
        "labels",
        "lanes",
        "layer_table",
        "max_pool_ties",
        "mnist",
        "notebooks",
        "ordinary_tensors",
        "parity",
        "random_graphs",
        "recorded_bits",
        "save_and_load",
        "seeds",
        "shared_tensors",
        "threads",
        "words",
        "workflows",
        "wrong_files",
    }
    modules = {part.strip("_") for path in MODULES for part in module_name(path).split(".")[1:]}
    for path in Path(__file__).parent.glob("test_*.py"):
        assert path.stem.removeprefix("test_") in modules | properties, path.name
