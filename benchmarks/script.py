"""What the benchmarks that are run as ``python -m edgead.benchmarks.NAME`` have in common."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edgead import notices
from edgead.errors import EdgeadError


def pairs(
    parser: argparse.ArgumentParser, words: Sequence[str], form: str
) -> list[tuple[str, str]]:
    """Split ``A=B`` words at the last ``=``; one without is wrong usage of a form."""
    found = []
    for word in words:
        first, _, second = word.rpartition("=")
        if not first:
            parser.error(f"'{word}' is not {form}")
        found.append((first, second))
    return found


def runs_parser(name: str, form: str = "RUN=DATA") -> argparse.ArgumentParser:
    """Return the parser of a benchmark that tries things on finished trainings: OUT, RUN=DATA."""
    parser = argparse.ArgumentParser(prog=f"python -m edgead.benchmarks.{name}")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the tables")
    parser.add_argument("pairs", nargs="+", metavar=form, help="run folder = labelled photos")
    return parser


def absolute(path: str | Path) -> Path:
    """Make a path absolute and plain; a link stays one, for its name says what it stands for."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def told(measure: Callable[[], str]) -> int:
    """Print what a benchmark found, or its error as the command line does; return the exit code."""
    try:
        text = measure()
    except EdgeadError as error:
        notices.say(f"error: {error}")
        return error.exit_code
    print(text)
    return 0
