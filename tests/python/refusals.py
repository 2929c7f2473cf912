"""What a ConversionError says in its own words."""

from __future__ import annotations

import linecache
import re

import mnistcnn


def said(error: mnistcnn.ConversionError, file: str) -> str:
    """The message without the lines of the test's source that it quotes: these may hold what a test looks for."""
    message = str(error)
    for number in set(re.findall(r"test_\w+\.py:(\d+): ", message)):
        message = message.replace(linecache.getline(file, int(number)).strip(), "…")
    return message
