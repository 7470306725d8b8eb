"""Scales of INT8: how tensors are mapped to integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import cpu
from edgead.calibration.calibrators import Range
from edgead.errors import EdgeadError

LARGEST_WEIGHT = cpu.LARGEST_EXACT_WEIGHT
"""Of the magnitudes of INT8 weights. Half of what INT8 could hold costs no accuracy here, and lets
every CPU take its fast kernels and compute the same sums (docs/notes/int8-weights.md)."""


@dataclass(frozen=True)
class Quantizer:
    """How one tensor is mapped to integers: ``round(x / scale) + zero_point``."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[Any]


def chosen_scales(weight: str) -> str:
    """Name the tensor that holds the scales which a weight was rounded with before."""
    return f"{weight}_int8_scale"


def weight_scales(weights: npt.NDArray[np.float32], axis: int = 0) -> npt.NDArray[np.float32]:
    """Return one symmetric INT8 scale for each output channel of a convolution."""
    weights = np.moveaxis(weights, axis, 0)
    largest = np.abs(weights.reshape(len(weights), -1)).max(1)
    return np.asarray(np.maximum(largest, 1e-12) / LARGEST_WEIGHT, np.float32)


def rounded(
    weights: npt.NDArray[np.float32], scales: npt.NDArray[np.float32]
) -> npt.NDArray[np.int8]:
    """Round weights with one scale for each entry of their first axis."""
    factors = scales.reshape((-1,) + (1,) * (weights.ndim - 1))
    integers = np.clip(np.rint(weights / factors), -LARGEST_WEIGHT, LARGEST_WEIGHT)
    return np.asarray(integers, np.int8)


def range_of(ranges: Mapping[str, Range], name: str) -> Range:
    """Return the range of a tensor.

    Raises:
        EdgeadError: It was not calibrated.
    """
    if name not in ranges:
        raise EdgeadError(f"there is no calibrated range for the tensor {name}: calibrate again")
    return ranges[name]


def unsigned(found: Range) -> Quantizer:
    """Return the UINT8 quantizer of a range, with a zero point."""
    low, high = min(found.low, 0.0), max(found.high, 0.0)
    scale = max(high - low, 1e-12) / 255
    zero = int(np.clip(round(-low / scale), 0, 255))
    return Quantizer(np.asarray(scale, np.float32), np.asarray(zero, np.uint8))


def symmetric(found: Range) -> Quantizer:
    """Return the symmetric INT8 quantizer of a range."""
    scale = max(abs(found.low), abs(found.high), 1e-12) / 127
    return Quantizer(np.asarray(scale, np.float32), np.asarray(0, np.int8))
