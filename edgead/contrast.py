"""Is there something to see? Every part of a photo needs some of the contrast of good photos.

Where a sensor is dead or a lens covered, the networks of a detector see an even surface, may agree
about it, and a low score would pass as good. So the photo itself is looked at as well
(docs/accuracy.md, "Blank photos").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgead.images import Image

GRID = 4
"""Photos are looked at in so many rows and columns of cells."""

LEAST_SHARE = 0.3
"""Of the least contrast in good photos; less is nothing to see. Good test photos of three sets had
0.82 or more, an even surface with noise of 2 grey levels 0.18 or less."""

_EVEN = 1.0
"""Grey levels. Where a good photo may have less contrast than that, an even surface is good."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Blank:
    """A cell of a photo in which there is nothing to see.

    Attributes:
        box: ``(x, y, width, height)`` in pixels of the photo.
        contrast: Standard deviation of its grey levels, at the network's input size.
        least: The lowest that good photos have there.
    """

    box: Box
    contrast: float
    least: float


def contrast(photo: Image) -> npt.NDArray[np.float64]:
    """Return the standard deviation of grey levels in each cell, ``[GRID, GRID]``.

    Args:
        photo: uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey, at the network's input size.
    """
    grey = photo if photo.ndim == 2 else cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    cells = [cv2.meanStdDev(grey[y : y + h, x : x + w])[1] for x, y, w, h in _boxes(grey.shape[:2])]
    return np.asarray(cells, np.float64).reshape(GRID, GRID)


def least_contrast(photos: Iterable[Image]) -> tuple[float, ...]:
    """Return the lowest contrast of each cell over good photos, row by row."""
    lowest = np.min([contrast(photo) for photo in photos], axis=0)
    return tuple(round(float(value), 3) for value in lowest.ravel())


def blank_cells(photo: Image, least: Sequence[float], size: tuple[int, int]) -> tuple[Blank, ...]:
    """Find the cells of a photo in which there is nothing to see.

    Args:
        photo: uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey, at the network's input size.
        least: What :func:`least_contrast` found in good photos.
        size: ``(height, width)`` of the photo as it came, for the boxes.
    """
    found = contrast(photo).ravel()
    return tuple(
        Blank(box, float(value), lowest)
        for value, lowest, box in zip(found, least, _boxes(size), strict=True)
        if lowest >= _EVEN and value < LEAST_SHARE * lowest
    )


def _boxes(size: tuple[int, ...]) -> Iterator[Box]:
    height, width = size
    for row in range(GRID):
        top, bottom = row * height // GRID, (row + 1) * height // GRID
        for column in range(GRID):
            left, right = column * width // GRID, (column + 1) * width // GRID
            yield left, top, right - left, bottom - top
