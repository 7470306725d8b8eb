"""Static INT8 of a backbone whose depthwise convolutions and ReLU6 the general export lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from edgead.backbones import lite
from edgead.calibration.calibrators import Range
from edgead.calibration.probe import probe
from edgead.export import qdq
from edgead.export.qdq.scales import rounded, weight_scales
from edgead.export.roles import integer_convolutions
from edgead.export.rounding import shares_of_errors

SCHEME = (
    "Q/DQ, uint8 activations, int8 weights per channel, int32 bias; comparison with the bank: float"
)

_CENTRED = "pixels/centred/out"
_AT_A_TIME = 6  # activations
_POSITIONS = 100  # of a photo, whose patches are looked at
Photos = Sequence[npt.NDArray[np.uint8]]


def integer_backbone(model: onnx.ModelProto, photos: Photos) -> onnx.ModelProto:
    """Make a graph of :mod:`edgead.teaching.patchcore` INT8, all but its head.

    Args:
        model: The FP32 graph; its bank plays no part.
        photos: Calibration photos, batches of one uint8 ``[1, height, width, 3]`` BGR.
    """
    ranges, seen = _measured(model, photos)
    # Exactly one level for each value of a pixel.
    ranges[_CENTRED] = Range(-lite.MEAN, 255 - lite.MEAN)
    return _centred_in_one(qdq.for_onnxruntime(_rounded(model, seen), ranges))


@dataclass(frozen=True)
class _Seen:
    """Second moments and means of what the weights of a convolution are multiplied with.

    Attributes:
        moments: float64 ``[outputs or 1, inputs, inputs]``, sums over what was seen.
        means: float64 ``[outputs or 1, inputs]``, sums, too.
        count: How many positions were seen.
    """

    moments: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    count: int

    def __add__(self, other: _Seen) -> _Seen:
        return _Seen(
            self.moments + other.moments, self.means + other.means, self.count + other.count
        )


def _measured(model: onnx.ModelProto, photos: Photos) -> tuple[dict[str, Range], dict[str, _Seen]]:
    """Return the extremes of activations, and what each convolution sees.

    A few activations at a time: all of them take 150 MiB.
    """
    names = qdq.calibrated_tensors(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    chosen = set(integer_convolutions(model))
    nodes = [node for node in model.graph.node if node.name in chosen]
    ranges: dict[str, Range] = {}
    seen: dict[str, _Seen] = {}
    rng = np.random.default_rng(0)
    for start in range(0, len(names), _AT_A_TIME):
        part = names[start : start + _AT_A_TIME]
        for activations in probe(model, part, photos):
            found = dict(zip(part, activations, strict=True))
            for name, values in found.items():
                low, high = float(values.min()), float(values.max())
                known = ranges.get(name, Range(low, high))
                ranges[name] = Range(min(known.low, low), max(known.high, high))
            for node in (node for node in nodes if node.input[0] in found):
                weights = numpy_helper.to_array(tensors[node.input[1]])
                more = _seen(node, weights, found[node.input[0]], rng)
                seen[node.name] = seen[node.name] + more if node.name in seen else more
    return ranges, seen


def _rounded(model: onnx.ModelProto, seen: dict[str, _Seen]) -> onnx.ModelProto:
    """Round weights so that outputs stay close; what is left of their means goes into the biases.

    Depthwise convolutions and the first one have few weights a sum, and nearly all of the error is
    theirs: each weight's error is passed on to those not rounded yet (Frantar et al., "GPTQ", ICLR
    2023). The others' weights go to the nearest integers. Means as in Nagel et al., "Data-free
    quantization through weight equalization and bias correction" (ICCV 2019), section 4.2,
    measured on photos.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in changed.graph.initializer}
    for node in (node for node in changed.graph.node if node.name in seen):
        found = seen[node.name]
        weights = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float64)
        flat = weights.reshape(len(weights), -1)
        scales = weight_scales(weights.astype(np.float32))
        even: npt.NDArray[np.float64]
        if weights.shape[2] == 1:
            even = rounded(flat.astype(np.float32), scales) * np.float64(scales[:, None])
        else:
            even = _passed_on(flat, scales.astype(np.float64), found.moments / found.count)
        shift = ((flat - even) * (found.means / found.count)).sum(1)
        bias = numpy_helper.to_array(tensors[node.input[2]]) + shift
        for name, made in ((node.input[1], even.reshape(weights.shape)), (node.input[2], bias)):
            tensors[name].CopyFrom(numpy_helper.from_array(made.astype(np.float32), name))
        name = qdq.chosen_scales(node.input[1])
        changed.graph.initializer.append(numpy_helper.from_array(scales, name))
    return changed


def _seen(
    node: onnx.NodeProto,
    weights: npt.NDArray[np.float32],
    values: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> _Seen:
    """Return what a convolution sees of one photo; of a 1x1 one only the means."""
    kernel = weights.shape[2]
    if kernel == 1:
        return _Seen(np.zeros(0), values.mean((0, 2, 3), dtype=np.float64)[None], 1)
    patches = _patches(node, kernel, values, rng)  # [positions, channels, kernel * kernel]
    if weights.shape[1] > 1:
        patches = patches.reshape(len(patches), 1, -1)
    each = patches.transpose(1, 0, 2)
    moments = (each.transpose(0, 2, 1) @ each).astype(np.float64)
    return _Seen(moments, each.sum(1, dtype=np.float64), len(patches))


def _patches(
    node: onnx.NodeProto,
    kernel: int,
    values: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    top, left, bottom, right = attributes["pads"]
    step = attributes["strides"][0]
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))
    windows = windows[:, ::step, ::step]
    rows = rng.integers(windows.shape[1], size=_POSITIONS)
    columns = rng.integers(windows.shape[2], size=_POSITIONS)
    found = windows[:, rows, columns].transpose(1, 0, 2, 3)
    return np.ascontiguousarray(found.reshape(_POSITIONS, len(values[0]), -1))


def _passed_on(
    weights: npt.NDArray[np.float64],
    scales: npt.NDArray[np.float64],
    moments: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Round ``[outputs, inputs]``, passing each error on (:mod:`edgead.export.rounding`)."""
    shares = shares_of_errors(moments)
    left, made = weights.copy(), np.zeros_like(weights)
    largest = qdq.LARGEST_WEIGHT
    for column in range(weights.shape[1]):
        integers = np.clip(np.rint(left[:, column] / scales), -largest, largest)
        made[:, column] = integers * scales
        error = weights[:, column] - made[:, column]
        left[:, column + 1 :] += error[:, None] * shares[:, column, column + 1 :]
    return made


def _centred_in_one(model: onnx.ModelProto) -> onnx.ModelProto:
    """Read pixels with the mean as their zero, in place of subtracting and rounding them again."""
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    chain = [made[f"{_CENTRED.removesuffix('/out')}/out_dequantized"]]
    while chain[-1].op_type != "Transpose":
        chain.append(made[chain[-1].input[0]])
    last, quantize = chain[0], chain[1]
    pixels = chain[-1].output[0]
    zero = {t.name: t for t in graph.initializer}[quantize.input[2]]
    assert int(numpy_helper.to_array(zero)) == int(lite.MEAN)
    last.input[0] = pixels
    for node in chain[1:-1]:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)
    onnx.checker.check_model(model, full_check=True)
    return model
