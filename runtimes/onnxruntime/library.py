"""Imports ONNX Runtime for all of edgead, and keeps it from reporting home."""

from __future__ import annotations

import importlib
import os
import platform
from typing import Any

from edgead import packages
from edgead.errors import RuntimeUnavailableError

PROVIDER = "CPUExecutionProvider"
_DISABLE_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_PACKAGE = "onnxruntime"
_SAME_FOLDER = (
    _PACKAGE,
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-training",
    "onnxruntime-directml",
    "onnxruntime-qnn",
)
_ARM = ("aarch64", "arm64")
_CRASHES_ON_ARM = "1.21.0"


def load() -> Any:
    """Import ONNX Runtime without its telemetry.

    ONNX Runtime writes an identifier and a database of events into the home folder and looks up
    its collector (seen in 1.29 and later), unless ``ORT_DISABLE_TELEMETRY=1`` is in the environment
    before its first import. The variable stays there, so that processes started from this one keep
    silent as well. A program that has imported onnxruntime itself has made that choice already.

    Raises:
        RuntimeUnavailableError: It is not installed, is damaged, or is a version that crashes on
            this processor.
    """
    os.environ[_DISABLE_TELEMETRY] = "1"
    crash = crashes_here()
    if crash is not None:  # before the import, which may end the process
        raise RuntimeUnavailableError(crash)
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(_unusable(f"cannot be imported ({error})")) from error
    # What uninstalling one of two distributions leaves can be imported, as an empty package.
    if not hasattr(onnxruntime, "InferenceSession"):
        raise RuntimeUnavailableError(_unusable("has lost some of its files"))
    if PROVIDER not in onnxruntime.get_available_providers():
        raise RuntimeUnavailableError(_unusable(f"has no {PROVIDER}"))
    return onnxruntime


def load_quantization() -> Any:
    """Import ``onnxruntime.quantization`` in the same way.

    Raises:
        RuntimeUnavailableError: As :func:`load`.
    """
    load()
    return importlib.import_module("onnxruntime.quantization")


def conflict() -> str | None:
    """Say which distributions of ONNX Runtime are installed beside each other, if several are."""
    return packages.conflict(packages.installed(_SAME_FOLDER), _PACKAGE)


def crashes_here() -> str | None:
    """Say that the installed version ends with an illegal instruction here; ``None`` if not."""
    if platform.machine().lower() not in _ARM:
        return None
    if packages.installed([_PACKAGE]).get(_PACKAGE) != _CRASHES_ON_ARM:
        return None
    return (
        f"onnxruntime {_CRASHES_ON_ARM} crashes with an illegal instruction on 64-bit Arm "
        "processors such as that of the Raspberry Pi 4: pip install "
        f"'onnxruntime!={_CRASHES_ON_ARM}'"
    )


def _unusable(what: str) -> str:
    reason = conflict() or f"pip install --force-reinstall {_PACKAGE}"
    return f"the package onnxruntime {what}: {reason}"
