"""The command line, ``mnistcnn COMMAND``: one module per group of commands; what is heavy is imported when used."""

from __future__ import annotations

from mnistcnn.cli.main import app, main

__all__ = ["app", "main"]
