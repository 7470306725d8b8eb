"""Equalise residual streams: sums without a ReLU, and what is added to them.

In an inverted residual network (EfficientNet-Lite) the blocks of a stage add to one tensor. INT8
has one scale for all of its channels, and some are small. A channel of the stream is divided
by a factor where convolutions make it, and multiplied by the same factor in the convolutions that
read it. What else reads it (a detector's head, a comparison) gets the values of before from a
multiplication. The FP32 graph stays the same function.

Source: as :mod:`edgead.export.equalise`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgead.export.equalise import divide_outputs, multiply_inputs, readers_behind
from edgead.export.onnx_graph import EditableGraph
from edgead.export.roles import HEAD, is_depthwise, is_integer

Readers = Mapping[str, list[onnx.NodeProto]]

_LEAST = 1e-6
_MOST = 8.0  # for a channel that good photos leave at zero and a defect may not
_FLOAT_READERS = {"Sub", "Mul", "Div", "Pow", "AveragePool"}


@dataclass
class Stream:
    """Activations that are added to each other, so that they share a factor for each channel.

    Attributes:
        tensors: Their names, in the order of the graph.
        makers: Names of the convolutions that make them.
        readers: Names of the convolutions that read them, each with the channel where they begin.
        others: Names of tensors that something else reads, too.
    """

    tensors: list[str] = field(default_factory=list)
    makers: list[str] = field(default_factory=list)
    readers: list[tuple[str, int]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def streams(model: onnx.ModelProto) -> list[Stream]:
    """Find the streams of a graph that can be equalised.

    There are none in networks without depthwise convolutions: features that EfficientAd compares
    are large there, and the multiplication behind them would cost time.
    """
    nodes = model.graph.node
    if not any(is_depthwise(node) for node in nodes):
        return []
    readers_of: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers_of.setdefault(name, []).append(node)
    found: dict[str, Stream] = {}
    for node in nodes:
        if is_integer(node) and node.op_type == "Conv" and not is_depthwise(node):
            found[node.output[0]] = Stream([node.output[0]], [node.name])
        elif node.op_type == "Add" and all(name in found for name in node.input):
            joined = found[node.input[0]]
            if found[node.input[1]] is not joined:
                other = found[node.input[1]]
                joined.tensors += other.tensors
                joined.makers += other.makers
            joined.tensors.append(node.output[0])
            found.update(dict.fromkeys(joined.tensors, joined))
    kept = []
    for stream in {id(one): one for one in found.values()}.values():
        if _complete(model, stream, readers_of):
            kept.append(stream)
    return kept


def _complete(model: onnx.ModelProto, stream: Stream, readers_of: Readers) -> bool:
    """Add what reads a stream; return whether all of it can take other channels."""
    if not {output.name for output in model.graph.output}.isdisjoint(stream.tensors):
        return False
    for tensor in stream.tensors:
        for node in readers_of.get(tensor, ()):
            if node.op_type == "Add" and set(node.input) <= set(stream.tensors):
                continue
            behind = readers_behind(model.graph, node, tensor, 0)
            if behind is not None:
                stream.readers += [(reader.name, start) for reader, start in behind]
            elif node.op_type in _FLOAT_READERS:
                stream.others.append(tensor)
            else:
                return False
    stream.others = list(dict.fromkeys(stream.others))
    return bool(stream.readers or stream.others)


def equalise_streams(
    model: onnx.ModelProto, channel_maxima: Mapping[str, npt.NDArray[np.float32]]
) -> onnx.ModelProto:
    """Bring the channels of each stream towards the same largest magnitude.

    Args:
        model: FP32 graph with edgead's contract.
        channel_maxima: Largest magnitude of each channel of the tensors of :func:`streams`.

    Returns:
        A graph of the same function, up to the rounding of FP32.
    """
    edited = EditableGraph(model)
    edited.unshare_weights()
    nodes = {node.name: node for node in edited.nodes}
    for stream in streams(model):
        # Balanced with the readers' weights, as in equalise.py, it gained half as much
        # (docs/notes/int8-method.md).
        maxima = np.max([channel_maxima[name] for name in stream.tensors], 0).astype(np.float64)
        factor = np.clip(maxima / max(np.median(maxima), _LEAST), 1 / _MOST, _MOST)
        for name in stream.makers:
            divide_outputs(edited, nodes[name], factor)
        for name, start in stream.readers:
            multiply_inputs(edited, nodes[name], start, factor)
        for tensor in stream.others:
            _restore(edited, tensor, factor)
    return edited.model


def _restore(edited: EditableGraph, tensor: str, factor: npt.NDArray[np.float64]) -> None:
    """Give what is no convolution the values of before."""
    before, name = f"{tensor}_before", f"{tensor}_factor"
    edited.add(name, factor.astype(np.float32)[None, :, None, None])
    for node in edited.nodes:
        if node.op_type in _FLOAT_READERS:
            for index, read in enumerate(node.input):
                if read == tensor:
                    node.input[index] = before
    maker = next(node for node in edited.nodes if tensor in node.output)
    made = helper.make_node("Mul", [tensor, name], [before], name=f"{HEAD}/{before}")
    edited.insert_after(maker, [made])
