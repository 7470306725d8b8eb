"""ONNX Runtime sessions whose results are the same on every CPU."""

from __future__ import annotations

from typing import Any

PROVIDER = "CPUExecutionProvider"


def exact_options(threads: int) -> Any:
    """Return ``onnxruntime.SessionOptions`` for exact results with so many threads.

    On x86 CPUs without VNNI, ONNX Runtime's INT8 convolutions overflow 16 bits unless told
    otherwise (docs/runtimes.md). The setting changes nothing on others.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options
