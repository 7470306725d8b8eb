"""INT8 graphs with QuantizeLinear/DequantizeLinear pairs, in the two shapes that runtimes want.

One graph cannot serve both worlds. ONNX Runtime and OpenVINO run INT8 convolutions where every
activation is quantized (UINT8, with a zero point) and the bias is INT32. TensorRT refuses both
and wants symmetric INT8 on the inputs of convolutions only, with a float bias.

Both shapes come from the same ranges. The head (map normalisation and score) stays FP32, and so do
the activations of an autoencoder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgead import cpu
from edgead.calibration.calibrators import Range
from edgead.errors import EdgeadError

HEAD = "head"
"""The node that turns raw maps into the anomaly map, or the folder of such nodes (``head/...``);
they never become INT8."""

LARGEST_WEIGHT = cpu.LARGEST_EXACT_WEIGHT
"""Of the magnitudes of INT8 weights. Half of what INT8 could hold costs no accuracy here, and lets
every CPU take its fast kernels and compute the same sums (docs/notes/int8-weights.md)."""

AUTOENCODER = "autoencoder"
"""The folder of nodes (``autoencoder/...``) whose activations stay float.

What it predicts is subtracted from features of another network, outside of any convolution's sum,
unlike teacher minus student. Rounded to 8 bits on the way, the prediction loses what tells one
photo from another: all that INT8 cost an EfficientAd-S on bottle came from here, for 6 % of the
work (docs/notes/int8-loss.md).
"""

ONNXRUNTIME_SCHEME = (
    "Q/DQ, uint8 activations, int8 weights per channel, int32 bias; autoencoder: weights alone"
)
TENSORRT_SCHEME = (
    "Q/DQ, int8 symmetric inputs of convolutions (not of the first, nor the autoencoder's), int8 "
    "weights per channel"
)

_CARRIERS = {"Resize", "Concat", "MaxPool", "DepthToSpace"}
"""Operators without weights that only move or mix values: their output cannot leave the range of
their inputs, so both share one scale."""


_NETWORK = {"Cast", "Conv", "ConvTranspose", "Relu", "AveragePool", *_CARRIERS}
"""Operators that networks are made of, besides sums."""


@dataclass(frozen=True)
class _Quantizer:
    """How one tensor is mapped to integers: ``round(x / scale) + zero_point``."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[Any]


def is_head(node: onnx.NodeProto) -> bool:
    """Whether a node belongs to the head."""
    return node.name == HEAD or node.name.startswith(f"{HEAD}/")


def is_autoencoder(node: onnx.NodeProto) -> bool:
    """Whether a node belongs to an autoencoder."""
    return node.name.startswith(f"{AUTOENCODER}/")


