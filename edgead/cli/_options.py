"""Options that several commands share, and how they are read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from edgead.errors import UsageError

Subparsers = Any
"""argparse's own type for this is private."""


def image_size(text: str) -> tuple[int, int]:
    """Read ``256`` or ``256x320`` (height x width)."""
    parts = text.lower().split("x")
    try:
        sides = [int(part) for part in parts]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides, default=0) < 1:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an image size; write HEIGHTxWIDTH in pixels, for example 256x320"
        )
    return sides[0], sides[-1]


def positive_int(text: str) -> int:
    """Read a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return value


def named_value(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def whole_number(text: str) -> int:
    """Read a whole number, 0 included."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 on")
    return value


def compression(text: str) -> float | str:
    """Read ``auto`` or a number of GMAC above 0."""
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither 'auto' nor a number of GMAC above 0, for example 1.2"
        )
    return value


def milliseconds(text: str) -> float:
    """Read a number of milliseconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a number of milliseconds above 0, for example 12"
        )
    return value


def points(text: str) -> float:
    """Read a number of points, 0 to 100."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of points from 0 to 100")
    return value


def listed(text: str) -> tuple[str, ...]:
    """Read words with commas between them."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise argparse.ArgumentTypeError("the list is empty; write names with commas between them")
    return words


def steps_by_model(words: Sequence[str]) -> dict[str, int]:
    """Read ``N`` and ``MODEL=N``; a bare number is for all and has the key ``""``."""
    steps: dict[str, int] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            steps[name] = positive_int(number)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"--steps: {error}; write N or MODEL=N") from error
    return steps


def by_model(words: Sequence[str], option: str, form: str) -> dict[str, str]:
    """Read ``MODEL=VALUE`` words of an option."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} takes {form}, not '{word}'")
        found[name] = value
    return found


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add ``--runtime`` and ``--threads``."""
    parser.add_argument(
        "--runtime",
        default="auto",
        help="runtime to use (default: the first that can open the file; see 'edgead runtimes')",
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="threads of one inference (default: one per physical core)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda", "mps"],
        help="where to train (default: a GPU if there is one)",
    )
