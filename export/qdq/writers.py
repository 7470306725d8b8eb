"""The two INT8 graphs of one calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from edgead.calibration.calibrators import Range
from edgead.export.qdq.scales import Quantizer, range_of, symmetric, unsigned
from edgead.export.qdq.surgery import IntegerGraph
from edgead.export.roles import CARRIERS, is_autoencoder, is_carrier, is_head, is_integer

ONNXRUNTIME_SCHEME = (
    "Q/DQ, uint8 activations, int8 weights per channel, int32 bias; autoencoder: weights alone"
)
TENSORRT_SCHEME = (
    "Q/DQ, int8 symmetric inputs of convolutions (not of the first, nor the autoencoder's), int8 "
    "weights per channel"
)


def calibrated_tensors(model: onnx.ModelProto, floats: Collection[str] = ()) -> list[str]:
    """Name the activations whose ranges an INT8 graph needs, in the order of the graph.

    Args:
        model: FP32 graph with edgead's contract.
        floats: Names of convolutions that stay float.
    """
    graph = IntegerGraph(model)
    sums = {node.name for node in graph.sums()}
    names: list[str] = []
    for node in graph.nodes:
        if is_integer(node) and node.name not in floats:
            names += [node.input[0], graph.activated(node)]
        elif node.name in sums:
            names += [*node.input, graph.activated(node)]
        elif _follows(node) and set(graph.data_inputs(node)) <= set(names):
            names += node.output
    return [name for name in dict.fromkeys(names) if name != graph.pixels]


def compared_tensors(model: onnx.ModelProto) -> list[str]:
    """Name the INT8 features that the score is computed from: the last convolutions' outputs."""
    graph = IntegerGraph(model)
    inside = {"Conv", "ConvTranspose", *CARRIERS, "AveragePool", "Relu", "Add"}
    made = [node for node in graph.nodes if is_integer(node)]
    names = [graph.activated(node) for node in [*made, *graph.sums()]]
    return [
        name
        for name in names
        if not any(node.op_type in inside for node in graph.nodes if name in node.input)
    ]


def for_onnxruntime(
    model: onnx.ModelProto, ranges: Mapping[str, Range], floats: Collection[str] = ()
) -> onnx.ModelProto:
    """Write the INT8 graph that ONNX Runtime and OpenVINO run fast.

    Every convolution but the head and the autoencoder's becomes INT8. One left in FP32 between two
    INT8 ones would not stay so: ONNX Runtime quantizes its weights when it loads the file, with one
    scale for all channels (docs/notes/int8-method.md). The autoencoder's read and give float all
    along; their weights are stored as INT8, to keep the file small. Transposed convolutions have no
    INT8 kernel there; those that do not overlap become a 1x1 convolution and a rearrangement, the
    others stay FP32.

    Args:
        model: FP32 graph with edgead's contract.
        ranges: Of :func:`calibrated_tensors`.
        floats: Names of the first convolutions, where they stay float.

    Returns:
        A new graph with the same inputs and outputs.

    Raises:
        EdgeadError: The graph is INT8 already, or a range is missing.
    """
    graph = IntegerGraph(model)
    graph.make_pools_convolutions()
    ranges = graph.make_tilings_convolutions(ranges)
    chosen = [
        node
        for node in graph.nodes
        if is_integer(node) and node.op_type == "Conv" and node.name not in floats
    ]
    sums = graph.sums()
    ranges = _shared_ranges(graph, ranges)
    quantized: dict[str, Quantizer] = {}
    for node in sums:
        for name in (*node.input, graph.activated(node)):
            quantized[name] = unsigned(range_of(ranges, name))
    for node in chosen:
        for name in (node.input[0], graph.activated(node)):
            if name != graph.pixels:
                quantized[name] = unsigned(range_of(ranges, name))
    for node in graph.nodes:  # a carrier joins where what it carries is INT8 anyway
        if is_carrier(node) and all(i in quantized for i in graph.data_inputs(node)):
            quantized.setdefault(node.output[0], unsigned(range_of(ranges, node.output[0])))
    graph.read_pixels_as_integers()
    for node in [*chosen, *sums]:
        graph.drop_relu(node, quantized)
    for name, quantizer in quantized.items():
        graph.insert_pair(name, quantizer)
    for node in chosen:
        scale = graph.pixel_scale if node.input[0] == graph.pixels else None
        if scale is None:
            scale = quantized[graph.source_of_pair(node.input[0])].scale
        graph.make_weights_integer(node, scale)
    for node in graph.nodes:
        if is_autoencoder(node) and node.op_type == "Conv":
            graph.store_weights_as_integers(node)
    return graph.finished()


def for_tensorrt(
    model: onnx.ModelProto, ranges: Mapping[str, Range], floats: Collection[str] = ()
) -> onnx.ModelProto:
    """Write the INT8 graph that TensorRT accepts; arguments as in :func:`for_onnxruntime`.

    Convolutions that read the photo stay float: symmetric INT8 has 127 levels for a pixel's 255.
    They are about 3 % of the work. So do the autoencoder's. A residual sum reads its shortcut
    rounded and its other input, which comes straight from a convolution, as float: TensorRT then
    adds inside the convolution.
    """
    graph = IntegerGraph(model)
    chosen = [
        node
        for node in graph.nodes
        if is_integer(node) and node.input[0] != graph.pixels and node.name not in floats
    ]
    shortcuts = [(graph.shortcut(node), node) for node in graph.sums()]
    wanted = [*((node.input[0], node) for node in chosen), *shortcuts]
    for name in dict.fromkeys(name for name, _ in wanted if name is not None):
        consumers = [node for other, node in wanted if other == name]
        quantizer = symmetric(range_of(ranges, name))
        graph.make_clip_a_relu(name, quantizer, consumers)
        graph.insert_pair(name, quantizer, consumers)
    for node in chosen:
        graph.insert_weight_pair(node)
    return graph.finished()


def _follows(node: onnx.NodeProto) -> bool:
    """Whether a node is INT8 where all of its inputs are."""
    return is_carrier(node) or (node.op_type == "AveragePool" and not is_head(node))


def _shared_ranges(graph: IntegerGraph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Give the inputs and the output of a concatenation or a resize one range.

    Then they move bytes and nothing is rounded twice.
    """
    shared = dict(ranges)
    for node in graph.nodes:
        inputs = graph.data_inputs(node)
        if not is_carrier(node) or not shared.keys() >= set(inputs):
            continue
        union = Range(
            min(shared[name].low for name in inputs), max(shared[name].high for name in inputs)
        )
        for name in [*inputs, node.output[0]]:
            shared[name] = union
    return shared
