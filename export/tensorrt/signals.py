"""Signals during a build, which TensorRT would swallow."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Optional


@contextlib.contextmanager
def signals_after(say: Callable[[str], None]) -> Iterator[None]:
    """Handle a signal after the block instead of in it; a second one ends the process at once.

    TensorRT calls Python, to log, from within a build. It prints and drops the exception that a
    handler raises there, and goes on, so that Ctrl-C and SIGTERM would have no effect.

    Args:
        say: Called with what the first signal will do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread handle signals
        return
    waiting: list[int] = []

    def note(number: int, _frame: Optional[FrameType]) -> None:  # noqa: UP045  # Python 3.9
        if waiting:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        waiting.append(number)
        name = signal.Signals(number).name
        say(f"{name}: this stops when TensorRT has finished the build; once more: at once")

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if waiting:
        handlers[waiting[0]](waiting[0], None)
