"""Metadata provider of scikit-build-core: the dependencies of the package, with the torch version of the build."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

PINNED = "2.13"  # torch in pyproject.toml's build requirements; used if torch is not installed (sdist)
ALWAYS = [
    "numpy>=1.26",
    "pooch>=1.8",
    "tqdm>=4.66",
    "safetensors>=0.4.3",
    "matplotlib>=3.8",
    "pillow>=10",
    "typer>=0.12",
    "rich>=13",
]


def dynamic_metadata(field: str, settings: dict[str, Any] | None = None, *_: Any) -> list[str]:
    """Return the value of ``project.dependencies``."""
    if field != "dependencies" or settings:
        raise ValueError(
            f"only the field 'dependencies' without settings is supported, got {field!r} with {settings!r}"
        )
    try:
        minor = ".".join(version("torch").split(".")[:2])
    except PackageNotFoundError:
        minor = PINNED
    return [f"torch=={minor}.*", *ALWAYS]
