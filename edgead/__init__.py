"""edgead: visual anomaly detection that gives the same scores on every device.

Importing this package loads neither torch nor a runtime; the names below are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgead.detection import Detection, Region, Timings
    from edgead.detector import EdgeDetector
    from edgead.errors import EdgeadError
    from edgead.teaching import TeachOptions, teach

__version__ = "0.1.0"
__all__ = [
    "Detection",
    "EdgeDetector",
    "EdgeadError",
    "Region",
    "TeachOptions",
    "Timings",
    "__version__",
    "teach",
]

_HOME = {
    "Detection": "edgead.detection",
    "Region": "edgead.detection",
    "Timings": "edgead.detection",
    "EdgeDetector": "edgead.detector",
    "EdgeadError": "edgead.errors",
    "TeachOptions": "edgead.teaching",
    "teach": "edgead.teaching",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        try:
            return getattr(import_module(_HOME[name]), name)
        except ImportError as error:
            from edgead import opencv
            from edgead.errors import EdgeadError

            reason = opencv.problem()
            if reason is None:
                raise
            raise EdgeadError(reason) from error
    raise AttributeError(f"module 'edgead' has no attribute {name!r}")
