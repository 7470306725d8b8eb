"""ONNX Runtime sessions whose results are the same on every CPU."""

from __future__ import annotations

from typing import Any

from edgead.runtimes.onnxruntime import library


def exact_options(threads: int) -> Any:
    """Return ``onnxruntime.SessionOptions`` for exact results with so many threads.

    On x86 CPUs without VNNI, ONNX Runtime's fast INT8 convolutions add pairs of products in 16
    bits, which weights above 64 overflow (docs/notes/int8-weights.md). Told to be precise, it takes
    slower kernels for such weights; nothing changes for smaller ones or on other CPUs.
    """
    options = library.load().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options
