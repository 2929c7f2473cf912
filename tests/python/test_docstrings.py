"""Tests of the docstrings of the public interface: one entry per parameter, and an example."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import pytest

import mnistcnn

NAMESPACES = ("callbacks", "explain", "layers", "losses", "optim", "plot", "profile", "study", "transforms")
# Classes that users do not construct: they need no example, and describe their fields as attributes or parameters.
RESULTS = {
    *("Comparison", "EngineWarning", "CheckpointWarning", "ConversionError", "DivergedError", "EpochRecord"),
    *("EpochTimes", "Experiments", "Field", "LayerTime", "Limits", "Profile", "StepRecord", "Sweep", "TestResult"),
    *(
        "Trial",
        "Trials",
        "Rates",
        "SchedulePlan",
        "Callback",
        "Loss",
        "Mixing",
        "Averaging",
        "Schedule",
        "Transform",
        "History",
    ),
}


def public() -> dict[str, Any]:
    found = {f"mnistcnn.{name}": getattr(mnistcnn, name) for name in (*mnistcnn.__all__, "DataLoader")}
    for namespace in NAMESPACES:
        module = getattr(mnistcnn, namespace)
        found |= {f"mnistcnn.{namespace}.{name}": getattr(module, name) for name in module.__all__}
    return {name: value for name, value in found.items() if callable(value)}


PUBLIC = public()


def documented(text: str, title: str = "Parameters") -> list[str]:
    """Return the names in a section of a NumPy-style docstring."""
    section = re.search(rf"^(?:{title})\n-+\n(.*?)(?=^\w+\n-+$|\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^(?:\*\*)?(\S.*?)$", section[1], re.MULTILINE) if section else []


def parameters(value: Any) -> list[str]:
    if isinstance(value, type) and dataclasses.is_dataclass(value):
        return [each.name for each in dataclasses.fields(value) if each.init]
    return [name for name in inspect.signature(value).parameters if name != "self"]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_parameter_has_its_own_entry(name: str):
    value = PUBLIC[name]
    text = inspect.getdoc(value) or ""
    assert text, f"{name} has no docstring"
    if name.rpartition(".")[2] in RESULTS:
        if dataclasses.is_dataclass(value):
            described = set(documented(text, "Attributes|Parameters"))
            assert {each.name for each in dataclasses.fields(value)} <= described, name
        return
    if isinstance(value, type) and dataclasses.is_dataclass(value):  # entries of inherited fields are in the base class
        text = "\n\n".join(inspect.cleandoc(each.__doc__ or "") for each in value.__mro__)
        listed = [
            entry for part in re.split(r"(?=^Parameters\n-+$)", text, flags=re.MULTILINE) for entry in documented(part)
        ]
        assert set(parameters(value)) <= set(listed), f"{name}: {sorted(set(parameters(value)) - set(listed))}"
    else:
        assert documented(text) == parameters(value), name


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_function_has_an_example(name: str):
    if name.rpartition(".")[2] not in RESULTS:
        assert ">>> " in (PUBLIC[name].__doc__ or ""), f"the docstring of {name} has no example"
