from __future__ import annotations

import resource

import pytest
import torch

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Limit the memory, so that a hostile file that asks for too much raises MemoryError."""
    limit = 24 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
