"""A graph cut into pieces that run one after the other, so that few activations exist at a time.

Asked for all activations of a photo at once, a runtime keeps all of them; asked for a few at a
time, it computes the first layers again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgead.teaching.extract import open_session

Values = dict[str, npt.NDArray[Any]]

_MOST_CARRIED = 2
"""Values that may cross a cut, for each pixel of the photo: of all photos they are kept at once."""

_ENOUGH = 1 << 20
"""Values of a photo that a piece has to compute at least: sessions cost time, too."""


@dataclass(frozen=True)
class Piece:
    """A part of a graph.

    Attributes:
        model: The part.
        inputs: Activations that it reads.
        wanted: Activations to look at, and those that are carried on.
        carried: Those that later pieces read.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    wanted: tuple[str, ...]
    carried: tuple[str, ...]


def run(
    model: onnx.ModelProto, wanted: Sequence[str], photos: Sequence[npt.NDArray[np.uint8]]
) -> Iterator[Iterator[Values]]:
    """Yield for each piece the wanted activations in it, of one photo after another.

    Each inner iterator has to be used up before the next is asked for, and what it yields is
    emptied when it is asked for more.

    Args:
        model: A graph with edgead's contract.
        wanted: Names of activations in it; what only other activations need is left out.
        photos: Batches of one, uint8 ``[1, height, width, 3]`` BGR.
    """
    carried: list[Values] = [{"image": photo} for photo in photos]

    def through(piece: Piece) -> Iterator[Values]:
        session = open_session(piece.model)
        for index, values in enumerate(carried):
            read = {name: values[name] for name in piece.inputs}
            found = dict(zip(piece.wanted, session.run(list(piece.wanted), read), strict=True))
            carried[index] = {
                name: found[name] if name in found else values[name] for name in piece.carried
            }
            looked_at = {name: found[name] for name in piece.wanted if name in names}
            del found
            yield looked_at
            looked_at.clear()  # before the runtime makes room for those of the next photo

    names = set(wanted)
    for piece in cut(model, wanted):
        yield through(piece)


def cut(model: onnx.ModelProto, wanted: Sequence[str]) -> Iterator[Piece]:
    """Cut a graph where little crosses, and yield its pieces in order.

    Args:
        model: A graph with edgead's contract.
        wanted: Names of activations in it.
    """
    infos = _described(model)
    nodes = _needed(model.graph, set(wanted))
    last_use = {name: index for index, node in enumerate(nodes) for name in node.input}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    limit = _MOST_CARRIED * _count(infos["image"]) // 3
    start, computed = 0, 0
    live = {"image"}
    entering: tuple[str, ...] = ("image",)
    for index, node in enumerate(nodes):
        live |= set(node.output)
        live = {name for name in live if last_use.get(name, -1) > index}
        computed += sum(_count(infos[name]) for name in node.output if name in wanted)
        crosses = sum(_count(infos[name]) for name in live)
        is_last = index + 1 == len(nodes)
        if not is_last and (computed < _ENOUGH or crosses > limit):
            continue
        part = nodes[start : index + 1]
        inside = [name for one in part for name in one.output]
        leaving = tuple(sorted(live))
        outputs = tuple(name for name in inside if name in wanted or name in leaving)
        used = {name for one in part for name in one.input}
        inputs = tuple(name for name in entering if name in used)
        graph = helper.make_graph(
            part,
            "piece",
            [infos[name] for name in inputs],
            [infos[name] for name in outputs],
            [weights[name] for name in sorted(used & weights.keys())],
        )
        piece = helper.make_model(
            graph, opset_imports=model.opset_import, ir_version=model.ir_version
        )
        yield Piece(piece, inputs, outputs, leaving)
        start, computed, entering = index + 1, 0, leaving


def _described(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Return type and shape of each activation, and nothing that keeps the weights in memory."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        info.name: onnx.ValueInfoProto.FromString(info.SerializeToString())
        for info in [*graph.input, *graph.value_info, *graph.output]
    }


def _needed(graph: onnx.GraphProto, wanted: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that activations are computed with, in the order of the graph."""
    needed, kept = set(wanted), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    return kept[::-1]


def _count(info: onnx.ValueInfoProto) -> int:
    """Return how many values an activation has for one photo."""
    sides = [dim.dim_value for dim in info.type.tensor_type.shape.dim[1:]]
    return int(np.prod(sides, dtype=np.int64))
