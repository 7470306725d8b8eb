"""Round the weights of convolutions so that their outputs, not the weights, stay close.

Rounding each weight to its nearest integer makes errors that add up where the inputs agree: the
48 weights of a first convolution all see the brightness of the photo, and what is left of the sum
looks like a change of the part. Here each weight's rounding error is passed on to the weights not
rounded yet, in the proportion that the inputs' second moments ask for, and the mean of what
remains goes into the bias.

Source: Frantar et al., "GPTQ" (ICLR 2023), algorithm 1, with a convolution's patches as inputs;
bias correction as in Nagel et al. (ICCV 2019), section 4.2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgead.calibration.probe import probe
from edgead.calibration.ranges import Batches
from edgead.export import qdq, roles

Floats = npt.NDArray[np.float32]

_DAMPING = 0.01  # of the mean diagonal, as in the paper
_BLOCK = 128
_PATCHES_A_PHOTO = 600
_PATCHES_IN_ALL = 16_384
_OF_CHANNELS_A_PHOTO, _OF_CHANNELS_IN_ALL = 100, 1024
"""Of a depthwise convolution, whose sums have few weights and whose channels are many."""
_MEMORY = 1 << 30  # bytes of patches at a time
_WIDEST = 8192  # inputs of a layer that are rounded together


def round_weights(
    model: onnx.ModelProto, photos: Batches, floats: Collection[str] = ()
) -> onnx.ModelProto:
    """Return the graph with weights that are whole multiples of their INT8 scales.

    The scales go along as tensors of the graph, where :mod:`edgead.export.qdq` finds them.

    Args:
        model: FP32 graph with edgead's contract.
        photos: Calibration photos at the network's input size.
        floats: Names of convolutions that stay float.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in changed.graph.initializer}
    chosen = set(roles.convolutions(model)) - set(floats)
    nodes = [node for node in changed.graph.node if node.name in chosen]
    # Transposed convolutions that overlap stay FP32 in one of the two graphs: leave them alone.
    nodes = [node for node in nodes if node.op_type == "Conv" or roles.is_tiling(node)]
    shapes = {node.name: tuple(tensors[node.input[1]].dims) for node in nodes}
    for group in _groups(nodes, shapes):
        for node, patches in zip(group, _patches(model, group, photos), strict=True):
            _round_node(changed, node, tensors, patches)
    return changed


def _groups(
    nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]]
) -> Iterator[list[onnx.NodeProto]]:
    """Share passes over the photos, as far as the patches of several convolutions fit in memory."""
    group: list[onnx.NodeProto] = []
    size = 0
    for node in nodes:
        shape = shapes[node.name]
        inputs = shape[0] if node.op_type == "ConvTranspose" else int(np.prod(shape[1:]))
        if roles.is_depthwise(node):
            inputs *= shape[0]
        needed = 4 * _wanted(node) * inputs
        if group and size + needed > _MEMORY:
            yield group
            group, size = [], 0
        group.append(node)
        size += needed
    if group:
        yield group


def _wanted(node: onnx.NodeProto) -> int:
    return _OF_CHANNELS_IN_ALL if roles.is_depthwise(node) else _PATCHES_IN_ALL


def _round_node(
    changed: onnx.ModelProto,
    node: onnx.NodeProto,
    tensors: dict[str, onnx.TensorProto],
    patches: Floats,
) -> None:
    weights = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float64)
    axis = roles.output_axis(node)
    # Rows are what one output sums over; a transposed convolution has one for each place in its
    # kernel, and they share the scale of their output channel.
    rows = weights if axis == 0 else weights.transpose(1, 2, 3, 0)
    flat = rows.reshape(-1, rows.shape[-1] if axis else int(np.prod(rows.shape[1:])))
    scales = qdq.weight_scales(weights.astype(np.float32), axis).astype(np.float64)
    each = len(flat) // len(scales)
    if roles.is_depthwise(node):
        own = patches.reshape(len(patches), len(flat), -1).transpose(1, 0, 2).astype(np.float64)
        rounded = pass_errors_on(flat, scales, own.transpose(0, 2, 1) @ own / len(patches))
        left = ((flat - rounded) * own.mean(1)).sum(1)
    else:
        rounded = np.concatenate(
            [
                _round_rows(
                    part, np.repeat(scales, each), patches[:, start : start + part.shape[1]]
                )
                for part, start in _columns(flat)
            ],
            1,
        )
        left = (flat - rounded) @ patches.mean(0)
    back = rounded.reshape(rows.shape)
    if axis == 1:
        back = back.transpose(3, 0, 1, 2)
    tensors[node.input[1]].CopyFrom(
        numpy_helper.from_array(np.ascontiguousarray(back, np.float32), node.input[1])
    )
    changed.graph.initializer.append(
        numpy_helper.from_array(scales.astype(np.float32), qdq.chosen_scales(node.input[1]))
    )
    if len(node.input) > 2:
        bias = numpy_helper.to_array(tensors[node.input[2]]).astype(np.float64)
        bias += left.reshape(len(scales), each).mean(1)
        tensors[node.input[2]].CopyFrom(
            numpy_helper.from_array(bias.astype(np.float32), node.input[2])
        )


