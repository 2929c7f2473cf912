"""The compiled module, its stub, the check of torch's version, and the public names."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import mnistcnn
from mnistcnn._internal.native import check_torch, core


def stub() -> ast.Module:
    path = Path(inspect.getfile(mnistcnn)).with_name("_core.pyi")
    return ast.parse(path.read_text(encoding="utf-8"))


def parameters_of(function: ast.FunctionDef) -> list[str]:
    return [each.arg for each in (*function.args.args, *function.args.kwonlyargs) if each.arg != "self"]


def names_in(body: list[ast.stmt]) -> set[str]:
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def public_names(owner: Any) -> set[str]:
    return {name for name in vars(owner) if not name.startswith("_")}


def test_the_stub_lists_all_names() -> None:
    assert names_in(stub().body) == public_names(core)


def check_members(body: list[ast.stmt], module: Any) -> int:
    """Compare the functions and classes of a part of the stub with those of the module, and return their number."""
    checked = 0
    for node in body:
        if isinstance(node, ast.FunctionDef):
            documented = getattr(module, node.name).__doc__ or ""
            assert all(f"{name}:" in documented for name in parameters_of(node)), node.name
            checked += 1
        elif isinstance(node, ast.ClassDef) and node.name != "DivergedError":
            kind = getattr(module, node.name)
            written = names_in(node.body)
            assert {name for name in written if not name.startswith("__")} == public_names(kind), node.name
            assert all(hasattr(kind, name) for name in written), node.name
            checked += check_members(node.body, kind) if isinstance(kind, ModuleType) else 1
    return checked


def test_the_stub_lists_all_methods_and_parameters() -> None:
    assert check_members(stub().body, core) >= 40


def test_the_installed_torch_is_compatible() -> None:
    check_torch(torch.__version__)


def test_another_minor_version_of_torch_raises() -> None:
    with pytest.raises(ImportError, match=r"built for torch 2\.13, but torch 2\.11\.1\+cu130 is installed") as caught:
        check_torch("2.11.1+cu130", built_with="2.13.0")
    assert 'pip install "torch==2.13.*"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_patch_version_of_torch_is_supported() -> None:
    check_torch("2.13.5+cpu", built_with="2.13.0")


NAMESPACES = ("callbacks", "explain", "layers", "losses", "optim", "plot", "profile", "study", "transforms")


def test_public_names_exist() -> None:
    assert len(mnistcnn.__all__) <= 40
    for name in (*mnistcnn.__all__, "DataLoader"):
        assert getattr(mnistcnn, name) is not None
    for namespace in map(mnistcnn.__getattr__, NAMESPACES):
        for name in namespace.__all__:
            assert getattr(namespace, name) is not None
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
        mnistcnn.nonsense  # noqa: B018
    for name, place in (("Conv2d", "layers"), ("SGD", "optim"), ("Mixup", "losses"), ("Rotation", "transforms")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; write mnistcnn.{place}.{name}"):
            getattr(mnistcnn, name)


def test_first_use_of_sweep_is_the_function_in_both_places() -> None:
    """A module of the same name would become an attribute of its package when it is imported."""
    code = "import mnistcnn; assert mnistcnn.sweep is mnistcnn.study.sweep; assert callable(mnistcnn.study.sweep)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_type_checkers_see_the_same_names() -> None:
    """Compare the imports under TYPE_CHECKING with the table of exports."""
    for module in (mnistcnn, mnistcnn.study):
        imported = set()
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mnistcnn."):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names if alias.asname}
        exports = module._EXPORTS
        assert imported == {f"{exports.module_of(name)}.{name}" for name in exports.names}


def test_star_import_does_not_shadow_names_of_torch() -> None:
    names: dict[str, object] = {}
    exec("from mnistcnn import *", names)
    assert {"train", "Model", "ImageSet"} <= set(names)
    assert not {"DataLoader", "Conv2d", "SGD", "optim", "nn", "transforms"} & set(names)


def test_a_misspelt_name_gives_a_hint() -> None:
    code = "import mnistcnn; mnistcnn.creat_model"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Did you mean: 'create_model'?" in done.stderr
