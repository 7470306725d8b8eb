"""Signals that ask a training to end wait until a step is done, so that its checkpoint is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


class HeldSignals:
    """Holds signals back in its block, until :meth:`deliver` gives them to the older handlers.

    A handler that raises in the middle of a step would leave weights of two steps. A second signal
    is not held back: somebody is in a hurry.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._held: int | None = None

    @property
    def any(self) -> bool:
        """Whether a signal waits."""
        return self._held is not None

    def deliver(self) -> None:
        """Let the handler from before see the signal; most of them end the process or raise."""
        number, self._held = self._held, None
        if number is not None:
            self._restore()
            signal.raise_signal(number)
            self._install()

    def __enter__(self) -> HeldSignals:
        self._install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._restore()
        if kind is None and self._held is not None:
            signal.raise_signal(self._held)

    def _install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets no other thread handle signals
        for name in _ENDING:
            number = getattr(signal, name, None)
            # Ignored by nohup, or handled outside of Python: left so.
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._handlers[number] = signal.signal(number, self._hold)

    def _restore(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _hold(self, number: int, _frame: FrameType | None) -> None:
        if self._held is None:
            self._held = number
            return
        self._restore()
        signal.raise_signal(number)
