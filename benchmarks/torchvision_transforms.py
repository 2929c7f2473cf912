"""Import of torchvision's transforms, also if its compiled operators do not match the installed PyTorch."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def torchvision_transforms() -> Any:
    """Return the module; exit with a message if torchvision is not installed."""
    try:
        from torchvision import transforms
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")
        from torchvision import transforms
    except ImportError:
        raise SystemExit("this benchmark compares with torchvision: pip install torchvision") from None
    return transforms
