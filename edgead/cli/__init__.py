"""The command line: one file a command, and errors that say what to do next."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
from collections.abc import Sequence
from typing import TextIO, cast

import edgead
from edgead import files
from edgead.cli._output import PatientOutput
from edgead.errors import EdgeadError

COMMANDS = (
    "demo",
    "models",
    "train",
    "evaluate",
    "export",
    "compare",
    "predict",
    "bench",
    "info",
    "runtimes",
    "distill-teacher",
)

_TRAINING_PACKAGES = {"torch", "lightning_fabric", "safetensors"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Without the program's name; ``None`` for those of the process.

    Returns:
        0 done, 1 the work failed, 2 wrong usage, 3 a gate or verdict refused.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else list(arguments)
    with contextlib.redirect_stdout(cast(TextIO, PatientOutput(sys.stdout))):
        try:
            code = _run(words)
            sys.stdout.flush()  # at the interpreter's exit nothing would handle a failure
            return code
        except OSError as error:  # a log or a temporary file, which no other error speaks for
            print(f"edgead: error: {files.described(error)}", file=sys.stderr)
            return 1


def _run(words: list[str]) -> int:
    try:
        # The words are for reports to repeat.
        args = _parser().parse_args(words, argparse.Namespace(words=words))
        return int(args.run(args))
    except SystemExit as stop:  # argparse ends the process itself, for --help and wrong usage
        return stop.code if isinstance(stop.code, int) else 2
    except EdgeadError as error:
        print(f"edgead: error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _TRAINING_PACKAGES:
            raise
        print(
            f"edgead: error: this command needs the package '{error.name}', which is not installed "
            "here: pip install 'edgead[train]'",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nedgead: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgead",
        description="Visual anomaly detection for edge devices: train on photos of good parts, "
        "export one file, get the same scores on the device.",
    )
    parser.add_argument("--version", action="version", version=f"edgead {edgead.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        module = importlib.import_module(f"edgead.cli.{command.replace('-', '_')}")
        module.add_parser(subparsers)
    return parser
