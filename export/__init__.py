"""Export: from a trained detector to files for devices, with the proof that they give its scores.

The names below are loaded on first use: building an engine needs little of this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgead.export.options import ExportOptions
    from edgead.export.pipeline import export
    from edgead.export.report import Variant

__all__ = ["ExportOptions", "Variant", "export"]

_HOME = {
    "ExportOptions": "edgead.export.options",
    "Variant": "edgead.export.report",
    "export": "edgead.export.pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'edgead.export' has no attribute {name!r}")
