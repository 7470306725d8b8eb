"""What a node of a detector's graph is, by its name and operator.

Detectors name their nodes after their place (``teacher/layers.0``); :data:`HEAD` and
:data:`AUTOENCODER` are the two places that INT8 and compression treat apart.
"""

from __future__ import annotations

import onnx
from onnx import helper

HEAD = "head"
"""The node that turns raw maps into the anomaly map, or the folder of such nodes (``head/...``);
they never become INT8."""

AUTOENCODER = "autoencoder"
"""The folder of nodes (``autoencoder/...``) whose activations stay float.

What it predicts is subtracted from features of another network, outside of any convolution's sum,
unlike teacher minus student. Rounded to 8 bits on the way, the prediction loses what tells one
photo from another: all that INT8 cost an EfficientAd-S on bottle came from here, for 6 % of the
work (docs/notes/int8-loss.md).
"""

CARRIERS = {"Resize", "Concat", "MaxPool", "DepthToSpace"}
"""Operators without weights that only move or mix values: their output cannot leave the range of
their inputs, so both share one scale."""


_OF_PIXELS = {"Transpose", "Sub", "Add", "Mul", "Div"}
"""Operators between the cast of the photo and the first convolution."""

NETWORK = {"Cast", "Conv", "ConvTranspose", "Relu", "Clip", "AveragePool", *CARRIERS}
"""Operators that networks are made of, besides sums."""


def is_head(node: onnx.NodeProto) -> bool:
    """Whether a node belongs to the head."""
    return node.name == HEAD or node.name.startswith(f"{HEAD}/")


def is_carrier(node: onnx.NodeProto) -> bool:
    """Whether a node only moves or mixes values of the networks; those in a head stay FP32."""
    return node.op_type in CARRIERS and not is_head(node)


def is_autoencoder(node: onnx.NodeProto) -> bool:
    """Whether a node belongs to an autoencoder."""
    return node.name.startswith(f"{AUTOENCODER}/")


def photo_casts(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that turn the pixels of the photo into floats; a detector has one."""
    pixels = {"image"}
    for node in graph.node:
        if node.op_type == "Transpose" and node.input[0] in pixels:
            pixels.add(node.output[0])
    return [node for node in graph.node if node.op_type == "Cast" and node.input[0] in pixels]


def convolutions(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions whose weights become INT8, in the order of the graph."""
    return [node.name for node in model.graph.node if is_convolution(node)]


def integer_convolutions(model: onnx.ModelProto) -> list[str]:
    """Name those of :func:`convolutions` that also read INT8: all but the autoencoder's."""
    return [node.name for node in model.graph.node if is_integer(node)]


def output_axis(node: onnx.NodeProto) -> int:
    """Return which axis of a convolution's weights is its output channels."""
    return 1 if node.op_type == "ConvTranspose" else 0


def is_tiling(node: onnx.NodeProto) -> bool:
    """Whether a transposed convolution's outputs do not overlap, so that it is a 1x1 one."""
    if node.op_type != "ConvTranspose":
        return False
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    kernel = list(attributes["kernel_shape"])
    plain = not any(attributes.get("pads", [])) and not any(attributes.get("output_padding", []))
    square = len(set(kernel)) == 1 and attributes.get("group", 1) == 1
    return plain and square and kernel == list(attributes.get("strides", [1, 1]))


def channel_count(graph: onnx.GraphProto, tensor: str) -> int | None:
    """Return how many channels an activation has, from the convolution that made it."""
    producer = next((node for node in graph.node if tensor in node.output), None)
    if producer is None:
        return None
    if producer.op_type == "Conv":
        weights = next(t for t in graph.initializer if t.name == producer.input[1])
        return int(weights.dims[0])
    if producer.op_type in {"Relu", "AveragePool", "Resize", "MaxPool", "Add"}:
        return channel_count(graph, producer.input[0])
    return None


def first_layers(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions of the photo and the depthwise ones behind them, which stay float.

    On a photo with faint texture, channels of the first one's output vary by a hundredth of their
    range, and the depthwise convolution amplifies what is left of them after rounding. Half of the
    error of INT8 and more came from here, for two per cent of the time (docs/notes/teach.md).
    Where no depthwise convolution follows, nothing stays float.
    """
    nodes = model.graph.node
    channels = {
        tensor.name: tensor.dims[1] for tensor in model.graph.initializer if tensor.dims[1:]
    }
    pixels = {cast.output[0] for cast in photo_casts(model.graph)}
    firsts = []
    for node in nodes:
        if node.op_type in _OF_PIXELS and node.input[0] in pixels:
            pixels.update(node.output)
        elif node.op_type == "Conv" and node.input[0] in pixels:
            firsts.append(node)
    names: list[str] = []
    for first in firsts:
        after = [node for node in nodes if first.output[0] in node.input]
        if len(after) != 1:
            return []
        behind = [node for node in nodes if after[0].output[0] in node.input]
        if any(node.op_type != "Conv" or channels[node.input[1]] > 1 for node in behind):
            return []
        names += [first.name, *(node.name for node in behind)]
    return names


def is_depthwise(node: onnx.NodeProto) -> bool:
    """Whether a convolution filters each channel by itself."""
    groups = next((entry.i for entry in node.attribute if entry.name == "group"), 1)
    return node.op_type == "Conv" and groups > 1


def is_convolution(node: onnx.NodeProto) -> bool:
    """Whether a node is a convolution of the networks, whose weights become INT8."""
    return node.op_type in {"Conv", "ConvTranspose"} and not is_head(node)


def is_integer(node: onnx.NodeProto) -> bool:
    """Whether a node is a convolution that also reads INT8: all but the autoencoder's."""
    return is_convolution(node) and not is_autoencoder(node)
