"""A copy of an ONNX graph that is taken apart and put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper


def unshare_weights(graph: onnx.GraphProto) -> None:
    """Give each convolution weights of its own: exporters store equal ones only once."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    taken = {name for node in graph.node if node.op_type != "Conv" for name in node.input}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        for index, name in enumerate(node.input):
            if index and name in taken and name in tensors:
                own = graph.initializer.add()
                own.CopyFrom(tensors[name])
                own.name = f"{node.name}.{'weight' if index == 1 else 'bias'}.own"
                node.input[index] = own.name
            taken.add(node.input[index])


class EditableGraph:
    """A copy of a graph.

    Args:
        model: FP32 graph with edgead's contract; it is not changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.proto = self.model.graph
        self.weights = {tensor.name: tensor for tensor in self.proto.initializer}

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes, in the order of the graph."""
        return list(self.proto.node)

    def data_inputs(self, node: onnx.NodeProto) -> list[str]:
        """Return a node's inputs that are activations."""
        names = node.input[:1] if node.op_type == "Resize" else node.input
        return [name for name in names if name and name not in self.weights]

    def activated(self, node: onnx.NodeProto) -> str:
        """Return the tensor after a convolution and the ReLU that may follow it."""
        relu = self.relu_after(node)
        return str((relu or node).output[0])

    def relu_after(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Return the ReLU or ReLU6 (a Clip from 0 on) that is the only reader of a node, if any."""
        consumers = [other for other in self.nodes if node.output[0] in other.input]
        if len(consumers) != 1:
            return None
        (reader,) = consumers
        is_relu6 = reader.op_type == "Clip" and self.clip_of(reader)[0] == 0
        return reader if reader.op_type == "Relu" or is_relu6 else None

    def clip_of(self, node: onnx.NodeProto) -> tuple[float, float]:
        """Return the two ends of a Clip or a ReLU; infinite where they are not constants."""
        if node.op_type == "Relu":
            return 0.0, float("inf")
        ends = [*node.input[1:], "", ""][:2]
        low, high = (float(self.values(end)) if end in self.weights else None for end in ends)
        return (
            float("-inf") if low is None else low,
            float("inf") if high is None else high,
        )

    def values(self, name: str) -> npt.NDArray[np.float32]:
        """Return the values of a weight."""
        return np.asarray(numpy_helper.to_array(self.weights[name]), np.float32)

    def set(self, name: str, values: npt.NDArray[Any]) -> None:
        """Give a weight other values, as float32."""
        made = numpy_helper.from_array(np.asarray(values, np.float32), name)
        self.weights[name].CopyFrom(made)

    def unshare_weights(self) -> None:
        """Give each convolution weights of its own."""
        unshare_weights(self.proto)
        self.weights = {tensor.name: tensor for tensor in self.proto.initializer}

    def add(self, name: str, values: npt.NDArray[Any]) -> str:
        """Add a weight and return its name."""
        self.proto.initializer.append(numpy_helper.from_array(values, name))
        self.weights[name] = self.proto.initializer[-1]
        return name

    def insert_after(self, node: onnx.NodeProto, added: list[onnx.NodeProto]) -> None:
        """Put nodes behind another one."""
        for offset, entry in enumerate(added):
            self.proto.node.insert(self._position(node) + 1 + offset, entry)

    def insert_before(self, node: onnx.NodeProto, added: list[onnx.NodeProto]) -> None:
        """Put nodes in front of another one."""
        for entry in added:
            self.proto.node.insert(self._position(node), entry)

    def replace(self, node: onnx.NodeProto, added: list[onnx.NodeProto]) -> None:
        """Put nodes in the place of another one."""
        self.insert_after(node, added)
        self.proto.node.remove(node)

    def finished(self) -> onnx.ModelProto:
        """Drop what nobody uses any more, check the graph and return it."""
        used = {name for node in self.nodes for name in node.input}
        for tensor in list(self.proto.initializer):
            if tensor.name not in used:
                self.proto.initializer.remove(tensor)
        del self.proto.value_info[:]
        onnx.checker.check_model(self.model, full_check=True)
        return self.model

    def _position(self, node: onnx.NodeProto) -> int:
        return next(index for index, other in enumerate(self.proto.node) if other is node)
