"""Runtimes: interchangeable ways to run an artifact on a device.

One folder a backend. A runtime is found by its name in the entry-point group ``edgead.runtimes``,
so that another package can bring one without a change here.
"""

from edgead.runtimes.base import (
    DeviceKind,
    RawOutput,
    Runtime,
    RuntimeInfo,
    RuntimeOptions,
    Transfers,
)
from edgead.runtimes.select import Selection, available, names, open_runtime, working

__all__ = [
    "DeviceKind",
    "RawOutput",
    "Runtime",
    "RuntimeInfo",
    "RuntimeOptions",
    "Selection",
    "Transfers",
    "available",
    "names",
    "open_runtime",
    "working",
]
