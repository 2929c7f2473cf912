"""Program of the subprocess of `mnistcnn.course.networks`: import a file, and write the network of one class."""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from torch import nn

from mnistcnn._internal.checks import did_you_mean
from mnistcnn.course.networks import network_of


class _FileError(Exception):
    """A message for the user."""


def main(path: Path, attribute: str, folder: Path) -> None:
    """Write report.json, and model.safetensors if there is no error, to ``folder``."""
    try:
        report = _report(path, attribute, folder)
    except _FileError as error:
        report = {"error": str(error)}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def _report(path: Path, attribute: str, folder: Path) -> dict[str, Any]:
    module = _module(_imported(path), path, attribute)
    try:
        network = network_of(module)
        recipe = network.recipe.to_dict()
    except (TypeError, ValueError) as error:  # ConversionError, several outputs, or an invalid recipe
        raise _FileError(f"{attribute}: {error}") from None
    network.model.name = attribute
    network.model.save(folder / "model.safetensors")
    return {"parameters": network.parameters, "recipe": recipe, "description": network.description}


def _imported(path: Path) -> dict[str, Any]:
    """Return the names that a file defines."""
    sys.path.insert(0, str(path.parent.absolute()))  # modules beside the file
    sys.argv = [str(path)]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise _FileError(
            f"{path} calls sys.exit({error.code!r}) when it is imported; move the call below "
            "`if __name__ == '__main__':`"
        ) from None
    except Exception as error:
        raise _FileError(f"{path} cannot be imported: {_described(error, path)}") from None
    return vars(module)


def _module(names: dict[str, Any], path: Path, attribute: str) -> nn.Module:
    if attribute not in names:
        classes = [
            name
            for name, value in names.items()
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == path.stem
        ]
        hint = did_you_mean(attribute, classes)
        known = f" It defines {', '.join(classes)}" if classes else " It defines no subclass of torch.nn.Module"
        raise _FileError(f"{path} has no class {attribute!r}{hint or '.'}{known}")
    value = names[attribute]
    if not callable(value):
        raise _FileError(f"{path}: {attribute} must be a class, got {value!r}")
    try:
        module = value if isinstance(value, nn.Module) else value()
    except (Exception, SystemExit) as error:
        hint = (
            "; give its arguments default values" if isinstance(error, TypeError) and "argument" in str(error) else ""
        )
        raise _FileError(f"{path}: {attribute}() failed: {_described(error, path)}{hint}") from None
    if not isinstance(module, nn.Module):
        raise _FileError(f"{path}: {attribute} must be a subclass of torch.nn.Module, got {module!r}")
    return module


def _described(error: BaseException, path: Path) -> str:
    """Return type and message of an exception, with the innermost line of the file."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or path).name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [each.lineno for each in frames if Path(each.filename).absolute() == path.absolute()]
    place = f"{path.name}:{lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {error}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
