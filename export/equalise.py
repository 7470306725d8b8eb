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

from edgead.export.onnx_graph import EditableGraph
from edgead.export.roles import channel_count, is_depthwise

Doubles = npt.NDArray[np.float64]

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
    edited = EditableGraph(model)
    edited.unshare_weights()
    nodes = {node.name: node for node in edited.nodes}
    for tensor, producer in equalisable(edited.model).items():
        reading = readers(edited.proto, tensor, 0)
        assert reading is not None
        maxima = channel_maxima[tensor].astype(np.float64)
        count = len(maxima)
        reach = np.zeros(count)
        for reader, offset in reading:
            weights = np.abs(edited.values(reader.input[1])[:, offset : offset + count])
            reach = np.maximum(reach, weights.max((0, 2, 3)))
        alive = (maxima > 1e-6) & (reach > 1e-12)
        factor = np.ones(count)
        factor[alive] = maxima[alive] ** _BALANCE / reach[alive] ** (1 - _BALANCE)
        factor[alive] /= np.exp(np.log(factor[alive]).mean())
        factor = np.clip(factor, 1e-3, 1e3)
        divide_outputs(edited, nodes[producer], factor)
        for reader, offset in reading:
            multiply_inputs(edited, reader, offset, factor)
    return edited.model


def divide_outputs(edited: EditableGraph, node: onnx.NodeProto, factor: Doubles) -> None:
    """Divide the output channels of a convolution, weights and bias."""
    for name in node.input[1:]:
        values = edited.values(name)
        edited.set(name, values / factor.reshape(-1, *[1] * (values.ndim - 1)))


def multiply_inputs(
    edited: EditableGraph, node: onnx.NodeProto, start: int, factor: Doubles
) -> None:
    """Multiply the input channels of a convolution, from one on."""
    values = edited.values(node.input[1]).copy()
    values[:, start : start + len(factor)] *= factor[:, None, None]
    edited.set(node.input[1], values)


def _consumers(graph: onnx.GraphProto, tensor: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if tensor in node.input]


def readers(
    graph: onnx.GraphProto, tensor: str, offset: int
) -> list[tuple[onnx.NodeProto, int]] | None:
    """Find the convolutions that read a tensor, each with the channel where it begins there.

    ``None`` where anything else reads it too, or a depthwise convolution.
    """
    if tensor in {output.name for output in graph.output}:
        return None
    found: list[tuple[onnx.NodeProto, int]] = []
    for node in _consumers(graph, tensor):
        behind = readers_behind(graph, node, tensor, offset)
        if behind is None:
            return None
        found += behind
    return found or None


def readers_behind(
    graph: onnx.GraphProto, node: onnx.NodeProto, tensor: str, offset: int
) -> list[tuple[onnx.NodeProto, int]] | None:
    """Find them as :func:`readers` does, behind one of the nodes that read the tensor."""
    if node.op_type == "Conv" and node.input[0] == tensor:
        return None if is_depthwise(node) else [(node, offset)]
    start = offset
    if node.op_type == "Concat":
        names = list(node.input)
        widths = [channel_count(graph, name) for name in names[: names.index(tensor)]]
        axis = next(entry.i for entry in node.attribute if entry.name == "axis")
        if None in widths or axis != 1 or names.count(tensor) > 1:
            return None
        start += sum(width for width in widths if width is not None)
    elif node.op_type not in _LINEAR:
        return None
    return readers(graph, node.output[0], start)
