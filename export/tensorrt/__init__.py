"""TensorRT engines: built where they will run, checked against ONNX Runtime, kept or refused.

The names below are loaded on first use, so that the builder alone runs in an old Python.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgead.export.tensorrt.engine import Engine, export_engine
    from edgead.export.tensorrt.options import EngineOptions

__all__ = ["Engine", "EngineOptions", "export_engine"]

_HOME = {
    "Engine": "edgead.export.tensorrt.engine",
    "export_engine": "edgead.export.tensorrt.engine",
    "EngineOptions": "edgead.export.tensorrt.options",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'edgead.export.tensorrt' has no attribute {name!r}")
