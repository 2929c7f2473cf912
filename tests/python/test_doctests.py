"""Run the examples in the docstrings and compare their output."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

import mnistcnn

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(mnistcnn.__path__, "mnistcnn.")
    if not module.name.startswith("mnistcnn._") and module.name != "mnistcnn.__main__"
)


@pytest.mark.parametrize("name", ["mnistcnn", *MODULES])
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    with torch.random.fork_rng(devices=[]):
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


def test_number_of_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        example
        for name in ["mnistcnn", *MODULES]
        for found in finder.find(importlib.import_module(name))
        for example in found.examples
    ]
    assert len(examples) > 30
