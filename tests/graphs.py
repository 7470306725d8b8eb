"""ONNX graphs under test: looking into them, and one to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgead.runtimes.onnxruntime import library

onnxruntime = library.load()


def operators(model: onnx.ModelProto, tmp_path: Path) -> list[str]:
    """What ONNX Runtime really runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]


def source_network(path: Path) -> Path:
    """Write a network whose 384 features of a 4 px cell are mixtures of its mean colour."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(384, 3, 1, 1)).repeat(4, 2).repeat(4, 3).astype(np.float32) / 16
    node = helper.make_node("Conv", ["image", "weights"], ["features"], strides=[4, 4])
    graph = helper.make_graph(
        [node],
        "source",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 256, 256])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 384, 64, 64])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
