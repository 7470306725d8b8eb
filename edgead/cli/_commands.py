"""The commands, and the parser of their words."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any, NoReturn

import edgead
from edgead.errors import UsageError
from edgead.printable import printable

COMMANDS = (
    "demo",
    "teach",
    "models",
    "train",
    "evaluate",
    "export",
    "compare",
    "view",
    "reframe",
    "predict",
    "run",
    "bench",
    "info",
    "runtimes",
    "distill-teacher",
)


class _Parser(argparse.ArgumentParser):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.color = False  # Python 3.14 and later; its codes would be printed as escapes

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {printable(message)}\n")


def parsed(words: list[str]) -> argparse.Namespace:
    """Read a command's words; ``run`` of the result is the command.

    Raises:
        UsageError: A value is empty, as of a variable that a script did not set.
        SystemExit: Wrong usage, or help was asked for.
    """
    args = parser().parse_args(words, argparse.Namespace(words=words))  # for reports to repeat
    for name, value in vars(args).items():
        values = value if isinstance(value, (list, tuple)) and name != "words" else [value]
        if any(isinstance(one, str) and not one for one in values):
            raise UsageError(f"the value of '{name}' is empty; is a variable in it not set?")
    return args


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command's words."""
    made = _Parser(
        prog="edgead",
        description="Visual anomaly detection for edge devices: train on photos of good parts, "
        "export one file, get the same scores on the device.",
    )
    made.add_argument("--version", action="version", version=f"edgead {edgead.__version__}")
    subparsers = made.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        module = importlib.import_module(f"edgead.cli.{command.replace('-', '_')}")
        module.add_parser(subparsers)
    return made
