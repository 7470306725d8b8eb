"""An FP32 graph seen as convolutions and the channels between them, and how to change it.

Every operation here keeps the contract of the graph: ``image`` in, ``anomaly_map`` and ``score``
out, one node called ``head`` behind the squared differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgead.errors import UsageError
from edgead.export.equalise import readers
from edgead.export.onnx_graph import unshare_weights
from edgead.export.roles import HEAD

Floats = npt.NDArray[np.float64]

_NOT_SQUARED = (
    "this detector cannot be compressed: the method needs a map that is a sum of squared "
    "differences of features, as in EfficientAd (STFPM and reverse distillation normalise their "
    "features over all channels first); use --fp16 or --int8"
)


@dataclass(frozen=True)
class Conv:
    """One convolution of a graph.

    Attributes:
        name: Name of its node.
        input: The activation that it reads.
        output: Its own output.
        activated: The activation behind it: its ReLU's output, or its own.
        kernel, strides, pads: As ONNX has them.
        positions: Output cells of one photo.
        channels: Output channels.
        inputs: Input channels.
    """

    name: str
    input: str
    output: str
    activated: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    positions: tuple[int, int]
    channels: int
    inputs: int

    @property
    def has_relu(self) -> bool:
        """Whether a ReLU follows."""
        return self.activated != self.output

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one photo."""
        rows, columns = self.positions
        area = self.kernel[0] * self.kernel[1]
        return rows * columns * self.channels * self.inputs * area


@dataclass(frozen=True)
class Difference:
    """A difference of two networks' features; the map is a weighted sum of its squares.

    Attributes:
        tensor: The activation ``[N, channels, h, w]`` that is squared.
        convolutions: What makes it: one convolution, or the two that are subtracted.
        signs: +1 or -1, how each enters.
        weight: Weight of its squares in the map.
        centring: Share of each channel's mean over the photo that is taken off first.
    """

    tensor: str
    convolutions: tuple[str, ...]
    signs: tuple[int, ...]
    weight: float
    centring: float


