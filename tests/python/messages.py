"""Text of a ConversionError for tests."""

from __future__ import annotations

import linecache
import re

import mnistcnn


def own_message(error: mnistcnn.ConversionError, file: str) -> str:
    """Return the message without the quoted lines of the test file, which may contain what a test searches for."""
    message = str(error)
    for number in set(re.findall(r"test_\w+\.py:(\d+): ", message)):
        message = message.replace(linecache.getline(file, int(number)).strip(), "…")
    return message
