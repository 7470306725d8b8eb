"""Where the features of a source network and of a teacher lie on a view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead.distillation.changes import SIDE
from edgead.distillation.config import RESNET, DistillConfig
from edgead.errors import EdgeadError, UsageError
from edgead.networks import pdn
from edgead.networks.pdn import TEACHER_CHANNELS

RESNET_CELLS = 32
"""Cells a side that a ResNet is distilled on; finer levels are averaged to them."""


def is_local(size: str) -> bool:
    """Whether a detector uses the teacher without padding, so that windows show all it sees."""
    return size in ("n", "s", "m")


def cell_side(size: str) -> int:
    """Return the side in pixels of a cell of a patch-description network."""
    spec = pdn.map_spec(size, (SIDE, SIDE))
    return round((spec.bottom - spec.top) / spec.height)


def window_cells(config: DistillConfig) -> int:
    """Return how many cells a side the teacher makes of a window.

    Raises:
        UsageError: The window is larger than a view or smaller than a patch.
    """
    if not is_local(config.size):
        return 0
    if config.window > SIDE:
        raise UsageError(f"--window {config.window} is larger than a view, which is {SIDE} pixels")
    return pdn.map_spec(config.size, (config.window, config.window)).height


def to_cells(size: str, source_shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return what brings the source's map to the teacher's cells: average, then cut the border."""
    if len(source_shape) != 4 or source_shape[1] != TEACHER_CHANNELS:
        raise EdgeadError(
            f"the source network gives an output of shape {list(source_shape)}, but a teacher "
            f"needs [N, {TEACHER_CHANNELS}, h, w]"
        )
    if size == RESNET:
        return _averaged(source_shape, RESNET_CELLS)
    spec = pdn.map_spec(size, (SIDE, SIDE))
    cell = cell_side(size)
    factor = round(cell / (SIDE / source_shape[2]))
    start, cells = 0, source_shape[2] // max(factor, 1)
    if is_local(size):
        start, cells = round(spec.top / cell), spec.height
    if source_shape[2] * cell != SIDE * factor or source_shape[2] != source_shape[3]:
        raise EdgeadError(
            f"the source network's map is {source_shape[2]}x{source_shape[3]} for {SIDE}x{SIDE} "
            f"pixels, which does not divide into efficientad-{size}'s cells of {cell} pixels"
        )

    def grid(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        n, channels, height, width = features.shape
        pooled = features.reshape(
            n, channels, height // factor, factor, width // factor, factor
        ).mean((3, 5))
        return np.asarray(pooled[:, :, start : start + cells, start : start + cells], np.float32)

    return grid


def _averaged(source_shape: tuple[int, ...], cells: int) -> Callable[[Any], Any]:
    """Return what averages the source's map to ``cells`` a side."""
    side = source_shape[2]
    if side % cells or side != source_shape[3]:
        raise EdgeadError(
            f"the source network's map is {side}x{source_shape[3]}, which does not divide into the "
            f"{cells}x{cells} cells that a ResNet is distilled on"
        )

    def grid(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        n, channels = features.shape[:2]
        parts = features.reshape(n, channels, cells, side // cells, cells, side // cells)
        return np.asarray(parts.mean((3, 5)), np.float32)

    return grid
