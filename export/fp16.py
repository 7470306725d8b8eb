"""FP16: half the size, for GPUs.

On a CPU it buys nothing but the size: ONNX Runtime computes in FP32 what it has no FP16 kernels
for, and converts on the way, which the export report shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgead.calibration.calibrators import Range
from edgead.errors import GateRefused
from edgead.export.roles import is_head, photo_casts

_LARGEST = 65504.0
_HEADROOM = 4.0
"""Photos of defects not seen in calibration may reach higher."""

_NETWORK = {
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "Relu",
    "Resize",
    "Sub",
}


def checked_tensors(model: onnx.ModelProto) -> list[str]:
    """Name the activations that become FP16, in the order of the graph."""
    half = _half_tensors(model.graph)
    return [name for node in model.graph.node for name in node.output if name in half]


def for_gpus(model: onnx.ModelProto, activations: Mapping[str, Range]) -> onnx.ModelProto:
    """Convert a graph's networks to FP16; the squares, sums, head and score stay FP32.

    Squared differences summed over hundreds of channels are where FP16 overflows and where the
    score's last digits are.

    Args:
        model: FP32 graph with edgead's contract.
        activations: Which values :func:`checked_tensors` take on real photos.

    Returns:
        A graph with the same inputs and outputs, types included.

    Raises:
        GateRefused: An activation comes too close to FP16's largest number.
    """
    for name, seen in activations.items():
        reached = max(abs(seen.low), abs(seen.high))
        if reached * _HEADROOM > _LARGEST:
            raise GateRefused(
                f"FP16 was refused: the activation {name} reaches {reached:.3g} on calibration "
                f"photos, too close to the largest FP16 number, {_LARGEST:.0f}; use FP32 or INT8"
            )
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    half = _half_tensors(graph)
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in half:
            node.attribute[0].i = TensorProto.FLOAT16
        elif node.output[0] in half:
            for name in node.input:
                if name in tensors and tensors[name].data_type == TensorProto.FLOAT:
                    if node.op_type == "Resize":
                        continue  # its scales stay FP32
                    values = numpy_helper.to_array(tensors[name]).astype(np.float16)
                    tensors[name].CopyFrom(numpy_helper.from_array(values, name))
        else:
            _read_as_float(graph, node, half)
    del graph.value_info[:]
    onnx.checker.check_model(changed, full_check=True)
    return changed


def _half_tensors(graph: onnx.GraphProto) -> set[str]:
    """Follow the photo through the networks, up to the first operator that is not theirs."""
    half = {node.output[0] for node in photo_casts(graph)}
    weights = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        inputs = [name for name in node.input if name and name not in weights]
        is_network = node.op_type in _NETWORK and not is_head(node)
        if is_network and inputs and all(name in half for name in inputs):
            half.add(node.output[0])
    # A difference of two networks' features is taken in FP32.
    for node in graph.node:
        if node.op_type == "Sub" and not any(name in weights for name in node.input):
            half.discard(node.output[0])
    return half


def _read_as_float(graph: onnx.GraphProto, node: onnx.NodeProto, half: set[str]) -> None:
    for index, name in enumerate(node.input):
        if name not in half:
            continue
        widened = f"{name}_float"
        if not any(widened in other.output for other in graph.node):
            cast = helper.make_node(
                "Cast", [name], [widened], f"{name}/float", to=TensorProto.FLOAT
            )
            position = next(i for i, other in enumerate(graph.node) if other is node)
            graph.node.insert(position, cast)
        node.input[index] = widened
