"""From a frame to the windows that the network sees, and from their maps back to the frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead import images, maps, resizing
from edgead.artifact.specs import InputSpec, MapSpec, ViewSpec
from edgead.errors import DataError
from edgead.images import Image
from edgead.view import join, masks
from edgead.view.masks import Mask

if TYPE_CHECKING:
    from edgead.artifact import Manifest

Floats = npt.NDArray[np.float32]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

FILL = 128
"""Grey level of what is not judged: the network sees it everywhere alike."""

MOST_WINDOWS = 256
"""Windows of a frame: at 256x256 their pixels take 48 MiB."""

_STRIP = 64  # rows that are covered at a time: the grey of all would be as large as a canvas
_NOT_JUDGED = 0.5  # share of a cell
_SAME_ASPECT = 0.02
_WHOLE = 1 + 1e-9  # fractions that were rounded


def is_inside(crop: tuple[float, float, float, float]) -> bool:
    """Whether a crop ``(x, y, width, height)``, in fractions, shows a part of the frame."""
    x, y, width, height = crop
    has_size = x >= 0 and y >= 0 and width > 0 and height > 0
    return has_size and x + width <= _WHOLE and y + height <= _WHOLE


@dataclass(frozen=True)
class View:
    """What of a frame a detector sees. Frames become canvases, and canvases become windows.

    Attributes:
        size: ``(height, width)`` of the network's input.
        resize: Method of :mod:`edgead.resizing`.
        spec: Crop, mask and tiles; ``None`` for the whole frame in one window.
    """

    size: Size
    resize: str = resizing.HALVED
    spec: ViewSpec | None = None

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is large and made again from these.
        return {"size": self.size, "resize": self.resize, "spec": self.spec}

    @classmethod
    def of(cls, manifest: Manifest) -> View:
        """Return the view of an artifact."""
        return cls.of_input(manifest.input, manifest.view)

    @classmethod
    def of_input(cls, spec: InputSpec, view: ViewSpec | None) -> View:
        """Return the view that a manifest describes."""
        return cls(spec.size, spec.resize, view)

    @property
    def grid(self) -> Size:
        """Rows and columns of windows."""
        return (1, 1) if self.spec is None else (self.spec.rows, self.spec.columns)

    @property
    def step(self) -> Size:
        """Pixels from one window to the next, down and across."""
        overlap = 0 if self.spec is None else self.spec.overlap
        return self.size[0] - overlap, self.size[1] - overlap

    @property
    def canvas(self) -> Size:
        """``(height, width)`` of the resized frame, in pixels."""
        (rows, columns), (down, across) = self.grid, self.step
        return self.size[0] + (rows - 1) * down, self.size[1] + (columns - 1) * across

    @property
    def content(self) -> Box:
        """``(x, y, width, height)`` of the frame on the canvas; less than it for a kept aspect."""
        height, width = self.canvas
        if self.spec is None or not self.spec.keeps_aspect:
            return 0, 0, width, height
        aspect = self.spec.aspect
        if self.spec.crop is not None:
            aspect *= self.spec.crop[2] / self.spec.crop[3]
        if aspect * height >= width:
            inner = max(1, round(width / aspect))
            return 0, (height - inner) // 2, width, inner
        inner = max(1, round(height * aspect))
        return (width - inner) // 2, 0, inner, height

    def crop(self, frame: Size) -> Box:
        """Return ``(x, y, width, height)`` of the judged part.

        Args:
            frame: ``(height, width)`` of the frame in pixels.
        """
        height, width = frame
        if self.spec is None or self.spec.crop is None:
            return 0, 0, width, height
        left, top, across, down = self.spec.crop
        x, y = min(width - 1, round(left * width)), min(height - 1, round(top * height))
        right, bottom = round((left + across) * width), round((top + down) * height)
        return x, y, max(1, min(width, right) - x), max(1, min(height, bottom) - y)

    def differs(self, frame: Size) -> bool:
        """Whether a frame has another aspect ratio than the view was made for."""
        if self.spec is None:
            return False
        return abs(frame[1] / frame[0] / self.spec.aspect - 1) > _SAME_ASPECT

    def require_aspect(self, frame: Size, name: object) -> None:
        """Refuse a photo of which crop, mask and tiles would be other parts.

        Args:
            frame: ``(height, width)`` of the photo.
            name: What to call it.

        Raises:
            DataError: Its aspect ratio is another one.
        """
        if self.differs(frame):
            assert self.spec is not None
            raise DataError(
                f"{name} has {frame[1]}x{frame[0]} px, an aspect ratio of "
                f"{frame[1] / frame[0]:.3f}, but crop, mask and tiles are for "
                f"{self.spec.aspect:.3f}: use photos of one camera, or leave these options out"
            )

    @cached_property
    def ignored(self) -> Mask | None:
        """Pixels of the canvas that are not judged, bool ``[H, W]``; ``None`` for none."""
        if self.spec is None or not (self.spec.keeps_aspect or self.spec.mask):
            return None
        found = np.zeros(self.canvas, bool)
        if self.spec.mask is not None:
            found |= masks.decoded(self.spec.mask, self.canvas)
        x, y, width, height = self.content
        inside = np.zeros(self.canvas, bool)
        inside[y : y + height, x : x + width] = True
        return found | ~inside

    @cached_property
    def judged_pixels(self) -> npt.NDArray[np.uint8] | None:
        """Pixels of the canvas that are judged, uint8 ``[H, W]``, 1 or 0; ``None`` for all."""
        return None if self.ignored is None else (~self.ignored).astype(np.uint8)

    @cached_property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Row and column of each window; those without anything to judge are left out."""
        rows, columns = self.grid
        every = [(row, column) for row in range(rows) for column in range(columns)]
        if self.ignored is None:
            return tuple(every)
        return tuple(place for place in every if not self.ignored[self._slices(place)].all())

    def _slices(self, place: tuple[int, int]) -> tuple[slice, slice]:
        top, left = place[0] * self.step[0], place[1] * self.step[1]
        return slice(top, top + self.size[0]), slice(left, left + self.size[1])

    def prepare(self, frame: Image) -> Image:
        """Crop and resize a frame, and cover what is not judged.

        Args:
            frame: uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey.

        Returns:
            The canvas, uint8 ``[height, width, 3]`` BGR. It may be the frame itself, which is
            never written to.
        """
        x, y, width, height = self.crop((frame.shape[0], frame.shape[1]))
        part = frame[y : y + height, x : x + width]
        left, top, across, down = self.content
        small = images.as_bgr(resizing.resize(part, (down, across), self.resize))
        if self.ignored is None:
            return small
        if (down, across) != self.canvas:
            canvas = np.full((*self.canvas, 3), FILL, np.uint8)
            canvas[top : top + down, left : left + across] = small
        else:
            canvas = small.copy() if np.may_share_memory(small, frame) else small
        return self.covered(canvas)

    def covered(self, canvas: Image) -> Image:
        """Cover what is not judged on a canvas, in place; return it."""
        if self.ignored is not None:
            ignored = self.ignored.view(np.uint8)
            for start in range(0, len(canvas), _STRIP):
                strip = canvas[start : start + _STRIP]
                cv2.copyTo(self._fill[: len(strip)], ignored[start : start + _STRIP], strip)
        return canvas

    @cached_property
    def _fill(self) -> Image:
        return np.full((min(_STRIP, self.canvas[0]), self.canvas[1], 3), FILL, np.uint8)

    def windows(self, canvas: Image) -> Image:
        """Cut a canvas into what the network sees, uint8 ``[windows, height, width, 3]``."""
        if self.grid == (1, 1):
            return canvas[None]
        return np.stack([canvas[self._slices(place)] for place in self.places])

    @cached_property
    def ignored_windows(self) -> Mask | None:
        """The ignored pixels of each window, bool ``[windows, height, width]``; or ``None``."""
        if self.ignored is None:
            return None
        return np.stack([self.ignored[self._slices(place)] for place in self.places])

    def map_spec(self, window: MapSpec) -> MapSpec:
        """Return the cells of the joined map, and the pixels of the canvas that they cover.

        Args:
            window: The map of one window.
        """
        return join.spec_of(window, self.size, self.grid, self.step)

    def join(self, of_windows: Floats, window: MapSpec) -> tuple[Floats, float]:
        """Join the maps of a frame's windows.

        Args:
            of_windows: float32 maps ``[windows, h, w]``.
            window: Cells of one of them.

        Returns:
            The map float32 ``[H, W]``, in which what is not judged has its lowest value, and the
            score, its maximum.
        """
        found = join.joined(of_windows, self.places, window, self.size, self.grid, self.step)
        judged = self.judged_cells(window)
        if judged is not None:
            found = np.where(judged, found, found[judged].min())
        return found, float(found.max())

    def judged_cells(self, window: MapSpec) -> Mask | None:
        """Return which cells of the joined map are judged, bool ``[H, W]``; ``None`` for all.

        Raises:
            DataError: None is: maps do not reach the edges of what a network sees.
        """
        return _judged_cells(self, window)

    def judged_cells_of_windows(self, window: MapSpec) -> Mask | None:
        """Return which cells of each window's map are judged, bool ``[windows, h, w]``."""
        return _judged_cells_of_windows(self, window)

    def heatmap(self, joined: Floats, cells: MapSpec, frame: Size) -> Floats:
        """Bring a joined map to a frame's resolution (bilinear).

        Args:
            joined: float32 ``[H, W]``.
            cells: Its cells (:meth:`map_spec`).
            frame: ``(height, width)`` of the frame in pixels.

        Returns:
            float32 ``[height, width]``; outside of the crop it has the lowest value of the map.
        """
        x, y, width, height = self.crop(frame)
        left, top, across, down = self.content
        down_all, across_all = self.canvas
        rows = maps.weights(height, (top, down), down_all, cells.height, cells.top, cells.bottom)
        columns = maps.weights(
            width, (left, across), across_all, cells.width, cells.left, cells.right
        )
        lowest = joined.min()
        found = np.full(frame, lowest, np.float32)
        found[y : y + height, x : x + width] += rows @ (joined - lowest) @ columns.T
        return found

    def shrink(self, frame: Size) -> float:
        """Return how many pixels of a frame become one of the network's input, along a side."""
        _, _, width, height = self.crop(frame)
        _, _, across, down = self.content
        return max(width / across, height / down)

    def boxes(self, frame: Size) -> list[Box]:
        """Return the part of a frame that each window shows, ``(x, y, width, height)`` in px."""
        x, y, width, height = self.crop(frame)
        left, top, across, down = self.content
        scale_x, scale_y = width / across, height / down
        found = []
        for place in self.places:
            rows, columns = self._slices(place)
            x0, x1 = (round((edge - left) * scale_x) for edge in (columns.start, columns.stop))
            y0, y1 = (round((edge - top) * scale_y) for edge in (rows.start, rows.stop))
            x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
            found.append((x + x0, y + y0, x1 - x0, y1 - y0))
        return found


