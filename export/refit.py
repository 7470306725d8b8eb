"""Fit what belongs to a graph's own numbers again, after its arithmetic has changed.

Rounding shifts the raw maps a little, and the map normalisation divides by a small range. So the
head's weights, the score statistics and the threshold of an INT8 graph come from its own maps and
scores on held-out good photos, not from those of the FP32 graph. So does the Gaussian that gives a
map its shape, where a detector has one.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgead.calibration.probe import probe
from edgead.export.onnx_graph import EditableGraph
from edgead.export.roles import HEAD
from edgead.teaching.texture import Moments, Texture

TEXTURE_WEIGHT = f"{HEAD}.taught.texture_weight"
"""The Gaussian of the map in :class:`edgead.models._taught_head.TaughtHead`."""

_LOW, _HIGH = 0.9, 0.995  # the quantiles of the map normalisation (EfficientAd, section 3.4)


def head_node(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """Return the node that turns raw maps into the anomaly map, if the graph has one."""
    return next((node for node in model.graph.node if node.name == HEAD), None)


def raw_maps(model: onnx.ModelProto, photos: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the head's input, float32 ``[N, maps, h, w]``, photo by photo."""
    head = head_node(model)
    assert head is not None
    batches = [photo[None] for photo in photos]
    return np.concatenate([maps for (maps,) in probe(model, [head.input[0]], batches)])


def refit_head(
    source: onnx.ModelProto, changed: onnx.ModelProto, photos: npt.NDArray[np.uint8]
) -> onnx.ModelProto:
    """Move the head's weights so that the changed graph's maps mean what the source's meant.

    For each raw map, the line that brings its quantiles 0.9 and 0.995 over good photos to the
    source's is folded into the head.

    Args:
        source: The FP32 graph.
        changed: The same graph with other arithmetic.
        photos: Held-out good photos, uint8 ``[N, height, width, 3]`` BGR.

    Returns:
        The changed graph with a new head; as it was where it has none.
    """
    head = head_node(changed)
    if head is None:
        return changed
    before, after = raw_maps(source, photos), raw_maps(changed, photos)
    weights = _values(source, head.input[1]).astype(np.float64)
    has_bias = len(head.input) > 2  # exporters drop one of zeros
    bias = _values(source, head.input[2]).astype(np.float64) if has_bias else np.zeros(len(weights))
    for index in range(before.shape[1]):
        low, high = np.quantile(before[:, index].astype(np.float64), [_LOW, _HIGH])
        new_low, new_high = np.quantile(after[:, index].astype(np.float64), [_LOW, _HIGH])
        slope = (high - low) / max(new_high - new_low, 1e-12)
        bias += weights[:, index].ravel() * (low - slope * new_low)
        weights[:, index] *= slope
    refitted = onnx.ModelProto()
    refitted.CopyFrom(changed)
    node = head_node(refitted)
    assert node is not None
    if not has_bias:
        node.input.append(f"{HEAD}.bias")
        refitted.graph.initializer.add(name=node.input[2])
    for tensor in refitted.graph.initializer:
        if tensor.name in (node.input[1], node.input[2]):
            values = weights if tensor.name == node.input[1] else bias
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return refitted


def refit_texture(
    source: onnx.ModelProto, changed: onnx.ModelProto, photos: npt.NDArray[np.uint8]
) -> onnx.ModelProto:
    """Give the Gaussian of a map what the changed arithmetic does to its features on good photos.

    Rounding adds noise where the features of good parts hardly vary. What it changes in mean and
    covariance is added to those that were learned in training, as in :mod:`edgead.teaching.int8`.

    Args:
        source: The FP32 graph.
        changed: The same graph with other arithmetic.
        photos: Held-out good photos, uint8 ``[N, height, width, 3]`` BGR.

    Returns:
        The changed graph with a new Gaussian; as it was where it has none.
    """
    if all(tensor.name != TEXTURE_WEIGHT for tensor in changed.graph.initializer):
        return changed
    before, after = _texture_moments(source, photos), _texture_moments(changed, photos)
    edited = EditableGraph(changed)
    product = _texture_product(changed)
    (added,) = (node for node in edited.nodes if product.output[0] in node.input)
    bias = next(name for name in added.input if name != product.output[0])
    learned = Texture(edited.values(TEXTURE_WEIGHT), edited.values(bias).ravel())
    known = learned.moments(before.count)
    fitted = (known + after + before.negative()).texture()
    for name, values in ((TEXTURE_WEIGHT, fitted.weight), (bias, fitted.bias[:, None])):
        edited.set(name, values)
    return edited.model


def _texture_product(model: onnx.ModelProto) -> onnx.NodeProto:
    nodes: Iterator[onnx.NodeProto] = iter(model.graph.node)
    return next(node for node in nodes if TEXTURE_WEIGHT in node.input)


def _texture_moments(model: onnx.ModelProto, photos: npt.NDArray[np.uint8]) -> Moments:
    """Return those of the vectors that the Gaussian is of, ``[1, channels, places]`` a photo."""
    vectors = _texture_product(model).input[1]
    found = probe(model, [vectors], [photo[None] for photo in photos])
    return functools.reduce(operator.add, (Moments.of(values[0].T) for (values,) in found))


def _values(model: onnx.ModelProto, name: str) -> npt.NDArray[np.float32]:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return np.asarray(numpy_helper.to_array(tensor), np.float32)
