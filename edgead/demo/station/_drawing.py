"""Shapes, textures and places that the parts of a frame are drawn with."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 4000, 3000
"""Pixels of a frame of full size: the units that everything is designed in."""


@dataclass(frozen=True)
class Canvas:
    """Where things are in a frame of another size.

    Attributes:
        width: Of the frame in pixels.
    """

    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.width * HEIGHT // WIDTH, self.width

    @property
    def scale(self) -> float:
        """Pixels of the frame for one unit of the design."""
        return self.width / WIDTH

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Return the rows and columns of a box, given in units of the design."""
        height, width = self.size
        rows, columns = (
            slice(max(0, round(start * self.scale)), min(length, round(stop * self.scale)))
            for start, stop, length in ((top, bottom, height), (left, right, width))
        )
        return rows, columns


@dataclass(frozen=True)
class Light:
    """What the lamp does in one frame.

    Attributes:
        x: Where it shines to the right from: cosine of its direction.
        y: The same downwards.
        power: Brightness, about 1.
        band: Where brushed metal reflects it, as a share of the height.
        tint: Colour, BGR, about 1.
    """

    x: float
    y: float
    power: float
    band: float
    tint: tuple[float, float, float]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Light:
        """Draw the light of a frame."""
        angle = np.radians(rng.normal(-60, 5))
        blue, green, red = rng.normal((0.985, 1.0, 1.005), 0.008)
        power, band = rng.uniform(0.94, 1.06), rng.normal(0.42, 0.05)
        return cls(float(np.cos(angle)), float(np.sin(angle)), power, band, (blue, green, red))


def box(
    x: Floats, y: Floats, middle: tuple[float, float], half: tuple[float, float], corner: float
) -> Floats:
    """Return how far each point is inside a box with round corners; negative outside.

    Args:
        x: Of the points.
        y: Of the points.
        middle: ``(x, y)`` of the box.
        half: Half of its width and of its height.
        corner: Radius.
    """
    right = np.abs(x - middle[0]) - (half[0] - corner)
    below = np.abs(y - middle[1]) - (half[1] - corner)
    outside = np.hypot(np.maximum(right, 0), np.maximum(below, 0))
    return np.asarray(corner - outside - np.minimum(np.maximum(right, below), 0), np.float32)


def edge(distance: Floats, scale: float) -> Floats:
    """0 outside, 1 inside, smooth over a pixel of the frame."""
    return np.asarray(np.clip(distance * scale + 0.5, 0, 1), np.float32)


def blurred(plane: Floats, deviation: float) -> Floats:
    """Blur by at least half a pixel."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), max(deviation, 0.5)), np.float32)


def patches(size: tuple[int, int], grain: int, rng: np.random.Generator) -> Floats:
    """Smooth noise with features of ``grain`` pixels, deviation about one."""
    grain = max(grain, 2)
    coarse = rng.standard_normal((size[0] // grain + 3, size[1] // grain + 3), np.float32)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def streaks(size: tuple[int, int], length: float, rng: np.random.Generator) -> Floats:
    """Brushed metal: fine lines along the rows, some long and some short."""
    made = np.zeros(size, np.float32)
    for share, each in ((0.018, length), (0.020, length / 7)):
        coarse = rng.standard_normal((size[0], int(size[1] / each) + 2), np.float32)
        made += cv2.resize(coarse * np.float32(share), size[::-1])
    return made
