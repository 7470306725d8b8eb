"""EfficientNet-Lite0 as an ONNX graph, node by node, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgead.backbones import lite, safetensors
from edgead.backbones.weights import Folded, folded
from edgead.errors import UsageError

OPSET, IR = 17, 8
"""Those of every file of edgead: the newest that TensorRT 8.5 reads."""

PLACE = "backbone"
"""Prefix of the names of nodes and weights."""


@dataclass
class Graph:
    """A graph that is being built.

    Attributes:
        size: ``(height, width)`` of the input in pixels.
        nodes: So far.
        weights: Initializers so far.
        macs: Multiply-accumulates of the convolutions so far, for one photo.
        parameters: Number of weights and biases of the convolutions so far.
    """

    size: tuple[int, int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    macs: int = 0
    parameters: int = 0

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        """Add a constant and return its name."""
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node and return its output, which has its name and ``/out``."""
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}/out"], name, **attributes))
        return f"{name}/out"

    def convolution(
        self,
        source: str,
        layer: Folded,
        name: str,
        sides: tuple[int, int],
        step: int = 1,
        groups: int = 1,
    ) -> tuple[str, tuple[int, int]]:
        """Add a convolution with ``SAME`` padding.

        Args:
            source: The tensor that it reads.
            layer: Its weights.
            name: Of the node.
            sides: Height and width of what it reads.
            step: Stride.
            groups: Groups of channels.

        Returns:
            The output's name, and its height and width.
        """
        kernel = layer.weight.shape[-1]
        (top, bottom), (left, right) = (lite.same_padding(side, kernel, step) for side in sides)
        place = name.replace("/", ".")
        inputs = [
            source,
            self.constant(f"{place}.weight", layer.weight),
            self.constant(f"{place}.bias", layer.bias),
        ]
        height, width = (-(-side // step) for side in sides)
        self.macs += layer.weight.size * height * width
        self.parameters += layer.weight.size + layer.bias.size
        made = self.node(
            "Conv",
            inputs,
            name,
            kernel_shape=[kernel, kernel],
            strides=[step, step],
            pads=[top, left, bottom, right],
            group=groups,
        )
        return made, (height, width)

    def relu6(self, source: str, name: str) -> str:
        """Add a ReLU6."""
        return self.node("Clip", [source, "zero", "six"], name)

    def model(self, outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """Return the checked model with the input ``image``."""
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *self.size, 3])
        graph = helper.make_graph(self.nodes, "edgead", [image], list(outputs), self.weights)
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="edgead",
        )
        onnx.checker.check_model(made, full_check=True)
        return made


def begin(arrays: safetensors.Arrays, size: tuple[int, int], last: int) -> tuple[Graph, list[str]]:
    """Build the backbone, from the photo to a stage.

    Args:
        arrays: Of :func:`edgead.backbones.weights.load`.
        size: ``(height, width)`` of the input in pixels, multiples of 32.
        last: Number of the last stage.

    Returns:
        The graph, and the name of each stage's output.

    Raises:
        UsageError: The size is not a multiple of 32.
    """
    if any(side % lite.FACTOR or side <= 0 for side in size):
        raise UsageError(
            f"the image size {size[0]}x{size[1]} is not a multiple of {lite.FACTOR} on both sides, "
            "which efficientnet-lite0 needs: use for example 256x256"
        )
    graph = Graph(size)
    graph.constant("zero", np.asarray(0, np.float32))
    graph.constant("six", np.asarray(6, np.float32))
    pixels = graph.node("Transpose", ["image"], "pixels/planes", perm=[0, 3, 1, 2])
    pixels = graph.node("Cast", [pixels], "pixels/cast", to=TensorProto.FLOAT)
    # Not folded into the bias: what a convolution pads with is the mean, and not black.
    mean = graph.constant("pixels.mean", np.full((1, 3, 1, 1), lite.MEAN, np.float32))
    found = graph.node("Sub", [pixels, mean], "pixels/centred")
    stem = folded(arrays, "_conv_stem", "_bn0")
    bgr = np.ascontiguousarray(stem.weight[:, ::-1]) / np.float32(lite.DEVIATION)
    name = f"{PLACE}/stem"
    found, sides = graph.convolution(found, Folded(bgr, stem.bias), name, size, 2)
    found = graph.relu6(found, f"{name}/relu6")
    stages: dict[int, str] = {}
    for block in (block for block in lite.BLOCKS if block.stage <= last):
        found, sides = _block(graph, arrays, block, found, sides)
        stages[block.stage] = found
    return graph, list(stages.values())


def _block(
    graph: Graph,
    arrays: safetensors.Arrays,
    block: lite.Block,
    source: str,
    sides: tuple[int, int],
) -> tuple[str, tuple[int, int]]:
    place = f"{PLACE}/{block.name.removeprefix('_').replace('.', '/')}"
    found = source
    if block.expansion != 1:
        layer = folded(arrays, f"{block.name}._expand_conv", f"{block.name}._bn0")
        found, _ = graph.convolution(found, layer, f"{place}/expand", sides)
        found = graph.relu6(found, f"{place}/expand/relu6")
    layer = folded(arrays, f"{block.name}._depthwise_conv", f"{block.name}._bn1")
    groups = block.inputs * block.expansion
    found, sides = graph.convolution(
        found, layer, f"{place}/depthwise", sides, block.stride, groups
    )
    found = graph.relu6(found, f"{place}/depthwise/relu6")
    layer = folded(arrays, f"{block.name}._project_conv", f"{block.name}._bn2")
    found, sides = graph.convolution(found, layer, f"{place}/project", sides)
    if block.is_residual:
        found = graph.node("Add", [found, source], f"{place}/sum")
    return found, sides


def stages(arrays: safetensors.Arrays, size: tuple[int, int], last: int) -> onnx.ModelProto:
    """Return a graph from ``image`` to every stage's output, named ``stage0`` and so on.

    Args are those of :func:`begin`.
    """
    graph, names = begin(arrays, size, last)
    outputs = []
    for stage, name in enumerate(names):
        graph.nodes.append(helper.make_node("Identity", [name], [f"stage{stage}"]))
        step = lite.stride(stage)
        rows, columns = (side // step for side in size)
        shape: list[str | int | None] = ["batch", lite.channels(stage), rows, columns]
        outputs.append(helper.make_tensor_value_info(f"stage{stage}", TensorProto.FLOAT, shape))
    return graph.model(outputs)
