"""Small defects, by their size in pixels of the frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgead.demo.station._drawing import Floats, Image, Light, edge
from edgead.errors import UsageError

_Drawn = tuple[Floats, Floats]
"""By what each pixel is multiplied, ``[H, W, 1 or 3]``, and how far it is defective, ``[H, W]``."""

_CHIPS = ((0.30, 0.36, 0.45), (0.42, 0.40, 0.40), (1.25, 1.25, 1.22), (0.45, 0.62, 0.95))
_STAIN = (0.62, 0.78, 0.86)  # BGR


@dataclass(frozen=True)
class Defect:
    """One defect of the plate.

    Attributes:
        kind: One of :data:`KINDS`.
        pixels: Its largest extent in pixels of the frame.
        place: ``(x, y)`` of its centre in pixels of the frame; ``None`` draws one on even metal.
    """

    kind: str
    pixels: float
    place: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown defect '{self.kind}'; choose of: {', '.join(KINDS)}")
        if not self.pixels >= 1:
            raise UsageError(f"a defect must have at least one pixel, not {self.pixels:g}")


def paint(
    picture: Image,
    mask: Image,
    defect: Defect,
    place: tuple[float, float],
    light: Light,
    rng: np.random.Generator,
) -> None:
    """Draw a defect into a picture, and what it changed into a mask.

    Args:
        picture: uint8 ``[H, W, 3]`` BGR, changed in place.
        mask: uint8 ``[H, W]``, changed in place: 255 where the plate is defective.
        defect: Which one.
        place: ``(x, y)`` of its centre.
        light: Of the frame.
        rng: Draws its shape.

    Raises:
        UsageError: It would leave the frame.
    """
    x, y = place
    reach = int(1.2 * defect.pixels) + 4
    left, top = int(x) - reach, int(y) - reach
    height, width = mask.shape
    if min(left, top) < 0 or left + 2 * reach >= width or top + 2 * reach >= height:
        raise UsageError(f"a defect of {defect.pixels:g} px at {x:.0f},{y:.0f} leaves the frame")
    window = np.s_[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    rows, columns = np.mgrid[window].astype(np.float32)
    change, share = KINDS[defect.kind](columns - x, rows - y, defect.pixels, light, rng)
    picture[window] = np.clip(np.rint(picture[window] * change), 0, 255)
    mask[window] = np.where(share > 0.5, 255, 0)


def _pit(x: Floats, y: Floats, size: float, light: Light, rng: np.random.Generator) -> _Drawn:
    """A small crater: one wall in the shade, the other in the light."""
    along, across = _turned(x, y, rng.uniform(0, np.pi))
    distance = np.hypot(along, across / rng.uniform(0.7, 1.0)) / (size / 2)
    bowl = np.exp(-((distance / 0.6) ** 4))
    wall = np.exp(-(((distance - 0.68) / 0.18) ** 2))
    towards = (x * light.x + y * light.y) / np.maximum(np.hypot(x, y), 1)
    change = 1 - 0.34 * bowl - 0.40 * wall * towards
    return change[..., None], edge(1 - distance, size / 2)


def _scratch(x: Floats, y: Floats, size: float, light: Light, rng: np.random.Generator) -> _Drawn:
    """A groove across the brushed lines, with a bright lip."""
    angle = rng.choice((-1, 1)) * np.radians(rng.uniform(25, 65))
    along, across = _turned(x, y, angle)
    across = across - rng.uniform(-0.25, 0.25) / size * along**2
    width = max(1.1, 0.045 * size)
    end = edge(np.float32(size / 2) - np.abs(along), 1 / width)
    groove = np.exp(-((across / width) ** 2)) * end
    lip = np.exp(-(((across - 1.7 * width) / (0.8 * width)) ** 2)) * end
    change = 1 - 0.42 * groove + 0.30 * lip
    return change[..., None], edge(2.2 * width - np.abs(across - 0.6 * width), 1) * end


def _speck(x: Floats, y: Floats, size: float, light: Light, rng: np.random.Generator) -> _Drawn:
    """A chip that sticks to the plate."""
    share = edge(1 - _outline(x, y, size, rng), size / 3)
    colour = np.array(_CHIPS[int(rng.integers(len(_CHIPS)))], np.float32)
    return 1 + share[..., None] * (colour - 1), share


def _spot(x: Floats, y: Floats, size: float, light: Light, rng: np.random.Generator) -> _Drawn:
    """A drop that dried, with a darker rim."""
    distance = _outline(x, y, size, rng)
    film = np.clip((1 - distance) * 2.5 + 0.3, 0, 1)
    rim = np.exp(-(((distance - 0.82) / 0.16) ** 2))
    darker = (0.22 * film + 0.20 * rim)[..., None] * (1.35 - np.array(_STAIN, np.float32)) / 0.6
    return 1 - darker, edge(1 - distance, size / 2)


def _turned(x: Floats, y: Floats, angle: float) -> tuple[Floats, Floats]:
    along = x * np.cos(angle) + y * np.sin(angle)
    return along.astype(np.float32), (y * np.cos(angle) - x * np.sin(angle)).astype(np.float32)


def _outline(x: Floats, y: Floats, size: float, rng: np.random.Generator) -> Floats:
    """Distance from the middle of an uneven drop; 1 at its edge."""
    angle = np.arctan2(y, x)
    radius = np.full_like(angle, 0.92)
    for order in (2, 3, 4, 5):
        radius += (
            rng.uniform(-0.12, 0.12) / order * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
        )
    return np.asarray(np.hypot(x, y) / (size / 2 * radius), np.float32)


KINDS: dict[str, Callable[[Floats, Floats, float, Light, np.random.Generator], _Drawn]] = {
    "pit": _pit,
    "scratch": _scratch,
    "speck": _speck,
    "spot": _spot,
}
"""Shapes of defects."""
