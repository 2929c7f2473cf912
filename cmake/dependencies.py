"""Says what the package needs at run time: the torch it was built with, and what doesn't depend on the build."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

PINNED = "2.13"  # the torch of pyproject.toml's build requirements, for when none is installed (an sdist)
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
    """The value of ``project.dependencies``."""
    if field != "dependencies" or settings:
        raise ValueError(f"only 'dependencies' without settings is provided here, not {field!r} with {settings!r}")
    try:
        minor = ".".join(version("torch").split(".")[:2])
    except PackageNotFoundError:
        minor = PINNED
    return [f"torch=={minor}.*", *ALWAYS]
