"""Printing for readers that may go away, such as ``head``."""

from __future__ import annotations

import os
import sys


def say(line: str) -> None:
    """Print a line; when nobody reads any more, what goes into files is still wanted."""
    try:
        print(line)
    except BrokenPipeError:
        forget_output()


def forget_output() -> None:
    """Let what is printed from here on go nowhere, because nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
