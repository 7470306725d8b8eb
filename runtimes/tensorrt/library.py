"""The tensorrt package: imported late, and asked for features, never for its version number."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from edgead.errors import RuntimeUnavailableError
from edgead.runtimes.tensorrt import libcuda

_INSTALL = (
    "on a Jetson it is part of JetPack (sudo apt install python3-libnvinfer, and a virtual "
    "environment with --system-site-packages), elsewhere: pip install 'edgead[tensorrt]'"
)


def problem() -> str | None:
    """Say why TensorRT cannot be used here; ``None`` where it can. Does not import it."""
    reason = libcuda.problem()
    if reason is not None:
        return reason
    if importlib.util.find_spec("tensorrt") is None:
        return f"the package tensorrt is not installed: {_INSTALL}"
    return None


def load() -> Any:
    """Import tensorrt, once it is known that there is a GPU.

    Raises:
        RuntimeUnavailableError: There is no GPU, or the package is missing or broken.
    """
    reason = problem()
    if reason is not None:
        raise RuntimeUnavailableError(f"TensorRT cannot be used here: {reason}")
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"the package tensorrt is installed but cannot be imported ({error}): {_INSTALL}"
        ) from error


def has(enum: Any, name: str) -> bool:
    """Whether an enum of this version has a member."""
    return name in getattr(enum, "__members__", {})


def new_log(trt: Any) -> Any:
    """Make a logger that keeps TensorRT's errors and warnings for our own messages."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(message)

    return Log()


def reason(log: Any, otherwise: str = "TensorRT gave no reason") -> str:
    """Return TensorRT's first error as one line: later ones are its consequences."""
    return " ".join(str(log.errors[0]).split()) if log.errors else otherwise


def is_out_of_memory(text: str) -> bool:
    """Whether one of TensorRT's messages says that memory ran out."""
    text = text.lower()
    return any(
        words in text for words in ("out of memory", "outofmemory", "could not be allocated")
    )
