"""Detectors that are taught: closed-form, on a frozen backbone, without torch, also on a device.

The names below are loaded on first use: they need onnx, and the weights of the backbone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgead.errors import MissingDependencyError

if TYPE_CHECKING:
    from edgead.teaching._add import add
    from edgead.teaching._teach import teach
    from edgead.teaching.options import TeachOptions

DETECTORS = ("patchcore", "padim")
"""Names of detectors that are taught."""

__all__ = ["DETECTORS", "TeachOptions", "add", "teach"]

_HOME = {
    "TeachOptions": "edgead.teaching.options",
    "add": "edgead.teaching._add",
    "teach": "edgead.teaching._teach",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'edgead.teaching' has no attribute {name!r}")
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("teaching a detector", "onnx", "teach") from error
    return getattr(import_module(_HOME[name]), name)
