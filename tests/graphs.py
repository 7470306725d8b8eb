"""Looking into ONNX graphs under test."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime


def operators(model: onnx.ModelProto, tmp_path: Path) -> list[str]:
    """What ONNX Runtime really runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
