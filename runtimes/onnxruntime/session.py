"""ONNX Runtime sessions whose results are the same on every CPU."""

from __future__ import annotations

from typing import Any

PROVIDER = "CPUExecutionProvider"


def exact_options(threads: int) -> Any:
    """Return ``onnxruntime.SessionOptions`` for exact sums of any INT8 weights.

    On x86 CPUs without VNNI, ONNX Runtime's fast INT8 convolutions add pairs of products in 16
    bits, which large weights overflow (docs/runtimes.md). Its exact ones take half as long again;
    the setting changes nothing on other CPUs.
    """
    options = fast_options(threads)
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def fast_options(threads: int) -> Any:
    """Return ``onnxruntime.SessionOptions`` for graphs whose INT8 sums cannot overflow."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
