"""What becomes of a graph's nodes and weights when it becomes INT8."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgead.calibration.calibrators import Range
from edgead.errors import EdgeadError
from edgead.export.onnx_graph import EditableGraph
from edgead.export.qdq.scales import Quantizer, chosen_scales, rounded, weight_scales
from edgead.export.roles import (
    NETWORK,
    channel_count,
    is_convolution,
    is_head,
    is_tiling,
    output_axis,
    photo_casts,
)


class IntegerGraph(EditableGraph):
    """A copy of a graph that becomes INT8.

    Args:
        model: FP32 graph with edgead's contract; it is not changed.

    Raises:
        EdgeadError: The graph is INT8 already.
    """

    pixel_scale = np.asarray(1, np.float32)

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        if any(node.op_type in {"QuantizeLinear", "DequantizeLinear"} for node in self.nodes):
            raise EdgeadError("the graph is INT8 already: quantize the FP32 file it was made from")
        self._pair_sources: dict[str, str] = {}
        (cast,) = photo_casts(self.proto)
        self.pixels: str = cast.output[0]
        """The photo as float values 0..255."""

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
            elif not (node.op_type in NETWORK or (node.op_type == "Sub" and len(inputs) == 1)):
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

    def drop_relu(self, node: onnx.NodeProto, quantized: Mapping[str, Quantizer]) -> None:
        """Let the quantizer do what the ReLU does: nothing outside of its range can be stored."""
        relu = self.relu_after(node)
        if relu is None:
            return
        found = quantized[relu.output[0]]
        largest = float(found.scale) * (255 - int(found.zero_point))
        # 1e-6: the scale is rounded to float32.
        if int(found.zero_point) == 0 and largest <= self.clip_of(relu)[1] * (1 + 1e-6):
            node.output[0] = relu.output[0]
            self.proto.node.remove(relu)

    def make_clip_a_relu(
        self, name: str, quantizer: Quantizer, consumers: Collection[onnx.NodeProto]
    ) -> None:
        """Let a symmetric quantizer be the upper end of a ReLU6.

        TensorRT documents the fusion of a convolution with a ReLU, and of no other activation.
        """
        clip = next((node for node in self.nodes if name in node.output), None)
        if clip is None or clip.op_type != "Clip":
            return
        readers = [node for node in self.nodes if name in node.input]
        low, high = self.clip_of(clip)
        is_end = float(quantizer.scale) * 127 <= high * (1 + 1e-6)  # rounded to float32
        if low == 0 and is_end and all(any(node is c for c in consumers) for node in readers):
            made = helper.make_node("Relu", [clip.input[0]], [name], clip.name)
            self.replace(clip, [made])

    def read_pixels_as_integers(self) -> None:
        """Replace the cast of the photo: a pixel is its own integer, with the scale 1."""
        (cast,) = photo_casts(self.proto)
        scale = self.add("pixels_scale", self.pixel_scale)
        zero = self.add("pixels_zero", np.asarray(0, np.uint8))
        pair = helper.make_node(
            "DequantizeLinear", [cast.input[0], scale, zero], [self.pixels], "pixels/dequantize"
        )
        self.replace(cast, [pair])

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
            [node.input[0], self.add(f"{node.name}.weight", weights)],
            list(node.output),
            node.name,
            kernel_shape=kernel,
            strides=attributes["strides"],
            group=channels,
        )
        self.replace(node, [made])

    def make_tilings_convolutions(self, ranges: Mapping[str, Range]) -> dict[str, Range]:
        """Write transposed convolutions that do not overlap as 1x1 ones and a rearrangement.

        The same sums; ONNX Runtime has an INT8 kernel for these. Returns the ranges with those of
        the new tensors.
        """
        extended = dict(ranges)
        for node in self.nodes:
            if is_convolution(node) and is_tiling(node):
                relu = self.relu_after(node)
                output = self.activated(node)
                phases = f"{output}_phases"
                if output in extended:
                    extended[phases] = extended[output]
                self._make_tiling_a_convolution(node, relu, phases)
        return extended

    def _make_tiling_a_convolution(
        self, node: onnx.NodeProto, relu: onnx.NodeProto | None, phases: str
    ) -> None:
        weights = self.values(node.input[1])  # [in, out, side, side]
        channels, _, side, _ = weights.shape
        name = f"{node.input[1]}_phases"
        rows = weights.transpose(1, 2, 3, 0).reshape(-1, channels, 1, 1)
        inputs = [node.input[0], self.add(name, rows)]
        scales = np.repeat(self._weight_scales(node), side * side)
        self.add(chosen_scales(name), scales)
        if len(node.input) > 2:
            bias = np.repeat(self.values(node.input[2]), side * side)
            inputs.append(self.add(f"{node.input[2]}_phases", bias))
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
        self.replace(node, made)
        if relu is not None:
            self.proto.node.remove(relu)

    def insert_pair(
        self,
        name: str,
        quantizer: Quantizer,
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
            self.add(f"{name}_scale", quantizer.scale),
            self.add(f"{name}_zero", quantizer.zero_point),
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
        self.insert_after(producer, pair)

    def source_of_pair(self, name: str) -> str:
        """Return the tensor that a pair inserted here has rounded."""
        return self._pair_sources[name]

    def make_weights_integer(
        self, node: onnx.NodeProto, input_scale: npt.NDArray[np.float32]
    ) -> None:
        """Store weights as INT8 and the bias as INT32, each with its DequantizeLinear."""
        has_bias = len(node.input) > 2
        bias = self.values(node.input[2]).astype(np.float64) if has_bias else np.zeros(1)
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
                self.add(f"{name}_quantized", values),
                self.add(f"{name}_scale", scale),
                self.add(f"{name}_zero", np.zeros(len(scale), values.dtype)),
            ]
            pair = helper.make_node(
                "DequantizeLinear", names, [f"{name}_dequantized"], f"{name}/dequantize", axis=0
            )
            node.input[index] = f"{name}_dequantized"
            self.insert_before(node, [pair])

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
                [self.add(f"{name}_quantized", integers)],
                [f"{name}_cast"],
                f"{name}/cast",
                to=onnx.TensorProto.FLOAT,
            ),
            helper.make_node(
                "Mul",
                [f"{name}_cast", self.add(f"{name}_scale", factors)],
                [f"{name}_dequantized"],
                f"{name}/scale",
            ),
        ]
        node.input[1] = f"{name}_dequantized"
        self.insert_before(node, made)

    def insert_weight_pair(self, node: onnx.NodeProto) -> None:
        """Round float weights in the graph, as TensorRT wants them; the bias stays float."""
        name, axis = node.input[1], output_axis(node)
        scales = self._weight_scales(node)
        parameters = [
            self.add(f"{name}_scale", scales),
            self.add(f"{name}_zero", np.zeros(len(scales), np.int8)),
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
        self.insert_before(node, [quantize, dequantize])

    def _integers(
        self, node: onnx.NodeProto, scales: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int8]:
        return rounded(self.values(node.input[1]), scales)

    def _weight_scales(self, node: onnx.NodeProto) -> npt.NDArray[np.float32]:
        chosen = chosen_scales(node.input[1])
        if chosen in self.weights:
            return self.values(chosen)
        return weight_scales(self.values(node.input[1]), output_axis(node))
