"""Run photos through a graph and see which values its activations take.

One photo at a time, so that memory stays bounded however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx

from edgead.calibration.calibrators import Calibrator, Histogram, Range, minmax
from edgead.calibration.probe import probe
from edgead.errors import EdgeadError

_BINS = 2048

Batches = Sequence[npt.NDArray[np.uint8]]
"""Batches uint8 ``[N, height, width, 3]`` BGR at the network's input size."""


def extremes(model: onnx.ModelProto, tensors: Sequence[str], photos: Batches) -> dict[str, Range]:
    """Find the smallest and the largest value of activations.

    Args:
        model: FP32 graph with edgead's contract.
        tensors: Names of activations in it.
        photos: Calibration photos.

    Raises:
        EdgeadError: An activation is not finite.
    """
    ends: dict[str, Range] = {}
    if not tensors:
        return ends
    for activations in probe(model, tensors, photos):
        for name, values in zip(tensors, activations, strict=True):
            low, high = float(values.min()), float(values.max())
            if not np.isfinite([low, high]).all():
                raise EdgeadError(
                    f"the activation {name} is not finite on a calibration photo: train the "
                    "detector again"
                )
            known = ends.get(name, Range(low, high))
            ends[name] = Range(min(known.low, low), max(known.high, high))
    return ends


def histograms(
    model: onnx.ModelProto, tensors: Sequence[str], photos: Batches
) -> dict[str, Histogram]:
    """Count the values of activations between their extremes; arguments as in :func:`extremes`."""
    ends = extremes(model, tensors, photos)
    counts = {name: np.zeros(_BINS, np.int64) for name in tensors}
    for activations in probe(model, tensors, photos):
        for name, values in zip(tensors, activations, strict=True):
            low, high = ends[name].low, ends[name].high
            counts[name] += np.histogram(values, _BINS, (low, max(high, low + 1e-12)))[0]
    return {name: Histogram(ends[name].low, ends[name].high, counts[name]) for name in tensors}


def chosen_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], photos: Batches, calibrator: Calibrator
) -> dict[str, Range]:
    """Let a calibrator choose the ranges of activations; the others as in :func:`extremes`."""
    if calibrator is minmax:  # counting is most of the time of a calibration, and it needs none
        return extremes(model, tensors, photos)
    counted = histograms(model, tensors, photos)
    return {name: calibrator(histogram) for name, histogram in counted.items()}


def channel_maxima(
    model: onnx.ModelProto, tensors: Sequence[str], photos: Batches
) -> dict[str, npt.NDArray[np.float32]]:
    """Return each channel's largest magnitude of activations ``[N, C, h, w]``, float32 ``[C]``."""
    maxima: dict[str, npt.NDArray[np.float32]] = {}
    if not tensors:
        return maxima
    for activations in probe(model, tensors, photos):
        for name, values in zip(tensors, activations, strict=True):
            # Reducing the last axis alone is several times faster than several axes at once.
            found = np.abs(values).reshape(*values.shape[:2], -1).max(2).max(0)
            maxima[name] = np.maximum(maxima.get(name, found), found)
    return maxima
