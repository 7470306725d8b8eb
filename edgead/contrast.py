"""Is there something to see? Every part of a photo needs some of the contrast of good photos.

Where a sensor is dead or a lens covered, the networks of a detector see an even surface, may agree
about it, and a low score would pass as good. So the photo itself is looked at as well
(docs/notes/blank-photos.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from edgead.images import Image

if TYPE_CHECKING:
    from edgead.view import View

GRID = 4
"""Rows and columns of the grid of cells that a photo is divided into."""

LEAST_SHARE = 0.3
"""Share of the least contrast in good photos; a cell with less is blank. Good test photos of three
sets had 0.82 or more, an even surface with noise of 2 grey levels 0.18 or less."""

EVEN = 1.0
"""Grey levels. Where a good photo may have less contrast than that, an even surface is good."""

_ODD_CELLS = 0.5
"""Share of the cells with something to see. A photo in which so many are blank is odd; fewer may be
a part that lies elsewhere."""

_ODD_SHARE, _ODD_FEW = 0.1, 3
"""The largest share of the photos that may be odd, and a number that may be where photos are few:
more are a kind of good part."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Blank:
    """A cell of a photo with almost no contrast.

    Attributes:
        box: ``(x, y, width, height)`` in pixels of the photo.
        contrast: Standard deviation of its grey levels, at the network's input size.
        least: The lowest that good photos have there.
    """

    box: Box
    contrast: float
    least: float


def contrast(photo: Image, view: View | None = None) -> npt.NDArray[np.float64]:
    """Return the standard deviation of grey levels in each cell, ``[GRID, GRID]``.

    Args:
        photo: uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey, at the network's input size; with a view
            its canvas.
        view: What of the photo is judged: the cells are those of the crop, and ignored pixels do
            not count.
    """
    grey = photo if photo.ndim == 2 else cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    whole = 0, 0, grey.shape[1], grey.shape[0]
    left, top, width, height = whole if view is None else view.content
    judged = None if view is None else view.judged_pixels
    cells = []
    for x, y, w, h in _boxes((height, width)):
        rows, columns = slice(top + y, top + y + h), slice(left + x, left + x + w)
        mask = None if judged is None else judged[rows, columns]
        cells.append(cv2.meanStdDev(grey[rows, columns], mask=mask)[1])
    return np.asarray(cells, np.float64).reshape(GRID, GRID)


@dataclass(frozen=True)
class GoodContrast:
    """The contrast of good photos.

    Attributes:
        least: The lowest contrast of each cell, row by row, over the photos that are not odd.
        odd: Positions of the photos that show nearly nothing where the others show something: a
            lens cap, a camera's first frame. A limit that rests on one would let a dead sensor
            pass.
        blank: Positions of all photos that show nearly nothing; more than :attr:`odd` where they
            are too many to be mistakes.
        means: Mean contrast of each photo.
    """

    least: tuple[float, ...]
    odd: tuple[int, ...]
    blank: tuple[int, ...]
    means: tuple[float, ...]

    @classmethod
    def of(cls, photos: Iterable[Image], view: View | None = None) -> GoodContrast:
        """Look at good photos.

        Args:
            photos: At least one, as :func:`contrast` takes them.
            view: As there.
        """
        cells = np.stack([contrast(photo, view).ravel() for photo in photos])
        usual = np.median(cells, axis=0)
        informative = usual >= EVEN
        is_low = (cells < LEAST_SHARE * usual)[:, informative]
        is_blank = is_low.mean(axis=1) >= _ODD_CELLS if informative.any() else is_low.any(axis=1)
        blank = np.flatnonzero(is_blank)
        count = len(cells)
        most = min(max(_ODD_FEW, int(_ODD_SHARE * count)), (count - 1) // 3)
        odd = blank if len(blank) <= most else blank[:0]
        lowest = np.delete(cells, odd, axis=0).min(axis=0)
        return cls(
            tuple(round(float(value), 3) for value in lowest),
            tuple(odd.tolist()),
            tuple(blank.tolist()),
            tuple(cells.mean(axis=1).tolist()),
        )


def blank_cells(
    photo: Image, least: Sequence[float], size: tuple[int, int], view: View | None = None
) -> tuple[Blank, ...]:
    """Find the cells of a photo with almost no contrast.

    Args:
        photo: As :func:`contrast` takes it.
        least: What :class:`GoodContrast` found in good photos.
        size: ``(height, width)`` of the photo as it came, for the boxes.
        view: As :func:`contrast` takes it.
    """
    found = contrast(photo, view).ravel()
    left, top, width, height = (0, 0, size[1], size[0]) if view is None else view.crop(size)
    boxes = ((left + x, top + y, w, h) for x, y, w, h in _boxes((height, width)))
    return tuple(
        Blank(box, float(value), lowest)
        for value, lowest, box in zip(found, least, boxes, strict=True)
        if lowest >= EVEN and value < LEAST_SHARE * lowest
    )


@lru_cache(maxsize=64)
def _boxes(size: tuple[int, int]) -> tuple[Box, ...]:
    height, width = size
    rows = [row * height // GRID for row in range(GRID + 1)]
    columns = [column * width // GRID for column in range(GRID + 1)]
    return tuple(
        (left, top, right - left, bottom - top)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    )
