"""What a user asks of a view, and the view that follows for photos of some size."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgead import resizing
from edgead.artifact.specs import ViewSpec
from edgead.errors import UsageError
from edgead.view import masks
from edgead.view.view import MOST_WINDOWS, View, is_inside

Size = tuple[int, int]
Crop = tuple[float, float, float, float]

AUTO_SHRINK = 3.0
"""``auto`` makes as many tiles as it takes to shrink a frame no more than this: a defect of 20 px
then covers 6 to 7 px of the network's input (docs/notes/tiles.md)."""

_OVERLAP = 4  # a side has so many overlaps
_LEAST_OVERLAP = 40  # px: maps of EfficientAd leave 32 px of a window uncovered, on both sides
_ALIGNED = 8  # pixels of a cell of the coarsest maps: joined cells are then those of the windows


@dataclass(frozen=True)
class ViewRequest:
    """What of a frame is to be judged.

    Attributes:
        crop: ``(x, y, width, height)`` in fractions of the frame.
        mask: Image of a frame's size, white where nothing is to be judged.
        tiles: Rows and columns of windows, or ``"auto"``.
        tile_size: Side of a window in pixels of the frame, in place of ``tiles``.
        keeps_aspect: Whether the aspect ratio of the frame is kept.
    """

    crop: Crop | None = None
    mask: str | os.PathLike[str] | None = None
    tiles: tuple[int, int] | str | None = None
    tile_size: int | None = None
    keeps_aspect: bool = False

    def __post_init__(self) -> None:
        if self.crop is not None:
            _check_crop(self.crop)
        if self.tiles is not None and self.tile_size is not None:
            raise UsageError(
                "tiles are given by their number and by their size: leave one of both out"
            )
        if isinstance(self.tiles, str) and self.tiles != "auto":
            raise UsageError(f"tiles must be ROWSxCOLUMNS or 'auto', not '{self.tiles}'")
        if isinstance(self.tiles, tuple) and not all(number >= 1 for number in self.tiles):
            raise UsageError("tiles need at least one row and one column")

    @property
    def is_empty(self) -> bool:
        """Whether the whole frame is judged, in one window."""
        return self == ViewRequest()

    def resolve(self, frame: Size, size: Size, resize: str = resizing.HALVED) -> ViewSpec | None:
        """Return the view for photos of one size.

        Args:
            frame: ``(height, width)`` of the photos in pixels.
            size: ``(height, width)`` of the network's input.
            resize: Method of :mod:`edgead.resizing`, on which the edge of a mask depends.

        Returns:
            ``None`` where the whole frame is judged, in one window.

        Raises:
            UsageError: It does not suit the photos; says how.
            DataError: The mask ignores everything, or nothing.
            ImageError: The mask cannot be read.
        """
        if self.is_empty:
            return None
        spec = ViewSpec(frame[1] / frame[0], self.crop, keeps_aspect=self.keeps_aspect)
        rows, columns = self._grid(View(size, resize, spec).crop(frame), size)
        if rows * columns > 1:
            spec = spec.replace(rows=rows, columns=columns, overlap=overlap_of(size))
        if rows * columns > MOST_WINDOWS:
            mebibytes = rows * columns * size[0] * size[1] * 3 / (1 << 20)
            raise UsageError(
                f"{rows}x{columns} tiles are {rows * columns} windows of {_px(size)} for each "
                f"frame ({mebibytes:.0f} MiB of pixels), and at most {MOST_WINDOWS} are allowed: "
                "take fewer and larger tiles"
            )
        view = View(size, resize, spec)
        _check_tiles(view, frame)
        if self.mask is not None:
            spec = spec.replace(mask=self._mask(view, frame))
            if not View(size, resize, spec).places:
                raise UsageError(
                    f"the mask {self.mask} covers all that the crop leaves, so nothing would be "
                    "judged: paint less of it white, or crop less"
                )
        return spec if spec != ViewSpec(spec.aspect) else None

    def _grid(self, crop: tuple[int, int, int, int], size: Size) -> tuple[int, int]:
        _, _, width, height = crop
        if isinstance(self.tiles, tuple):
            return self.tiles
        if self.tiles is None and self.tile_size is None:
            return 1, 1
        shrink = AUTO_SHRINK if self.tile_size is None else self.tile_size / min(size)
        overlap = overlap_of(size)
        rows, columns = (
            max(1, math.ceil((pixels / shrink - overlap) / (side - overlap) - 1e-6))
            for pixels, side in zip((height, width), size, strict=True)
        )
        return rows, columns

    def _mask(self, view: View, frame: Size) -> str:
        assert self.mask is not None
        mask = masks.read(self.mask)
        if mask.shape != frame:
            raise UsageError(
                f"the mask {Path(self.mask)} has {_px(mask.shape)}, the photos have {_px(frame)}: "
                "paint it on a photo, at its own size"
            )
        x, y, width, height = view.crop(frame)
        left, top, across, down = view.content
        found = np.zeros(view.canvas, bool)
        part = mask[y : y + height, x : x + width]
        found[top : top + down, left : left + across] = masks.on_canvas(
            part, (down, across), view.resize
        )
        text = masks.encoded(found)
        if len(text) > masks.MOST_TEXT:
            raise UsageError(
                f"the mask {Path(self.mask)} has too much detail to be stored "
                f"({len(text):,} characters, at most {masks.MOST_TEXT:,}): draw simpler regions"
            )
        return text


def overlap_of(size: Size) -> int:
    """Return how many pixels of the network's input neighbouring windows share."""
    shared = max(_LEAST_OVERLAP, round(min(size) / _OVERLAP / _ALIGNED) * _ALIGNED)
    return min(shared, min(size) // 2)


def _check_crop(crop: Crop) -> None:
    x, y, width, height = crop
    if not all(math.isfinite(value) for value in crop):
        raise UsageError("the crop needs four numbers: X,Y,WIDTH,HEIGHT in fractions of the frame")
    if not is_inside(crop):
        raise UsageError(
            f"the crop {x:g},{y:g},{width:g},{height:g} is not inside the frame: X, Y, WIDTH and "
            "HEIGHT are fractions, X + WIDTH and Y + HEIGHT at most 1, for example 0.1,0,0.8,1"
        )


def _check_tiles(view: View, frame: Size) -> None:
    """Refuse windows that are larger than the pixels that they show."""
    if view.grid == (1, 1):
        return
    _, _, width, height = view.boxes(frame)[0]
    if height < view.size[0] and width < view.size[1]:
        rows, columns = view.grid
        raise UsageError(
            f"{rows}x{columns} tiles of photos of {_px(frame)} have {width}x{height} px, less than "
            f"the network's input of {_px(view.size)}, so it would see enlarged pixels and nothing "
            "more: take fewer and larger tiles"
        )


def _px(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]} px"
