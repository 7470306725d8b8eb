"""The command line: one file a command, and errors that say what to do next.

What is imported here is little: until a command's signals are handled, Ctrl-C is a traceback.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from edgead import notices
from edgead.cli import _output, _signals
from edgead.errors import EdgeadError

_TRAINING_PACKAGES = {"torch", "lightning_fabric", "safetensors"}
_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")  # in torch's words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Without the program's name; ``None`` for those of the process, whose signals are
            handled then.

    Returns:
        0 done, 1 the work failed, 2 wrong usage, 3 a gate or verdict refused; 130, 143 or 129 after
        Ctrl-C, SIGTERM or SIGHUP.
    """
    try:
        if arguments is not None:
            return _with_streams(list(arguments))
        with _signals.ending_the_process():
            return _with_streams(sys.argv[1:])
    except KeyboardInterrupt as stop:  # it may come at any place
        return _signals.exit_code(stop)


def _with_streams(words: list[str]) -> int:
    with _output.patient_streams() as printed, notices.shown():
        code = _reported(words)
        printed.flush()  # at the interpreter's exit nothing would handle a failure
        if printed.failure is None:
            return code
        from edgead import files

        reason = files.described(printed.failure, "standard output")
        notices.error(f"{reason}; the printed output is incomplete, the files are complete")
        return code or 1


def _reported(words: list[str]) -> int:
    """Run a command and print the sentence of each error that a user can act on."""
    try:
        return _run(words)
    except EdgeadError as error:
        notices.error(error)
        return error.exit_code
    except (ImportError, AttributeError) as error:
        reason = _missing(error)
        if reason is None:
            raise
        notices.error(reason)
        return 1
    except OSError as error:  # a log or a temporary file, which no other error speaks for
        from edgead import files

        notices.error(files.described(error))
        return 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        reason = (str(error) or "an allocation failed").splitlines()[0]
        notices.error(
            f"not enough memory ({reason}): use smaller photos or batches, or a machine with more"
        )
        return 1
    except KeyboardInterrupt as stop:
        if notices.is_terminal():
            notices.overwrite("")  # over ^C
        notices.say("edgead: stopped")
        return _signals.exit_code(stop)


def _missing(error: ImportError | AttributeError) -> str | None:
    """Say which package is missing or broken, where that is what an error comes from."""
    from edgead import opencv

    package = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package in _TRAINING_PACKAGES:
        return (
            f"this command needs the package '{error.name}', which is not installed here: "
            "pip install 'edgead[train]'"
        )
    return opencv.problem()


def _run(words: list[str]) -> int:
    from edgead.cli import _commands

    try:
        args = _commands.parsed(words)
        return int(args.run(args))
    except SystemExit as stop:  # argparse ends the process itself, for --help and wrong usage
        return stop.code if isinstance(stop.code, int) else 2
