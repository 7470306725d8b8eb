"""Cross-layer equalisation: give the channels of an activation like ranges, exactly.

INT8 has one scale for a whole activation. A channel whose values are small beside another's is
rounded to a few levels, and a distilled teacher has many of those. A ReLU passes positive factors
through, so a channel can be divided by a factor in the convolution that makes it and multiplied by
the same factor in those that read it: the FP32 graph stays the same function.

Source: Nagel et al., "Data-free quantization through weight equalization and bias correction"
(ICCV 2019), section 4.1; balanced by activations as in SmoothQuant (Xiao et al., ICML 2023).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgead.export.roles import channel_count, is_depthwise

_LINEAR = {"AveragePool", "Resize"}
"""Operators that act on each channel apart and are linear."""

_BALANCE = 0.5
"""1 would even out the activations alone, 0 the weights alone."""


def equalisable(model: onnx.ModelProto) -> dict[str, str]:
    """Return the activations (after a ReLU) that can be equalised, with the convolution before."""
    graph = model.graph
    found = {}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        consumers = _consumers(graph, node.output[0])
        if [consumer.op_type for consumer in consumers] == ["Relu"]:
            tensor = consumers[0].output[0]
            if readers(graph, tensor, 0) is not None:
                found[tensor] = node.name
    return found


def equalise(
    model: onnx.ModelProto, channel_maxima: Mapping[str, npt.NDArray[np.float32]]
) -> onnx.ModelProto:
    """Even out the channels of activations.

    Args:
        model: FP32 graph with edgead's contract.
        channel_maxima: Largest value of each channel of the activations of :func:`equalisable`.

    Returns:
        A graph of the same function, up to the rounding of FP32.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = {node.name: node for node in graph.node}

    def values(name: str) -> npt.NDArray[np.float32]:
        return np.array(numpy_helper.to_array(tensors[name]), np.float32)

    def store(name: str, new: npt.NDArray[np.floating]) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(new.astype(np.float32), name))

    for tensor, producer in equalisable(changed).items():
        reading = readers(graph, tensor, 0)
        assert reading is not None
        maxima = channel_maxima[tensor].astype(np.float64)
        count = len(maxima)
        reach = np.zeros(count)
        for reader, offset in reading:
            weights = np.abs(values(reader.input[1])[:, offset : offset + count])
            reach = np.maximum(reach, weights.max((0, 2, 3)))
        alive = (maxima > 1e-6) & (reach > 1e-12)
        factor = np.ones(count)
        factor[alive] = maxima[alive] ** _BALANCE / reach[alive] ** (1 - _BALANCE)
        factor[alive] /= np.exp(np.log(factor[alive]).mean())
        factor = np.clip(factor, 1e-3, 1e3)
        made_by = nodes[producer]
        store(made_by.input[1], values(made_by.input[1]) / factor.reshape(-1, 1, 1, 1))
        if len(made_by.input) > 2:
            store(made_by.input[2], values(made_by.input[2]) / factor)
        for reader, offset in reading:
            weights = values(reader.input[1])
            weights[:, offset : offset + count] *= factor.reshape(1, -1, 1, 1)
            store(reader.input[1], weights)
    return changed


def _consumers(graph: onnx.GraphProto, tensor: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if tensor in node.input]


def readers(
    graph: onnx.GraphProto, tensor: str, offset: int
) -> list[tuple[onnx.NodeProto, int]] | None:
    """Find the convolutions that read a tensor, each with the channel where it begins there.

    ``None`` where anything else reads it too, or a depthwise convolution.
    """
    found: list[tuple[onnx.NodeProto, int]] = []
    for node in _consumers(graph, tensor):
        if node.op_type == "Conv" and node.input[0] == tensor:
            if is_depthwise(node):
                return None
            found.append((node, offset))
            continue
        start = offset
        if node.op_type == "Concat":
            before = list(node.input)[: list(node.input).index(tensor)]
            widths = [channel_count(graph, name) for name in before]
            if None in widths:
                return None
            start += sum(width for width in widths if width is not None)
        elif node.op_type not in _LINEAR:
            return None
        behind = readers(graph, node.output[0], start)
        if behind is None:
            return None
        found += behind
    return found or None
