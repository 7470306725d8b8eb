"""Static INT8 of a backbone whose depthwise convolutions and ReLU6 the general export lacks."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgead.calibration.calibrators import Range
from edgead.export import qdq
from edgead.export.qdq.scales import rounded, weight_scales
from edgead.export.roles import first_layers, integer_convolutions
from edgead.export.rounding import pass_errors_on
from edgead.export.static import StaticInt8
from edgead.teaching import patchcore, pieces
from edgead.teaching.extract import Extractor
from edgead.teaching.texture import Moments

SCHEME = (
    "Q/DQ, uint8 activations, int8 weights per channel, int32 bias; first convolutions and "
    "comparison with the bank: float"
)

_MOST = 10  # photos; more change the features hardly at all
_FEW_WEIGHTS = 256  # a sum
_POSITIONS = 100  # of a photo, whose patches are looked at
_CHANNELS = 128  # that are looked at and rounded together: 1152 would take 40 MiB
Photos = Sequence[npt.NDArray[np.uint8]]


def integer_backbone(model: onnx.ModelProto, photos: Photos) -> onnx.ModelProto:
    """Make a graph of :mod:`edgead.teaching.patchcore` INT8, all but its head.

    Args:
        model: The FP32 graph; its bank plays no part.
        photos: Calibration photos, batches of one uint8 ``[1, height, width, 3]`` BGR.
    """
    return _for_onnxruntime(*_calibrated(model, photos))


def both_graphs(model: onnx.ModelProto, photos: Photos, good: npt.NDArray[np.uint8]) -> StaticInt8:
    """Make the INT8 graphs for ONNX Runtime and for TensorRT of a graph with its bank.

    The bank stays that of FP32. The Gaussian of the shallow features gets what INT8 changes in
    their mean and covariance on good photos: rounding adds noise where good parts hardly vary.

    Args:
        model: The FP32 graph.
        photos: As in :func:`integer_backbone`.
        good: Good photos, uint8 ``[N, height, width, 3]`` BGR.
    """
    changed, ranges = _calibrated(model, photos)
    floats = first_layers(model)
    made = _for_onnxruntime(changed, ranges), qdq.for_tensorrt(changed, ranges, floats)
    before = _surface(model, good)
    known = patchcore.texture_of(model).moments(before.count)
    return StaticInt8(
        *(
            patchcore.with_texture(
                graph, (known + _surface(graph, good) + before.negative()).texture()
            )
            for graph in made
        )
    )


def _surface(model: onnx.ModelProto, photos: npt.NDArray[np.uint8]) -> Moments:
    extractor = Extractor(model)
    each = [Moments.of(extractor.patches(photo).surface) for photo in photos]
    return functools.reduce(operator.add, each)


def _calibrated(model: onnx.ModelProto, photos: Photos) -> tuple[onnx.ModelProto, dict[str, Range]]:
    """Return the graph with rounded weights, and the ranges of its activations."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    ranges: dict[str, Range] = {}
    for seen in _measured(model, photos[:: -(-len(photos) // _MOST)], ranges):
        _round(changed, seen)
    return changed, ranges


def _for_onnxruntime(model: onnx.ModelProto, ranges: dict[str, Range]) -> onnx.ModelProto:
    made = qdq.for_onnxruntime(model, ranges, first_layers(model))
    # A message keeps the memory of the weights that were taken out of it, as long as it exists.
    small = onnx.ModelProto()
    small.ParseFromString(made.SerializeToString())
    return small


@dataclass
class _Seen:
    """Second moments and means of what the weights of a convolution are multiplied with.

    Attributes:
        moments: float64 ``[outputs or 1, inputs, inputs]``, sums over what was seen; empty where
            errors are not passed on.
        means: float64 ``[outputs or 1, inputs]``, sums, too.
        count: How many positions were seen.
    """

    moments: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    count: int = 0

    @classmethod
    def nothing(cls, weights: npt.NDArray[np.float32]) -> _Seen:
        """Return sums over nothing for the weights of a convolution."""
        inputs = int(np.prod(weights.shape[1:]))
        groups = 1 if weights.shape[1] > 1 else len(weights)
        moments = (groups, inputs, inputs) if _is_passed_on(weights) else (0, 0, 0)
        return cls(np.zeros(moments), np.zeros((groups, inputs)))


def _measured(
    model: onnx.ModelProto, photos: Photos, ranges: dict[str, Range]
) -> Iterator[dict[str, _Seen]]:
    """Yield what the convolutions see, piece by piece of the graph; put extremes into ``ranges``.

    Second moments of all convolutions at once would take 33 MiB.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    floats = first_layers(model)
    chosen = set(integer_convolutions(model)) - set(floats)
    nodes = [node for node in model.graph.node if node.name in chosen]
    rng = np.random.default_rng(0)
    for values in pieces.run(model, qdq.calibrated_tensors(model, floats), photos):
        seen: dict[str, _Seen] = {}
        for found in values:
            for name, activation in found.items():
                low, high = float(activation.min()), float(activation.max())
                before = ranges.get(name, Range(low, high))
                ranges[name] = Range(min(before.low, low), max(before.high, high))
            for node in (node for node in nodes if node.input[0] in found):
                weights = numpy_helper.to_array(tensors[node.input[1]])
                known = seen.setdefault(node.name, _Seen.nothing(weights))
                _look(node, weights, found[node.input[0]], rng, known)
        yield seen


def _round(model: onnx.ModelProto, seen: dict[str, _Seen]) -> None:
    """Round weights so that outputs stay close; what is left of their means goes into the biases.

    Where a sum has few weights, each weight's error is passed on to those not rounded yet (Frantar
    et al., "GPTQ", ICLR 2023): in depthwise convolutions, which have nearly all of the error of the
    weights, and in the 1x1 convolutions of the first blocks, which the map is made from. Weights of
    the others go to the nearest integers. Means as in Nagel et al., "Data-free quantization through
    weight equalization and bias correction" (ICCV 2019), section 4.2, measured on photos.

    Args:
        model: The graph to change.
        seen: By the names of convolutions.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in (node for node in model.graph.node if node.name in seen):
        found = seen[node.name]
        weights = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float64)
        flat = weights.reshape(len(weights), -1)
        scales = weight_scales(weights.astype(np.float32))
        even: npt.NDArray[np.float64]
        if not _is_passed_on(weights):
            even = rounded(flat.astype(np.float32), scales) * np.float64(scales[:, None])
        else:
            parts = [slice(at, at + _CHANNELS) for at in range(0, len(flat), _CHANNELS)]
            shared = len(found.moments) == 1
            even = np.concatenate(
                [
                    pass_errors_on(
                        flat[part],
                        scales[part].astype(np.float64),
                        found.moments[slice(None) if shared else part] / found.count,
                    )
                    for part in parts
                ]
            )
        shift = ((flat - even) * (found.means / found.count)).sum(1)
        bias = numpy_helper.to_array(tensors[node.input[2]]) + shift
        for name, made in ((node.input[1], even.reshape(weights.shape)), (node.input[2], bias)):
            tensors[name].CopyFrom(numpy_helper.from_array(made.astype(np.float32), name))
        name = qdq.chosen_scales(node.input[1])
        model.graph.initializer.append(numpy_helper.from_array(scales, name))


def _look(
    node: onnx.NodeProto,
    weights: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
    rng: np.random.Generator,
    seen: _Seen,
) -> None:
    """Add what a convolution sees of one photo: means, and moments where errors are passed on."""
    kernel = weights.shape[2]
    if not _is_passed_on(weights):
        seen.means[0] += np.repeat(values.mean((0, 2, 3), dtype=np.float64), kernel**2)
        seen.count += 1
        return
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    pads, step = attributes["pads"], attributes["strides"][0]
    height, width = (
        (values.shape[axis] + pads[axis - 2] + pads[axis] - kernel) // step + 1 for axis in (2, 3)
    )
    places = rng.integers(height, size=_POSITIONS), rng.integers(width, size=_POSITIONS)
    seen.count += _POSITIONS
    together = _CHANNELS if weights.shape[1] == 1 else values.shape[1]
    for start in range(0, values.shape[1], together):
        patches = _patches(values[0, start : start + together], kernel, pads, step, places)
        if weights.shape[1] > 1:  # a sum runs over all channels
            patches = patches.transpose(1, 0, 2).reshape(1, _POSITIONS, -1)
        part = slice(start, start + len(patches))
        seen.moments[part] += patches.transpose(0, 2, 1) @ patches
        seen.means[part] += patches.sum(1, dtype=np.float64)


def _patches(
    values: npt.NDArray[np.float32],
    kernel: int,
    pads: Sequence[int],
    step: int,
    places: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> npt.NDArray[np.float32]:
    """Return what a kernel covers of each channel at some places of its output.

    Args:
        values: ``[channels, height, width]``.
        kernel: Its side.
        pads: Zeros above, on the left, below and on the right.
        step: Stride.
        places: Rows and columns of the output.

    Returns:
        ``[channels, places, kernel * kernel]``.
    """
    top, left, bottom, right = pads
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))
    rows, columns = places
    found = windows[:, rows * step, columns * step]
    return np.ascontiguousarray(found.reshape(len(values), len(rows), -1))


def _is_passed_on(weights: npt.NDArray[np.floating[Any]]) -> bool:
    """Whether a convolution has so few weights a sum that each error counts."""
    return int(np.prod(weights.shape[1:])) <= _FEW_WEIGHTS
