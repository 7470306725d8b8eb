"""TensorRT's rules for Q/DQ graphs, checked without a GPU.

Source: NVIDIA's documentation "Working with Quantized Types" and the messages of onnx-tensorrt's
importers for QuantizeLinear and DequantizeLinear in versions 8.5 to 10; for the UINT8 input,
github.com/NVIDIA/TensorRT/issues/3985.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgead.errors import GateRefused

NEWEST_OPSET = 17  # of TensorRT 8.5
_FORBIDDEN = {
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "MatMulInteger",
    "ConvInteger",
}
_PAIR = {"QuantizeLinear", "DequantizeLinear"}
_QUANTIZED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def violations(model: onnx.ModelProto) -> list[str]:
    """Return each breach of the rules as a sentence; empty where TensorRT can take the graph."""
    found = [
        f"the graph needs opset {entry.version} of {entry.domain or 'ai.onnx'}, the newest that "
        f"TensorRT 8.5 reads is {NEWEST_OPSET} of ai.onnx"
        for entry in model.opset_import
        if entry.domain or entry.version > NEWEST_OPSET
    ]
    graph = model.graph
    found += [
        f"{node.name or node.op_type} reads the photo's bytes, which TensorRT lets a Cast do only"
        for node in graph.node
        if node.op_type != "Cast" and "image" in node.input
    ]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in _FORBIDDEN:
            found.append(f"{node.name} is a {node.op_type}, which TensorRT does not read")
        elif node.op_type in _PAIR:
            found += _pair(node, constants, producer)
        elif node.op_type in _QUANTIZED:
            found += _operator(node, constants, producer)
        elif node.op_type == "Add":
            found += _sum(node, producer)
        if node.op_type in {"Relu", "BatchNormalization"}:
            before = producer.get(node.input[0])
            if before is not None and before.op_type == "DequantizeLinear":
                found.append(
                    f"{before.name} stands between a convolution and {node.name}, which keeps "
                    "TensorRT from fusing them"
                )
    return found


def require(model: onnx.ModelProto) -> None:
    """Refuse a graph that TensorRT would refuse.

    Raises:
        GateRefused: Names the first breach.
    """
    found = violations(model)
    if found:
        raise GateRefused(
            f"the INT8 file for TensorRT breaks {len(found)} of TensorRT's rules, the first: "
            f"{found[0]}; this is a defect in the export of this detector, please report it"
        )


def _pair(
    node: onnx.NodeProto,
    constants: dict[str, npt.NDArray[np.generic]],
    producer: dict[str, onnx.NodeProto],
) -> list[str]:
    if len(node.input) != 3:
        return [f"{node.name} has {len(node.input)} inputs, TensorRT needs 3"]
    scale, zero = constants.get(node.input[1]), constants.get(node.input[2])
    if scale is None or zero is None:
        return [f"{node.name} has a scale or zero point that is not a constant"]
    found = []
    if zero.dtype != np.int8:
        found.append(f"{node.name} is {zero.dtype}, TensorRT needs int8")
    if np.any(zero != 0):
        found.append(f"{node.name} has a zero point other than 0")
    if not np.all(np.asarray(scale, np.float64) > 0):
        found.append(f"{node.name} has a scale that is not above 0")
    is_weight = node.input[0] in constants or (
        node.input[0] in producer and producer[node.input[0]].input[0] in constants
    )
    if scale.size > 1 and not is_weight:
        found.append(f"{node.name} has a scale for each channel of an activation")
    if node.op_type == "DequantizeLinear" and node.input[0] in constants:
        found.append(f"{node.name} reads stored integers, TensorRT 8 needs float with a Q/DQ pair")
    return found


def _sum(node: onnx.NodeProto, producer: dict[str, onnx.NodeProto]) -> list[str]:
    """A residual sum fuses with the convolution before it if that branch stays float."""

    def is_rounded(entry: onnx.NodeProto | None) -> bool:
        return entry is not None and entry.op_type == "DequantizeLinear"

    def source(entry: onnx.NodeProto | None) -> onnx.NodeProto | None:
        if entry is None or not is_rounded(entry):
            return entry
        quantize = producer.get(entry.input[0])
        return producer.get(quantize.input[0]) if quantize is not None else None

    branches = [producer.get(name) for name in node.input]
    if not any(is_rounded(branch) for branch in branches):
        return []  # stays float
    if all(is_rounded(branch) for branch in branches):
        return [f"{node.name} has both branches quantized, TensorRT needs the convolution's float"]
    made = [getattr(source(branch), "op_type", "") in _QUANTIZED for branch in branches]
    (rounded,) = (index for index, branch in enumerate(branches) if is_rounded(branch))
    if made[rounded] and not made[1 - rounded]:
        return [f"{node.name} has the convolution's branch quantized and not the residual one"]
    return []


def _operator(
    node: onnx.NodeProto,
    constants: dict[str, npt.NDArray[np.generic]],
    producer: dict[str, onnx.NodeProto],
) -> list[str]:
    before = [producer.get(name) for name in node.input]
    rounded = [entry is not None and entry.op_type == "DequantizeLinear" for entry in before]
    if not any(rounded):
        return []  # stays float
    found = []
    if not all(rounded[:2]):
        found.append(f"{node.name} has only one of activation and weight quantized")
    if len(node.input) > 2 and rounded[2]:
        found.append(f"{node.name} has a quantized bias, TensorRT needs a float one")
    weight = before[1]
    if weight is not None and weight.op_type == "DequantizeLinear":
        axis = next(
            (helper.get_attribute_value(a) for a in weight.attribute if a.name == "axis"), 1
        )
        expected = 1 if node.op_type == "ConvTranspose" else 0
        scale = constants.get(weight.input[1])
        if node.op_type.startswith("Conv") and scale is not None and scale.size > 1:
            if axis != expected:
                found.append(f"{weight.name} scales axis {axis}, {node.op_type} needs {expected}")
            quantize = producer.get(weight.input[0])
            source = constants.get(quantize.input[0]) if quantize is not None else None
            if source is not None and source.shape[expected] != scale.size:
                found.append(
                    f"{weight.name} has {scale.size} scales for {source.shape[expected]} channels"
                )
    return found
