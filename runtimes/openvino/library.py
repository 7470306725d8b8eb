"""Imports OpenVINO, and keeps it from reporting home."""

from __future__ import annotations

import sys
import threading
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
