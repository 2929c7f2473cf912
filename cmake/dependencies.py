"""The torch of the build, and the dependencies of the package: a metadata provider of scikit-build-core.

pip builds in an isolated environment, in which the packages of the target environment cannot be imported. If the target
environment has torch, the package is built for it, so that installing the package does not replace it. Otherwise the
pinned version is installed in the isolated environment, and later in the target environment.

``python dependencies.py`` prints the directory of that torch, for ``FindTorchWheel.cmake``.
"""

from __future__ import annotations

import re
import site
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PINNED = "2.13.0"  # torch that is installed if there is none
OLDEST = (2, 10)
ALWAYS = [
    "numpy>=1.26",
    "pooch>=1.8",
    "tqdm>=4.66",
    "safetensors>=0.4.3",
    "matplotlib>=3.8",
    "pillow>=10",
    "typer>=0.12.5",
    "rich>=13",
]


def search_path() -> list[str]:
    """Return the directories that may contain torch: those of the build, then those of the target environment."""
    # In the isolated environment sys.path lacks the target's directories, but the interpreter is that of the target.
    own = [site.getusersitepackages()] if sys.prefix == sys.base_prefix else []
    return [*sys.path, *own, *site.getsitepackages()]


def find_torch(folders: Iterable[str] | None = None) -> Path | None:
    """Return the directory of the first torch package in the folders. Default: those of `search_path`."""
    packages = (Path(folder, "torch") for folder in (search_path() if folders is None else folders))
    return next((package for package in packages if (package / "version.py").is_file()), None)


def minor_version(package: Path) -> str:
    """Return the version of torch without the patch level, such as "2.13". Exit if torch is too old."""
    text = (package / "version.py").read_text(encoding="utf-8")
    found = re.search(r"^__version__ = '((\d+)\.(\d+)[^']*)'", text, re.MULTILINE)
    if not found:
        raise SystemExit(f"{package / 'version.py'} states no version of torch")
    if (int(found[2]), int(found[3])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise SystemExit(
            f"mnistcnn needs torch {oldest} or newer, and torch {found[1]} is installed in {package}. It is not "
            f'replaced without being asked. To replace it: pip install "torch>={oldest}"'
        )
    return f"{found[2]}.{found[3]}"


def get_requires_for_dynamic_metadata(_: Any = None) -> list[str]:
    """Return torch as a requirement of the build if none is installed in the target environment."""
    package = find_torch()
    if package is None:
        return [f"torch=={PINNED}"]
    minor_version(package)  # raises
    return []


def dynamic_metadata(field: str, settings: dict[str, Any] | None = None, *_: Any) -> list[str]:
    """Return the value of ``project.dependencies``."""
    if field != "dependencies" or settings:
        raise ValueError(
            f"only the field 'dependencies' without settings is supported, got {field!r} with {settings!r}"
        )
    package = find_torch()
    minor = PINNED.rpartition(".")[0] if package is None else minor_version(package)
    return [f"torch=={minor}.*", *ALWAYS]


if __name__ == "__main__":
    torch = find_torch()
    sys.exit("no torch is installed") if torch is None else print(torch, end="")
