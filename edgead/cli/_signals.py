"""Signals that ask a command to end: each ends it as Ctrl-C does.

What was begun is put in order on the way out: temporary files are removed, a training writes its
checkpoint, helper processes are ended.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ctrl-C, a service manager or ``kill``, a terminal that was closed."""


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def ending_the_process() -> Iterator[None]:
    """Raise :class:`Stopped` in this block at each signal that asks for the process's end.

    For the process's own command only: a program that calls a command keeps its own handlers. A
    signal that the process was started to ignore (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread handle signals
        return
    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        for number in handled:
            signal.signal(number, _stop)
        yield
    finally:
        # Python's own handler would print a traceback of the interpreter's end.
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def exit_code(stop: KeyboardInterrupt) -> int:
    """Return what a shell reports of a process that a signal ended: 128 and its number."""
    return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)
