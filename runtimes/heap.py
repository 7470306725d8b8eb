"""Give memory that loading a network took, and no longer needs, back to the system."""

from __future__ import annotations

import contextlib
import ctypes


def return_freed() -> None:
    """Return freed memory where the C library keeps it (glibc); elsewhere do nothing.

    Loading parses, optimises and repacks the weights, and glibc keeps what that freed: a quarter
    of a predicting process.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
