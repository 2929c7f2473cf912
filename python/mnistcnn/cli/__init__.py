"""Command line interface, ``mnistcnn COMMAND``: one module per group of commands.

Heavy modules are imported inside the commands, so that ``mnistcnn --help`` is fast.
"""

from __future__ import annotations

from mnistcnn.cli.main import app, run

__all__ = ["app", "run"]