def convolutions(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions whose weights become INT8, in the order of the graph."""
    return [node.name for node in model.graph.node if _is_convolution(node)]


def integer_convolutions(model: onnx.ModelProto) -> list[str]:
    """Name those of :func:`convolutions` that also read INT8: all but the autoencoder's."""
    return [node.name for node in model.graph.node if _is_integer(node)]


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


def calibrated_tensors(model: onnx.ModelProto) -> list[str]:
    """Name the activations whose ranges an INT8 graph needs, in the order of the graph."""
    graph = _Graph(model)
    sums = {node.name for node in graph.sums()}
    names: list[str] = []
    for node in graph.nodes:
        if _is_integer(node):
            names += [node.input[0], graph.activated(node)]
        elif node.name in sums:
            names += [*node.input, graph.activated(node)]
        elif node.op_type in _CARRIERS and set(graph.data_inputs(node)) <= set(names):
            names += node.output
    return [name for name in dict.fromkeys(names) if name != graph.pixels]


def compared_tensors(model: onnx.ModelProto) -> list[str]:
    """Name the INT8 features that the score is computed from: the last convolutions' outputs."""
    graph = _Graph(model)
    inside = {"Conv", "ConvTranspose", *_CARRIERS, "AveragePool", "Relu", "Add"}
    made = [node for node in graph.nodes if _is_integer(node)]
    names = [graph.activated(node) for node in [*made, *graph.sums()]]
    return [
        name
        for name in names
        if not any(node.op_type in inside for node in graph.nodes if name in node.input)
    ]


def for_onnxruntime(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> onnx.ModelProto:
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

    Returns:
        A new graph with the same inputs and outputs.

    Raises:
        EdgeadError: The graph is INT8 already, or a range is missing.
    """
    graph = _Graph(model)
    graph.make_pools_convolutions()
    ranges = graph.make_tilings_convolutions(ranges)
    chosen = [n for n in graph.nodes if _is_integer(n) and n.op_type == "Conv"]
    sums = graph.sums()
    ranges = _shared_ranges(graph, ranges)
    quantized: dict[str, _Quantizer] = {}
    for node in sums:
        for name in (*node.input, graph.activated(node)):
            quantized[name] = _unsigned(_range_of(ranges, name))
    for node in chosen:
        for name in (node.input[0], graph.activated(node)):
            if name != graph.pixels:
                quantized[name] = _unsigned(_range_of(ranges, name))
    for node in graph.nodes:  # a carrier joins where what it carries is INT8 anyway
        if node.op_type in _CARRIERS and all(i in quantized for i in graph.data_inputs(node)):
            quantized.setdefault(node.output[0], _unsigned(_range_of(ranges, node.output[0])))
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


def for_tensorrt(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """Write the INT8 graph that TensorRT accepts; arguments as in :func:`for_onnxruntime`.

    Convolutions that read the photo stay float: symmetric INT8 has 127 levels for a pixel's 255.
    They are about 3 % of the work. So do the autoencoder's. A residual sum reads its shortcut
    rounded and its other input, which comes straight from a convolution, as float: TensorRT then
    adds inside the convolution.
    """
    graph = _Graph(model)
    chosen = [node for node in graph.nodes if _is_integer(node) and node.input[0] != graph.pixels]
    shortcuts = [(graph.shortcut(node), node) for node in graph.sums()]
    wanted = [*((node.input[0], node) for node in chosen), *shortcuts]
    for name in dict.fromkeys(name for name, _ in wanted if name is not None):
        consumers = [node for other, node in wanted if other == name]
        graph.insert_pair(name, _symmetric(_range_of(ranges, name)), consumers)
    for node in chosen:
        graph.insert_weight_pair(node)
    return graph.finished()


def chosen_scales(weight: str) -> str:
    """Name the tensor that holds the scales which a weight was rounded with before."""
    return f"{weight}_int8_scale"


def weight_scales(weights: npt.NDArray[np.float32], axis: int = 0) -> npt.NDArray[np.float32]:
    """Return one symmetric INT8 scale for each output channel of a convolution."""
    weights = np.moveaxis(weights, axis, 0)
    largest = np.abs(weights.reshape(len(weights), -1)).max(1)
    return np.asarray(np.maximum(largest, 1e-12) / LARGEST_WEIGHT, np.float32)


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


def _is_convolution(node: onnx.NodeProto) -> bool:
    return node.op_type in {"Conv", "ConvTranspose"} and not is_head(node)


def _is_integer(node: onnx.NodeProto) -> bool:
    return _is_convolution(node) and not is_autoencoder(node)


def _range_of(ranges: Mapping[str, Range], name: str) -> Range:
    if name not in ranges:
        raise EdgeadError(f"there is no calibrated range for the tensor {name}: calibrate again")
    return ranges[name]


def _shared_ranges(graph: _Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Give the inputs and the output of a concatenation or a resize one range.

    Then they move bytes and nothing is rounded twice.
    """
    shared = dict(ranges)
    for node in graph.nodes:
        inputs = graph.data_inputs(node)
        if node.op_type not in _CARRIERS or not shared.keys() >= set(inputs):
            continue
        union = Range(
            min(shared[name].low for name in inputs), max(shared[name].high for name in inputs)
        )
        for name in [*inputs, node.output[0]]:
            shared[name] = union
    return shared


def _unsigned(found: Range) -> _Quantizer:
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    scale = max(high - low, 1e-12) / 255
    zero = int(np.clip(round(-low / scale), 0, 255))
    return _Quantizer(np.asarray(scale, np.float32), np.asarray(zero, np.uint8))


def _symmetric(found: Range) -> _Quantizer:
    scale = max(abs(found.low), abs(found.high), 1e-12) / 127
    return _Quantizer(np.asarray(scale, np.float32), np.asarray(0, np.int8))


class _Graph:
    """A copy of a graph under surgery."""

    pixel_scale = np.asarray(1, np.float32)

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.proto = self.model.graph
        if any(node.op_type in {"QuantizeLinear", "DequantizeLinear"} for node in self.nodes):
            raise EdgeadError("the graph is INT8 already: quantize the FP32 file it was made from")
        self._weights = {tensor.name: tensor for tensor in self.proto.initializer}
        self._pair_sources: dict[str, str] = {}
        (cast,) = (node for node in self.nodes if node.op_type == "Cast")
        self.pixels: str = cast.output[0]
        """The photo as float values 0..255."""

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        return list(self.proto.node)

    def data_inputs(self, node: onnx.NodeProto) -> list[str]:
        """Return a node's inputs that are activations."""
        names = node.input[:1] if node.op_type == "Resize" else node.input
        return [name for name in names if name and name not in self._weights]

    def activated(self, node: onnx.NodeProto) -> str:
        """Return the tensor after a convolution and the ReLU that may follow it."""
        relu = self._relu_after(node)
        return str((relu or node).output[0])

    def sums(self) -> list[onnx.NodeProto]:
        """Return the additions of two activations inside the networks, before any head."""
        inside = {self.pixels}
        found = []
        for node in self.nodes:
            inputs = self.data_inputs(node)
            if is_head(node) or not inputs or not inside.issuperset(inputs):
                continue
            if node.op_type == "Add" and len(inputs) == 2:
                found.append(node)
            elif not (node.op_type in _NETWORK or (node.op_type == "Sub" and len(inputs) == 1)):
                continue
            inside.update(node.output)
        return found

    def shortcut(self, node: onnx.NodeProto) -> str | None:
        """Return the input of a residual sum that does not come straight from a convolution.

        Of two convolutions' outputs it is the second, the one that only changes the shape.
        """
        made = {other.output[0]: other.op_type in {"Conv", "ConvTranspose"} for other in self.nodes}
        first, second = (made.get(name, False) for name in node.input)
        if not first and not second:
            return None
        return str(node.input[1] if first else node.input[0])

    def drop_relu(self, node: onnx.NodeProto, quantized: Mapping[str, _Quantizer]) -> None:
        """Let the quantizer's zero do what the ReLU does: nothing below it can be stored."""
        relu = self._relu_after(node)
        if relu is not None and int(quantized[relu.output[0]].zero_point) == 0:
            node.output[0] = relu.output[0]
            self.proto.node.remove(relu)

    def read_pixels_as_integers(self) -> None:
        """Replace the cast of the photo: a pixel is its own integer, with the scale 1."""
        (cast,) = (node for node in self.nodes if node.op_type == "Cast")
        scale = self._add("pixels_scale", self.pixel_scale)
        zero = self._add("pixels_zero", np.asarray(0, np.uint8))
        pair = helper.make_node(
            "DequantizeLinear", [cast.input[0], scale, zero], [self.pixels], "pixels/dequantize"
        )
        self._replace(cast, [pair])

    def make_pools_convolutions(self) -> None:
        """Write average pooling as a convolution of each channel with equal weights.

        It is the same sum, and 1/4 is exact in INT8. ONNX Runtime's INT8 pooling goes through FP32
        value by value; its depthwise INT8 convolution takes a seventh of the time
        (docs/notes/int8-method.md).
        """
        for node in self.nodes:
            if node.op_type == "AveragePool":
                self._make_pool_a_convolution(node)

    def _make_pool_a_convolution(self, node: onnx.NodeProto) -> None:
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        channels = channel_count(self.proto, node.input[0])
        if channels is None or any(attributes.get("pads", [0])):
            return
        kernel = attributes["kernel_shape"]
        weights = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32)
        made = helper.make_node(
            "Conv",
            [node.input[0], self._add(f"{node.name}.weight", weights)],
            list(node.output),
            node.name,
            kernel_shape=kernel,
            strides=attributes["strides"],
            group=channels,
        )
        self._replace(node, [made])

    def make_tilings_convolutions(self, ranges: Mapping[str, Range]) -> dict[str, Range]:
        """Write transposed convolutions that do not overlap as 1x1 ones and a rearrangement.

        The same sums; ONNX Runtime has an INT8 kernel for these. Returns the ranges with those of
        the new tensors.
        """
        extended = dict(ranges)
        for node in self.nodes:
            if _is_convolution(node) and is_tiling(node):
                relu = self._relu_after(node)
                output = self.activated(node)
                phases = f"{output}_phases"
                if output in extended:
                    extended[phases] = extended[output]
                self._make_tiling_a_convolution(node, relu, phases)
        return extended

    def _make_tiling_a_convolution(
        self, node: onnx.NodeProto, relu: onnx.NodeProto | None, phases: str
    ) -> None:
        weights = self._values(node.input[1])  # [in, out, side, side]
        channels, _, side, _ = weights.shape
        name = f"{node.input[1]}_phases"
        rows = weights.transpose(1, 2, 3, 0).reshape(-1, channels, 1, 1)
        inputs = [node.input[0], self._add(name, rows)]
        scales = np.repeat(self._weight_scales(node), side * side)
        self._add(chosen_scales(name), scales)
        if len(node.input) > 2:
            bias = np.repeat(self._values(node.input[2]), side * side)
            inputs.append(self._add(f"{node.input[2]}_phases", bias))
        raw = phases if relu is None else f"{phases}_raw"
        made = [helper.make_node("Conv", inputs, [raw], node.name, kernel_shape=[1, 1])]
        if relu is not None:
            made.append(helper.make_node("Relu", [raw], [phases], f"{node.name}/relu"))
        output = (relu or node).output[0]
        made.append(
            helper.make_node(
                "DepthToSpace", [phases], [output], f"{node.name}/space", blocksize=side, mode="CRD"
            )
        )
        self._replace(node, made)
        if relu is not None:
            self.proto.node.remove(relu)

    def insert_pair(
        self,
        name: str,
        quantizer: _Quantizer,
        consumers: Collection[onnx.NodeProto] | None = None,
    ) -> None:
        """Round a tensor to integers and back for its consumers (all, or those given)."""
        chosen = self.nodes if consumers is None else list(consumers)
        rounded = f"{name}_dequantized"
        for node in chosen:
            for index, entry in enumerate(node.input):
                if entry == name:
                    node.input[index] = rounded
        self._pair_sources[rounded] = name
        parameters = [
            self._add(f"{name}_scale", quantizer.scale),
            self._add(f"{name}_zero", quantizer.zero_point),
        ]
        pair = [
            helper.make_node(
                "QuantizeLinear", [name, *parameters], [f"{name}_quantized"], f"{name}/quantize"
            ),
            helper.make_node(
                "DequantizeLinear",
                [f"{name}_quantized", *parameters],
                [rounded],
                f"{name}/dequantize",
            ),
        ]
        (producer,) = (node for node in self.nodes if name in node.output)
        self._insert_after(producer, pair)

    def source_of_pair(self, name: str) -> str:
        """Return the tensor that a pair inserted here has rounded."""
        return self._pair_sources[name]

    def make_weights_integer(
        self, node: onnx.NodeProto, input_scale: npt.NDArray[np.float32]
    ) -> None:
        """Store weights as INT8 and the bias as INT32, each with its DequantizeLinear."""
        has_bias = len(node.input) > 2
        bias = self._values(node.input[2]).astype(np.float64) if has_bias else np.zeros(1)
        # A channel of tiny weights would leave too fine a scale for its bias to fit INT32.
        least = 1.001 * np.abs(bias) / (np.iinfo(np.int32).max * input_scale)
        scales = np.maximum(self._weight_scales(node), least.astype(np.float32))
        stored = [(1, self._integers(node, scales), scales)]
        if has_bias:
            bias_scales = np.asarray(scales * input_scale, np.float32)
            stored.append((2, np.rint(bias / bias_scales).astype(np.int32), bias_scales))
        for index, values, scale in stored:
            name = node.input[index]
            names = [
                self._add(f"{name}_quantized", values),
                self._add(f"{name}_scale", scale),
                self._add(f"{name}_zero", np.zeros(len(scale), values.dtype)),
            ]
            pair = helper.make_node(
                "DequantizeLinear", names, [f"{name}_dequantized"], f"{name}/dequantize", axis=0
            )
            node.input[index] = f"{name}_dequantized"
            self._insert_before(node, [pair])

    def store_weights_as_integers(self, node: onnx.NodeProto) -> None:
        """Store the weights of a convolution that stays float as INT8, to save space alone.

        They become float when the file is loaded: runtimes fold a Cast and a Mul of constants.
        ONNX Runtime keeps a DequantizeLinear instead, for every photo, and then has no constant
        weights to lay out for its fast kernel.
        """
        name, scales = node.input[1], self._weight_scales(node)
        integers = self._integers(node, scales)
        factors = scales.reshape((-1,) + (1,) * (integers.ndim - 1))
        made = [
            helper.make_node(
                "Cast",
                [self._add(f"{name}_quantized", integers)],
                [f"{name}_cast"],
                f"{name}/cast",
                to=onnx.TensorProto.FLOAT,
            ),
            helper.make_node(
                "Mul",
                [f"{name}_cast", self._add(f"{name}_scale", factors)],
                [f"{name}_dequantized"],
                f"{name}/scale",
            ),
        ]
        node.input[1] = f"{name}_dequantized"
        self._insert_before(node, made)

    def insert_weight_pair(self, node: onnx.NodeProto) -> None:
        """Round float weights in the graph, as TensorRT wants them; the bias stays float."""
        name, axis = node.input[1], output_axis(node)
        scales = self._weight_scales(node)
        parameters = [
            self._add(f"{name}_scale", scales),
            self._add(f"{name}_zero", np.zeros(len(scales), np.int8)),
        ]
        quantize = helper.make_node(
            "QuantizeLinear",
            [name, *parameters],
            [f"{name}_quantized"],
            f"{name}/quantize",
            axis=axis,
        )
        dequantize = helper.make_node(
            "DequantizeLinear",
            [f"{name}_quantized", *parameters],
            [f"{name}_dequantized"],
            f"{name}/dequantize",
            axis=axis,
        )
        node.input[1] = f"{name}_dequantized"
        self._insert_before(node, [quantize, dequantize])

    def finished(self) -> onnx.ModelProto:
        """Drop what nobody uses any more, check the graph and return it."""
        used = {name for node in self.nodes for name in node.input}
        for tensor in list(self.proto.initializer):
            if tensor.name not in used:
                self.proto.initializer.remove(tensor)
        del self.proto.value_info[:]
        onnx.checker.check_model(self.model, full_check=True)
        return self.model

    def _relu_after(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        consumers = [other for other in self.nodes if node.output[0] in other.input]
        if len(consumers) == 1 and consumers[0].op_type == "Relu":
            return consumers[0]
        return None

    def _integers(
        self, node: onnx.NodeProto, scales: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int8]:
        weights = self._values(node.input[1])
        factors = scales.reshape((-1,) + (1,) * (weights.ndim - 1))
        integers = np.clip(np.rint(weights / factors), -LARGEST_WEIGHT, LARGEST_WEIGHT)
        return np.asarray(integers, np.int8)

    def _weight_scales(self, node: onnx.NodeProto) -> npt.NDArray[np.float32]:
        chosen = chosen_scales(node.input[1])
        if chosen in self._weights:
            return self._values(chosen)
        return weight_scales(self._values(node.input[1]), output_axis(node))

    def _values(self, name: str) -> npt.NDArray[np.float32]:
        return np.asarray(numpy_helper.to_array(self._weights[name]), np.float32)

    def _add(self, name: str, values: npt.NDArray[Any]) -> str:
        self.proto.initializer.append(numpy_helper.from_array(values, name))
        self._weights[name] = self.proto.initializer[-1]
        return name

    def _position(self, node: onnx.NodeProto) -> int:
        return next(index for index, other in enumerate(self.proto.node) if other is node)

    def _insert_after(self, node: onnx.NodeProto, added: list[onnx.NodeProto]) -> None:
        for offset, entry in enumerate(added):
            self.proto.node.insert(self._position(node) + 1 + offset, entry)

    def _insert_before(self, node: onnx.NodeProto, added: list[onnx.NodeProto]) -> None:
        for entry in added:
            self.proto.node.insert(self._position(node), entry)

    def _replace(self, node: onnx.NodeProto, added: list[onnx.NodeProto]) -> None:
        self._insert_after(node, added)
        self.proto.node.remove(node)