class Network:
    """A copy of a graph under surgery.

    Args:
        model: FP32 graph with edgead's contract.

    Raises:
        UsageError: Its map is not a weighted sum of squared differences.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        unshare_weights(self.graph)
        self._tensors = {tensor.name: tensor for tensor in self.graph.initializer}
        self._sides = _sides(model)
        self.differences = self._find_differences()

    @property
    def convolutions(self) -> dict[str, Conv]:
        """All convolutions but the head, by name, in the order of the graph."""
        found = {}
        for node in self.graph.node:
            if node.op_type != "Conv" or node.name == HEAD:
                continue
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            shape = self._tensors[node.input[1]].dims
            consumers = [other for other in self.graph.node if node.output[0] in other.input]
            relu = len(consumers) == 1 and consumers[0].op_type == "Relu"
            found[node.name] = Conv(
                name=node.name,
                input=node.input[0],
                output=node.output[0],
                activated=consumers[0].output[0] if relu else node.output[0],
                kernel=tuple(attributes["kernel_shape"]),
                strides=tuple(attributes.get("strides", [1, 1])),
                pads=tuple(attributes.get("pads", [0, 0, 0, 0])),
                positions=self._sides[node.output[0]],
                channels=shape[0],
                inputs=shape[1],
            )
        return found

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions for one photo, without the head."""
        return sum(convolution.macs for convolution in self.convolutions.values())

    @property
    def parameters(self) -> int:
        """Weights and biases of the convolutions, without the head."""
        return sum(
            sum(int(np.prod(self._tensors[name].dims)) for name in node.input[1:])
            for node in self.graph.node
            if node.op_type == "Conv" and node.name != HEAD
        )

    def weights(self, name: str) -> tuple[Floats, Floats]:
        """Return a convolution's weights ``[out, in, kh, kw]`` and bias ``[out]``."""
        node = self._node(name)
        weights = numpy_helper.to_array(self._tensors[node.input[1]]).astype(np.float64)
        if len(node.input) < 3:
            return weights, np.zeros(len(weights))
        return weights, numpy_helper.to_array(self._tensors[node.input[2]]).astype(np.float64)

    def set_weights(self, name: str, weights: Floats, bias: Floats) -> None:
        """Replace a convolution's weights; the numbers of channels may change."""
        node = self._node(name)
        self._store(node.input[1], weights)
        if len(node.input) < 3:
            node.input.append(f"{name}.bias")
        self._store(node.input[2], bias)

    def readers(self, tensor: str) -> list[tuple[str, int]] | None:
        """Name the convolutions that read an activation, each with the channel it begins at.

        ``None`` where something else reads it too.
        """
        found = readers(self.graph, tensor, 0)
        return None if found is None else [(node.name, offset) for node, offset in found]

    def is_pooled(self, tensor: str) -> bool:
        """Whether an activation is averaged before it is read."""
        return any(n.op_type == "AveragePool" and tensor in n.input for n in self.graph.node)

    def project(self, difference: Difference, directions: Floats) -> None:
        """Turn a difference's channels onto directions ``[channels, k]``, of unit length each.

        With all directions of an orthonormal basis the sum of squares stays the same.
        """
        for name in difference.convolutions:
            weights, bias = self.weights(name)
            turned = np.tensordot(directions.T, weights, 1)
            self.set_weights(name, turned, directions.T @ bias)

    def keep_channels(self, producer: str, kept: Sequence[int]) -> None:
        """Remove output channels of a convolution, also from those who read them."""
        convolution = self.convolutions[producer]
        behind = self.readers(convolution.activated)
        assert behind is not None
        gone = np.setdiff1d(np.arange(convolution.channels), kept)
        for reader, offset in behind:
            weights, bias = self.weights(reader)
            self.set_weights(reader, np.delete(weights, offset + gone, axis=1), bias)
        weights, bias = self.weights(producer)
        self.set_weights(producer, weights[kept], bias[kept])

    def factorise(
        self, name: str, inner: tuple[Floats, Floats], outer: tuple[Floats, Floats]
    ) -> None:
        """Put a convolution with fewer outputs and a 1x1 convolution in place of one."""
        node = self._node(name)
        middle = f"{node.output[0]}_reduced"
        names = [f"{name}.expand.weight", f"{name}.expand.bias"]
        expand = helper.make_node(
            "Conv",
            [middle, *names],
            list(node.output),
            f"{name}/expand",
            kernel_shape=[1, 1],
            strides=[1, 1],
            pads=[0, 0, 0, 0],
        )
        for tensor, values in zip(names, (outer[0][:, :, None, None], outer[1]), strict=True):
            self._store(tensor, values)
        self.set_weights(name, *inner)
        node.output[0] = middle
        self._sides[middle] = self._sides[expand.output[0]]
        position = next(i for i, other in enumerate(self.graph.node) if other is node)
        self.graph.node.insert(position + 1, expand)

    def finished(self) -> onnx.ModelProto:
        """Check the graph and return it."""
        del self.graph.value_info[:]
        onnx.checker.check_model(self.model, full_check=True)
        return self.model

    def _find_differences(self) -> tuple[Difference, ...]:
        if not any(node.name == HEAD for node in self.graph.node):
            raise UsageError(_NOT_SQUARED)
        head = self._node(HEAD)
        stack = self._producer(head.input[0])
        if stack is None or stack.op_type != "Concat":
            raise UsageError(_NOT_SQUARED)
        factors = numpy_helper.to_array(self._tensors[head.input[1]]).ravel()
        if len(factors) != len(stack.input):
            raise UsageError(_NOT_SQUARED)
        found = []
        for entry, factor in zip(stack.input, factors, strict=True):
            square = self._skip(entry, {"Unsqueeze", "ReduceSum"})
            if square is None or not self._is_square(square):
                raise UsageError(_NOT_SQUARED)
            squared = square.input[0]
            source, centring = self._without_centring(squared)
            made_by = self._producer(source)
            ends = list(made_by.input) if made_by and made_by.op_type == "Sub" else [source]
            producers = [self._producer(end) for end in ends]
            if any(producer is None or producer.op_type != "Conv" for producer in producers):
                raise UsageError(_NOT_SQUARED)
            names = tuple(producer.name for producer in producers if producer is not None)
            signs = (1, -1)[: len(names)]
            found.append(Difference(squared, names, signs, float(factor), centring))
        return tuple(found)

    def _without_centring(self, tensor: str) -> tuple[str, float]:
        """Return what a tensor was before a share of its mean was taken off, and the share."""
        made_by = self._producer(tensor)
        if made_by is None or made_by.op_type != "Sub":
            return tensor, 0.0
        source, scaled = str(made_by.input[0]), self._producer(made_by.input[1])
        summed = self._producer(scaled.input[0]) if scaled and scaled.op_type == "Mul" else None
        if summed is None or summed.op_type != "ReduceSum" or summed.input[0] != source:
            return tensor, 0.0
        assert scaled is not None
        factor = float(numpy_helper.to_array(self._tensors[scaled.input[1]]))
        return source, factor * float(np.prod(self._sides[tensor]))

    def _is_square(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Mul":
            return bool(node.input[0] == node.input[1])
        exponent = self._tensors.get(node.input[1]) if node.op_type == "Pow" else None
        return exponent is not None and bool(np.all(numpy_helper.to_array(exponent) == 2))

    def _skip(self, tensor: str, operators: set[str]) -> onnx.NodeProto | None:
        node = self._producer(tensor)
        while node is not None and node.op_type in operators:
            node = self._producer(node.input[0])
        return node

    def _node(self, name: str) -> onnx.NodeProto:
        node: onnx.NodeProto = next(node for node in self.graph.node if node.name == name)
        return node

    def _producer(self, tensor: str) -> onnx.NodeProto | None:
        return next((node for node in self.graph.node if tensor in node.output), None)

    def _store(self, name: str, values: Floats) -> None:
        made = numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
        if name in self._tensors:
            self._tensors[name].CopyFrom(made)
        else:
            self.graph.initializer.append(made)
            self._tensors[name] = self.graph.initializer[-1]


def _sides(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Height and width of every activation ``[N, C, h, w]``."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    sides = {}
    for value in [*graph.value_info, *graph.output]:
        axes = value.type.tensor_type.shape.dim
        if len(axes) == 4:
            sides[value.name] = (axes[2].dim_value, axes[3].dim_value)
    return sides