@lru_cache(maxsize=16)
def _judged_cells(view: View, window: MapSpec) -> Mask | None:
    if view.ignored is None:
        return None
    found = _judged(view.ignored, view.map_spec(window))
    if not found.any():
        raise DataError(
            "crop and mask leave no cell of the detector's map to judge: mask less of the part, or "
            "leave a larger margin around it"
        )
    found.setflags(write=False)  # every frame of a detector asks for it
    return found


@lru_cache(maxsize=16)
def _judged_cells_of_windows(view: View, window: MapSpec) -> Mask | None:
    if view.ignored_windows is None:
        return None
    found = np.stack([_judged(one, window) for one in view.ignored_windows])
    found.setflags(write=False)  # every photo that is taught asks for it
    return found


def _judged(ignored: Mask, cells: MapSpec) -> Mask:
    return np.asarray(_mean_of_cells(ignored, cells) < _NOT_JUDGED)


def _mean_of_cells(pixels: Mask, cells: MapSpec) -> Floats:
    """Return the mean of the pixels that each cell covers, float32 ``[h, w]``."""
    rows = _shares(pixels.shape[0], cells.height, cells.top, cells.bottom)
    columns = _shares(pixels.shape[1], cells.width, cells.left, cells.right)
    return np.asarray(rows @ pixels.astype(np.float32) @ columns.T, np.float32)


def _shares(pixels: int, cells: int, start: float, stop: float) -> Floats:
    edges = np.linspace(start, stop, cells + 1)
    index = np.arange(pixels)
    low = np.maximum(edges[:-1, None], index[None])
    high = np.minimum(edges[1:, None], index[None] + 1)
    inside = np.maximum(0, high - low)
    return np.asarray(inside / np.maximum(inside.sum(1, keepdims=True), 1e-9), np.float32)
