"""Open runtimes in a forked child: their threads stay in the parent, so they can do nothing there.

Their destructors would wait for those threads for ever, so the child keeps what it inherited until
it ends, and ends without them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import weakref
from typing import Any, Protocol


class Runtime(Protocol):
    """What has threads."""

    def left_in_parent(self) -> None:
        """Refuse everything from now on: this is a forked child."""


_opened: weakref.WeakSet[Any] = weakref.WeakSet()


def watch(runtime: Runtime) -> None:
    """Call a runtime's :meth:`left_in_parent` in every child that is forked while it is open."""
    _opened.add(runtime)
    _register()


def forget(runtime: Runtime) -> None:
    """Stop watching a runtime that was closed."""
    _opened.discard(runtime)


@functools.cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    inherited = list(_opened)
    _opened.clear()
    for runtime in inherited:
        _keep_for_ever(dict(vars(runtime)))
        runtime.left_in_parent()
    _end_without_destructors()


def _keep_for_ever(thing: object) -> None:
    """Take a reference that is never dropped, not even at the interpreter's end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _end_without_destructors() -> None:
    """End this process, when Python is done, before the libraries' own clean-up.

    Measured: that clean-up waits for ever for ONNX Runtime's telemetry thread, and aborts in
    OpenVINO where the child has opened a runtime of its own. ``on_exit`` runs the last one
    registered first, so ``_exit`` comes after C's own buffers are written and before all else.
    """
    with contextlib.suppress(OSError, AttributeError):  # a C library without on_exit
        libc = ctypes.CDLL(None)
        libc.on_exit(libc._exit, None)
        libc.on_exit(libc.fcloseall, None)
