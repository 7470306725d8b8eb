"""An ONNX graph that is written node by node, without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgead.backbones.folding import Folded

Padding = Callable[[int, int, int], tuple[int, int]]
"""Zeros before and behind an axis, of its length, the kernel's side and the stride."""

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
        padding: Padding,
        step: int = 1,
        groups: int = 1,
    ) -> tuple[str, tuple[int, int]]:
        """Add a convolution whose output has a ``step``-th of the cells, rounded up.

        Args:
            source: The tensor that it reads.
            layer: Its weights.
            name: Of the node.
            sides: Height and width of what it reads.
            padding: How many zeros it reads around it.
            step: Stride.
            groups: Groups of channels.

        Returns:
            The output's name, and its height and width.
        """
        kernel = layer.weight.shape[-1]
        (top, bottom), (left, right) = (padding(side, kernel, step) for side in sides)
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

    def pixels(self, mean: Sequence[float]) -> str:
        """Add what turns the photo into float planes around their mean, in BGR.

        It is not folded into a bias: what a convolution pads with is the mean, and not black.
        """
        planes = self.node("Transpose", ["image"], "pixels/planes", perm=[0, 3, 1, 2])
        planes = self.node("Cast", [planes], "pixels/cast", to=TensorProto.FLOAT)
        values = np.array(mean, np.float32).reshape(1, 3, 1, 1)
        return self.node("Sub", [planes, self.constant("pixels.mean", values)], "pixels/centred")

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
