"""The nodes of an ONNX file, read and rewritten without the onnx package, which a device lacks.

Field numbers are those of onnx.proto: ModelProto.graph 7; GraphProto.node 1, value_info 13;
NodeProto.input 1, output 2, name 3, op_type 4; ValueInfoProto.name 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgead.artifact._onnx_file import fields, tagged

_GRAPH = 7
_NODE, _VALUE_INFO = 1, 13
_HEAVY = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_HEAD = "head"  # the node that normalises the maps, or the folder of such nodes


@dataclass(frozen=True)
class Node:
    """One node: what it is and what it reads and writes."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Node:
        """Read a serialised NodeProto."""
        found: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
        for number, content, _ in fields(raw):
            if number in found and content is not None:
                found[number].append(content.decode())
        return cls(
            "".join(found[4]), "".join(found[3]), tuple(found[1]), tuple(found[2]), bytes(raw)
        )

    def rewired(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> bytes:
        """Return the serialised node with other inputs and outputs."""
        kept = b"".join(raw for number, _, raw in fields(self.raw) if number not in (1, 2))
        names = [tagged(1, name.encode()) for name in inputs]
        names += [tagged(2, name.encode()) for name in outputs]
        return b"".join(names) + kept


def nodes(model: bytes) -> list[Node]:
    """List the nodes of a serialised model in order."""
    graph = _graph(model)
    return [
        Node.parse(content) for number, content, _ in fields(graph) if number == _NODE and content
    ]


def cast_first(model: bytes) -> bytes:
    """Let the first thing that happens to the photo be its cast to float.

    TensorRT takes a UINT8 input only into a Cast: "no other layers support UINT8 inputs, even just
    data-movement ops like reshape / transpose" (github.com/NVIDIA/TensorRT/issues/3985). Everywhere
    else it is cheaper to move the photo's axes while it is bytes. Both orders give the same values.

    Args:
        model: Serialised, with edgead's contract.

    Returns:
        The model, changed where ``image`` went through a Transpose first.
    """
    found = nodes(model)
    readers = [node for node in found if "image" in node.inputs]
    if [node.op_type for node in readers] != ["Transpose"]:
        return model
    (move,) = readers
    casts = [node for node in found if move.outputs[0] in node.inputs]
    if [node.op_type for node in casts] != ["Cast"]:
        return model
    (cast,) = casts
    between, end = move.outputs, cast.outputs
    swapped = {
        move.raw: cast.rewired(("image",), between),
        cast.raw: move.rewired(between, end),
    }
    graph = b"".join(
        tagged(_NODE, swapped.get(bytes(content), bytes(content)))
        if number == _NODE and content is not None
        else raw
        for number, content, raw in fields(_graph(model))
        # The type noted for the tensor in between is no longer right, and is not needed.
        if not (
            number == _VALUE_INFO and content is not None and _value_name(content) == between[0]
        )
    )
    return b"".join(
        tagged(_GRAPH, graph) if number == _GRAPH else raw for number, _, raw in fields(model)
    )


def tail(model: bytes) -> set[str]:
    """Name the nodes and their outputs after the last convolution: squares, sums, head, score.

    There FP16 overflows, and there are the score's last digits, so that part stays FP32.
    """
    found = nodes(model)
    feeds_network: set[str] = set()  # tensors that a convolution will read
    names: set[str] = set()
    for node in reversed(found):
        is_head = node.name == _HEAD or node.name.startswith(f"{_HEAD}/")
        heavy = node.op_type in _HEAVY and not is_head
        if heavy or any(output in feeds_network for output in node.outputs):
            feeds_network.update(node.inputs)
        else:
            names.update(node.outputs)
            if node.name:
                names.add(node.name)
    return names


def _graph(model: bytes) -> bytes:
    return next(content for number, content, _ in fields(model) if number == _GRAPH and content)


def _value_name(content: bytes) -> str:
    return next((text.decode() for number, text, _ in fields(content) if number == 1 and text), "")