def _columns(
    weights: npt.NDArray[np.float64],
) -> Iterator[tuple[npt.NDArray[np.float64], int]]:
    """Split very wide layers, each part with where it starts: their inverse takes minutes."""
    start = 0
    parts = -(-weights.shape[1] // _WIDEST)
    for part in np.array_split(weights, parts, 1):
        yield part, start
        start += part.shape[1]


def shares_of_errors(moments: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what a weight's rounding error adds to each weight that is rounded after it.

    Args:
        moments: Second moments of what the weights are multiplied with, ``[..., N, N]``.

    Returns:
        ``[..., N, N]``, upper triangular: row i is for the error of weight i.
    """
    damped = moments.copy()
    diagonal = np.arange(moments.shape[-1])
    damping = _DAMPING * moments[..., diagonal, diagonal].mean(-1) + 1e-12
    damped[..., diagonal, diagonal] += damping[..., None]
    factor = np.linalg.cholesky(damped[..., ::-1, ::-1])[..., ::-1, ::-1]
    shares: npt.NDArray[np.float64] = factor / factor[..., diagonal, diagonal][..., None, :]
    return shares


def pass_errors_on(
    weights: npt.NDArray[np.float64],
    scales: npt.NDArray[np.float64],
    moments: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Round few weights a row, passing each error on to those that are not rounded yet.

    Args:
        weights: ``[outputs, inputs]``.
        scales: ``[outputs]``.
        moments: Second moments of the inputs, ``[outputs or 1, inputs, inputs]``.
    """
    shares = shares_of_errors(moments)
    left, made = weights.copy(), np.zeros_like(weights)
    largest = qdq.LARGEST_WEIGHT
    for column in range(weights.shape[1]):
        integers = np.clip(np.rint(left[:, column] / scales), -largest, largest)
        made[:, column] = integers * scales
        error = weights[:, column] - made[:, column]
        left[:, column + 1 :] += error[:, None] * shares[:, column, column + 1 :]
    return made


def _round_rows(
    weights: npt.NDArray[np.float64], scales: npt.NDArray[np.float64], patches: Floats
) -> npt.NDArray[np.float64]:
    """Round ``[outputs, inputs]`` row by row's scale, passing errors on (GPTQ, algorithm 1).

    With the moments factored as ``R R'``, R upper triangular, the error of the outputs is
    ``|R'(w - q)|^2``, and its j-th term holds the first j weights alone: choosing them one after
    the other is GPTQ without the inverse of the moments (Chen et al., "The geometry of LLM
    quantization: GPTQ as Babai's nearest plane algorithm", 2025).
    """
    passed_on = shares_of_errors((patches.T @ patches).astype(np.float64) / len(patches))
    largest = qdq.LARGEST_WEIGHT
    rounded: npt.NDArray[np.float64] = np.zeros(weights.shape, np.float64)
    errors: npt.NDArray[np.float64] = np.zeros(weights.shape, np.float64)
    for start in range(0, weights.shape[1], _BLOCK):
        stop = min(start + _BLOCK, weights.shape[1])
        left = weights[:, start:stop] + errors[:, :start] @ passed_on[:start, start:stop]
        for column in range(start, stop):
            integers = np.clip(np.rint(left[:, column - start] / scales), -largest, largest)
            rounded[:, column] = integers * scales
            errors[:, column] = weights[:, column] - rounded[:, column]
            left[:, column - start + 1 :] += np.outer(
                errors[:, column], passed_on[column, column + 1 : stop]
            )
    return rounded


def _patches(model: onnx.ModelProto, nodes: list[onnx.NodeProto], photos: Batches) -> list[Floats]:
    """Draw patches that convolutions see, for each float32 ``[patches, channels * kernel]``."""
    # Each has draws of its own, so that they do not depend on which others share the pass.
    generators = [np.random.default_rng(0) for _ in nodes]
    drawn: list[list[Floats]] = [[] for _ in nodes]
    for activations in probe(model, [node.input[0] for node in nodes], photos):
        for node, values, rng, kept in zip(nodes, activations, generators, drawn, strict=True):
            if sum(map(len, kept)) < _wanted(node):
                kept.append(_drawn(node, values, rng))
        counts = [sum(map(len, kept)) for kept in drawn]
        if all(count >= _wanted(node) for count, node in zip(counts, nodes, strict=True)):
            break
    return [np.concatenate(k)[: _wanted(node)] for k, node in zip(drawn, nodes, strict=True)]


def _drawn(node: onnx.NodeProto, values: Floats, rng: np.random.Generator) -> Floats:
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    kernel, stride = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    if node.op_type == "ConvTranspose":  # one that does not overlap: each output sees one place
        kernel, stride = [1, 1], [1, 1]
    values = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(values, kernel, (2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    count, _, rows, columns = windows.shape[:4]
    places = count * rows * columns
    each = _OF_CHANNELS_A_PHOTO if roles.is_depthwise(node) else _PATCHES_A_PHOTO
    chosen = rng.choice(places, min(places, each * count), replace=False)
    photo, rest = np.divmod(chosen, rows * columns)
    row, column = np.divmod(rest, columns)
    return windows[photo, :, row, column].reshape(len(chosen), -1)
