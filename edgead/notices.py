"""What is reported beside a result: warnings, notes, progress.

A program that uses edgead as a library gets them through :mod:`logging`, from the logger
``"edgead"``. A command shows them on stderr instead. Each is one line and safe on a terminal,
whatever foreign text is in it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from edgead.printable import printable

LOGGER = logging.getLogger("edgead")

_commands = 0


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show notices on stderr in this block, as a command does, in place of logging them."""
    global _commands
    _commands += 1
    try:
        yield
    finally:
        _commands -= 1


def are_shown() -> bool:
    """Whether a command shows notices on stderr."""
    return _commands > 0


def warn(text: str) -> None:
    """Report what a user should look at."""
    if are_shown():
        _print(f"warning: {text}")
    else:
        LOGGER.warning("%s", printable(text))


def note(text: str) -> None:
    """Report what a user may want to know."""
    if are_shown():
        _print(f"note: {text}")
    else:
        LOGGER.info("%s", printable(text))


def say(text: str) -> None:
    """Report what is being done."""
    if are_shown():
        _print(text)
    else:
        LOGGER.info("%s", printable(text))


def error(text: object) -> None:
    """Print an error, as a command reports it."""
    _print(f"edgead: error: {text}")


def overwrite(text: str) -> None:
    """Write over the line on which the cursor of a terminal is, and leave the cursor on it."""
    # A command's stderr escapes such codes unless they are ours.
    control = getattr(sys.stderr, "control", _write)
    control("\r\x1b[K")
    _write(printable(text))


def is_terminal() -> bool:
    """Whether a person reads what a command shows."""
    return are_shown() and sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _print(text: str) -> None:
    _write(printable(text) + "\n")


def _write(text: str) -> None:
    if sys.stderr is None:  # a service without one: print() would take stdout instead
        return
    with contextlib.suppress(OSError, ValueError):  # closed or full: nobody can be told
        sys.stderr.write(text)
        sys.stderr.flush()
