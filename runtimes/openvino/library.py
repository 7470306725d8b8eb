"""Imports OpenVINO, and keeps it from reporting home."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator
from typing import Any

from edgead.errors import RuntimeUnavailableError

_TELEMETRY = "openvino_telemetry"
_importing = threading.Lock()


def load() -> Any:
    """Import OpenVINO without its telemetry.

    Importing ``openvino`` sends an event to Google Analytics from a process of its own and leaves
    an identifier in the home folder, unless the user has opted out (seen in OpenVINO 2026.4).
    Where the package ``openvino_telemetry`` cannot be imported, OpenVINO takes a stub of its own
    instead. A program that has imported OpenVINO itself has made that choice already.

    Raises:
        RuntimeUnavailableError: It is installed, but a library that it needs is not.
    """
    try:
        with _importing:
            if "openvino" not in sys.modules and _TELEMETRY not in sys.modules:
                sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # importing it fails
                try:
                    import openvino
                finally:
                    del sys.modules[_TELEMETRY]
            import openvino
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"the package openvino is installed but cannot be imported ({error}): "
            "pip install --force-reinstall 'edgead[openvino]'"
        ) from error
    return openvino


@contextlib.contextmanager
def same_signal_stack() -> Iterator[None]:
    """Keep this thread's stack for signals while OpenVINO loads its CPU plugin.

    On Linux the plugin gives the thread a stack of its own and frees it at the plugin's end. Where
    another plugin began meanwhile, or another thread closes, the freed stack stays the thread's,
    and the next signal with a handler in Python ends the process (seen in OpenVINO 2026.4).
    """
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None)
    before = _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)


class _SignalStack(ctypes.Structure):
    """C's ``stack_t`` on Linux."""

    _fields_ = (
        ("ss_sp", ctypes.c_void_p),
        ("ss_flags", ctypes.c_int),
        ("ss_size", ctypes.c_size_t),
    )
