"""The command line, ``mnistcnn COMMAND``: one module per group of commands, nothing heavy imported before it is used."""

from __future__ import annotations

from mnistcnn.cli.main import app, main

__all__ = ["app", "main"]
