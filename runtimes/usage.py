"""Who is using a runtime: many threads that infer, or the one that opens or closes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum


class State(Enum):
    """Where a runtime is in its life."""

    CLOSED = "closed"
    OPEN = "open"
    LEFT_IN_PARENT = "left in the parent process"


class Usage:
    """Lets threads in while a runtime is open, and closes it when the last of them has left."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        # Reentrant, because a signal handler may close what its own thread is using.
        self._lock = threading.RLock()
        self._everybody_left = threading.Condition(self._lock)
        self._inside: list[int] = []
        self._close_later: Callable[[], None] | None = None
        self._changing = threading.RLock()

    def enter(self) -> bool:
        """Let this thread in and return ``True``; ``False`` unless the runtime is open."""
        with self._lock:
            if self.state is not State.OPEN:
                return False
            self._inside.append(threading.get_ident())
            return True

    def leave(self) -> None:
        """Undo :meth:`enter`."""
        close = None
        with self._lock:
            self._inside.remove(threading.get_ident())
            if not self._inside:
                self._everybody_left.notify_all()
                close, self._close_later = self._close_later, None
        if close is not None:
            close()

    def open(self, open_it: Callable[[], None]) -> None:
        """Open a runtime that is closed; one thread at a time."""
        with self._changing:
            if self.state is State.CLOSED:
                open_it()
                self.state = State.OPEN

    def close(self, close_it: Callable[[], None]) -> None:
        """Let nobody in any more, and close once everybody has left.

        Waits for the other threads. A signal handler whose own thread is inside cannot wait for
        itself: then that thread closes when it leaves.
        """
        with self._changing:
            with self._lock:
                if self.state is not State.OPEN:
                    return
                self.state = State.CLOSED
                if threading.get_ident() in self._inside:
                    self._close_later = close_it
                    return
                self._everybody_left.wait_for(lambda: not self._inside)
            close_it()
