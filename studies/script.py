"""What the studies have in common."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgead import files, notices
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


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that have the same keys; what is not known is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


def told(measure: Callable[[], str]) -> int:
    """Print what a study found, or its error as the command line does; return the exit code."""
    try:
        with notices.shown():
            text = measure()
    except EdgeadError as error:
        notices.error(error)
        return error.exit_code
    print(text)
    return 0
