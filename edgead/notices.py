"""What is said beside a command's result: warnings, notes, and what is being done, on stderr.

Each is one line and safe on a terminal, whatever foreign text is in it.
"""

from __future__ import annotations

import contextlib
import sys

from edgead.printable import printable


def warn(text: str) -> None:
    """Print a warning."""
    say(f"warning: {text}")


def note(text: str) -> None:
    """Print a note."""
    say(f"note: {text}")


def error(text: object) -> None:
    """Print an error, as a command reports it."""
    say(f"edgead: error: {text}")


def say(text: str) -> None:
    """Print one line."""
    _write(printable(text) + "\n")


def overwrite(text: str) -> None:
    """Write over the line on which the cursor of a terminal is, and leave the cursor on it."""
    # A command's stderr escapes such codes unless they are ours.
    control = getattr(sys.stderr, "control", _write)
    control("\r\x1b[K")
    _write(printable(text))


def is_terminal() -> bool:
    """Whether a person reads this."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _write(text: str) -> None:
    if sys.stderr is None:  # a service without one: print() would take stdout instead
        return
    with contextlib.suppress(OSError, ValueError):  # closed or full: nobody can be told
        sys.stderr.write(text)
        sys.stderr.flush()
