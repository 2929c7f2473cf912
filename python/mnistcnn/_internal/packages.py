"""Optional packages."""

from __future__ import annotations

import shlex


def missing_package(what: str, *packages: str) -> ImportError:
    """Return the error for packages that ``what`` needs and that are not installed, with the command to install them.

    A package is given as pip takes it, such as ``"scikit-learn>=1.6"``.
    """
    return ImportError(f"{what} needs {' and '.join(packages)}: pip install {shlex.join(packages)}")
