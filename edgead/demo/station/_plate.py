"""The product: a cover plate of brushed metal with a milled recess, bosses, holes and slots."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgead.demo.station._drawing import Canvas, Floats, Image, Light, box, edge, streaks

OUTLINE = (400.0, 100.0, 3600.0, 2900.0)
"""Left, top, right and bottom of the plate."""

FACE = (430.0, 130.0, 3570.0, 2870.0)
"""The same of what is inside its bevel."""

_RECESS = (800.0, 600.0, 2320.0, 2400.0)
_SCREWS = tuple((x, y) for x in (620, 2000, 3380) for y in (320, 2680))
_BOSSES = ((1150, 950), (1150, 2050), (1950, 1500))
_SLOTS = tuple(2650 + 100 * index for index in range(7))
_ENGRAVED = (("EC-4120", (2560, 1330), 6.0), ("IP67  MADE FOR 24 V", (2560, 1440), 2.6))
_HOLE = 14.0  # grey levels at the bottom of one
_METAL = 235.0


class Plate:
    """The design, drawn once; a frame turns and lights it.

    Args:
        canvas: Of the frames.
    """

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        height, width = canvas.size
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        x, y = (columns + 0.5) / canvas.scale, (rows + 0.5) / canvas.scale
        outline, recess = _inside(x, y, OUTLINE, 90), _inside(x, y, _RECESS, 140)
        holes = np.maximum.reduce([box(x, y, (at, 2100), (26, 420), 26) for at in _SLOTS])
        surface = np.minimum(outline, 26) - 1.1 * np.clip(recess, 0, 20)
        for at_x, at_y in _SCREWS:
            inside = 88 - np.hypot(x - at_x, y - at_y)
            surface -= np.clip(inside, 0, 36)  # countersunk
            holes = np.maximum(holes, inside - 36)
        for at_x, at_y in _BOSSES:
            inside = 120 - np.hypot(x - at_x, y - at_y)
            surface += np.clip(1.2 * inside, 0, 16)
            holes = np.maximum(holes, inside - 72)
        surface -= np.clip(holes + 7, 0, 7)  # edges are broken
        surface -= 5 * self._engraving()
        surface = cv2.GaussianBlur(surface, (0, 0), max(1.6 * canvas.scale, 0.6))
        self._slope_y, self._slope_x = np.gradient(surface, 1 / canvas.scale)
        shares = [edge(outline, canvas.scale), edge(-holes, canvas.scale), edge(recess, 0.3)]
        self._shares = np.rint(np.dstack(shares) * 255).astype(np.uint8)

    def even(self) -> npt.NDArray[np.bool_]:
        """Return where the plate is even metal, ``[H, W]``: no edge, no hole, no engraving."""
        steep = np.maximum(np.abs(self._slope_x), np.abs(self._slope_y)) > 0.08
        is_even: npt.NDArray[np.bool_] = (self._shares[..., :2] == 255).all(-1) & ~steep
        return is_even

    def lit(
        self, light: Light, move: npt.NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[Image, Image]:
        """Draw the plate of one frame.

        Args:
            light: Of the frame.
            move: How the plate lies, as ``cv2.warpAffine`` takes it.
            rng: Draws how the metal was brushed.

        Returns:
            uint8 ``[H, W, 3]`` BGR, and where the plate is, uint8 ``[H, W]``, 255 on it.
        """
        size = self._canvas.size
        towards = cv2.addWeighted(self._slope_x, -light.x, self._slope_y, -light.y, 0)
        turned = cv2.warpAffine(np.asarray(towards, np.float32), move, size[::-1])
        outline, metal, milled = cv2.split(cv2.warpAffine(self._shares, move, size[::-1]))
        shade = np.clip(np.asarray(turned, np.float32) * np.float32(0.55 * light.power), -0.42, 0.5)
        at = (np.arange(size[0], dtype=np.float32) + 0.5) / size[0]
        reflection = 0.14 * light.power * np.exp(-(((at - light.band) / 0.4) ** 2))
        shade = shade + (0.30 + 0.34 * light.power + reflection).astype(np.float32)[:, None]
        shade *= self._brushed(milled, rng)
        bottom = np.float32(_HOLE / _METAL)
        shade = bottom + (shade - bottom) * (np.asarray(metal, np.float32) / 255)
        channels = [cv2.convertScaleAbs(shade, alpha=_METAL * share) for share in light.tint]
        return np.asarray(cv2.merge(channels), np.uint8), np.asarray(outline, np.uint8)

    def _brushed(self, milled: cv2.typing.MatLike, rng: np.random.Generator) -> Floats:
        """Lines along the plate, and across it in the recess, which is darker."""
        texture = streaks(self._canvas.size, 520 * self._canvas.scale, rng)
        texture += 1
        left, top, right, bottom = _RECESS
        window = self._canvas.window(left - 90, top - 90, right + 90, bottom + 90)
        part, share = texture[window], np.asarray(milled[window], np.float32) / 255
        floor = streaks(part.shape[::-1], 300 * self._canvas.scale, rng).T
        part += share * (np.float32(0.93) + np.float32(0.8) * floor - part)
        return texture

    def _engraving(self) -> Floats:
        words = np.zeros(self._canvas.size, np.uint8)
        scale = self._canvas.scale
        for text, at, size in _ENGRAVED:
            place = (round(at[0] * scale), round(at[1] * scale))
            thick = max(1, round(2.2 * size * scale))
            cv2.putText(words, text, place, cv2.FONT_HERSHEY_SIMPLEX, size * scale, 255, thick)
        return np.asarray(words / 255, np.float32)


def _inside(
    x: Floats, y: Floats, corners: tuple[float, float, float, float], corner: float
) -> Floats:
    left, top, right, bottom = corners
    middle, half = (
        ((left + right) / 2, (top + bottom) / 2),
        ((right - left) / 2, (bottom - top) / 2),
    )
    return box(x, y, middle, half, corner)
