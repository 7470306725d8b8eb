"""One map of a frame from the maps of its windows.

Windows overlap. Where several cover a place, their maps are blended: the weight of each falls
linearly to zero at its end, so that no seam shows. Along rows and along columns that is a matrix.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgead.artifact.specs import MapSpec

Floats = npt.NDArray[np.float32]
Taps = tuple[npt.NDArray[np.intp], Floats]

_LEAST_SHARE = 1e-6
"""Where windows share too few pixels for their maps to meet, the ends of both count alike."""


@lru_cache(maxsize=64)
def along(size: int, count: int, step: int, cells: int, start: float, stop: float) -> Floats:
    """Return weights from the cells of all windows along one axis to those of the joined map.

    Args:
        size: Pixels of a window.
        count: Windows.
        step: Pixels from one window to the next.
        cells: Of a window's map.
        start: Pixel of a window where its map begins.
        stop: Pixel of a window where its map ends.

    Returns:
        float32 ``[joined cells, count * cells]``; each row sums to 1.
    """
    span = (count - 1) * step + stop - start
    pitch = (stop - start) / cells
    joined = max(1, round(span / pitch))
    centres = start + (np.arange(joined) + 0.5) * span / joined
    overlap = max(stop - start - step, 1e-9)
    near = np.zeros((joined, count, cells))
    shares = np.zeros((joined, count))
    for window in range(count):
        inside = centres - window * step
        position = np.clip((inside - start) / pitch - 0.5, 0, cells - 1)
        near[:, window] = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(cells)))
        before = (inside - start) / overlap if window > 0 else np.ones(joined)
        after = (stop - inside) / overlap if window < count - 1 else np.ones(joined)
        shares[:, window] = np.clip(np.minimum(before, after), _LEAST_SHARE, 1)
    shares /= shares.sum(axis=1, keepdims=True)
    shares[shares < 2 * _LEAST_SHARE] = 0
    found = (near * shares[:, :, None]).reshape(joined, count * cells).astype(np.float32)
    found.setflags(write=False)
    return found


def spec_of(
    window: MapSpec, size: tuple[int, int], grid: tuple[int, int], step: tuple[int, int]
) -> MapSpec:
    """Return the joined map's cells and the pixels of the canvas that they cover.

    Args:
        window: Of one window.
        size: ``(height, width)`` of a window.
        grid: Rows and columns of windows.
        step: Pixels from one window to the next, down and across.
    """
    rows = along(size[0], grid[0], step[0], window.height, window.top, window.bottom)
    columns = along(size[1], grid[1], step[1], window.width, window.left, window.right)
    return MapSpec(
        len(rows),
        len(columns),
        window.top,
        window.left,
        window.bottom + (grid[0] - 1) * step[0],
        window.right + (grid[1] - 1) * step[1],
    )


def joined(
    maps: Floats,
    places: tuple[tuple[int, int], ...],
    window: MapSpec,
    size: tuple[int, int],
    grid: tuple[int, int],
    step: tuple[int, int],
) -> Floats:
    """Join the maps of a frame's windows.

    Args:
        maps: float32 ``[windows, h, w]``.
        places: Row and column of each; those that are left out count as 0.
        window: Cells of one map.
        size: ``(height, width)`` of a window.
        grid: Rows and columns of windows.
        step: Pixels from one window to the next, down and across.

    Returns:
        float32 ``[H, W]``.
    """
    if grid == (1, 1):
        return np.asarray(maps[0], np.float32)
    down = _taps(size[0], grid[0], step[0], window.height, window.top, window.bottom)
    across = _taps(size[1], grid[1], step[1], window.width, window.left, window.right)
    laid = np.zeros((grid[0], window.height, grid[1], window.width), np.float32)
    for found, (row, column) in zip(maps, places, strict=True):
        laid[row, :, column] = found
    flat = laid.reshape(grid[0] * window.height, grid[1] * window.width)
    return np.ascontiguousarray(_weighted(_weighted(flat, down).T, across).T)


@lru_cache(maxsize=64)
def _taps(size: int, count: int, step: int, cells: int, start: float, stop: float) -> Taps:
    """Return the few cells that are not 0 in each row of :func:`along`, and their weights.

    A product with the whole matrix wakes the threads of BLAS, which fight with those of a runtime
    for cores: 27 ms in place of 1.

    Returns:
        Positions ``[taps, joined cells]`` and float32 weights ``[taps, joined cells, 1]``.
    """
    weights = along(size, count, step, cells, start, stop)
    most = int((weights > 0).sum(axis=1).max())
    at = np.argsort(weights == 0, axis=1, kind="stable")[:, :most]
    found = np.take_along_axis(weights, at, axis=1)
    return at.T.astype(np.intp), np.ascontiguousarray(found.T)[..., None]


def _weighted(values: Floats, taps: Taps) -> Floats:
    """Return the weighted sums of some rows."""
    at, weights = taps
    found = values[at[0]] * weights[0]
    for rows, weight in zip(at[1:], weights[1:], strict=True):
        found += values[rows] * weight
    return np.asarray(found, np.float32)
