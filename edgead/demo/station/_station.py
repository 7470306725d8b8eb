"""A frame of the station: plate, defect, label, belt, clamps, and the camera that sees them."""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np
import numpy.typing as npt

from edgead.demo.station import _surroundings
from edgead.demo.station._defects import Defect, paint
from edgead.demo.station._drawing import HEIGHT, WIDTH, Canvas, Floats, Image, Light
from edgead.demo.station._plate import Plate
from edgead.errors import UsageError

LEAST_WIDTH = 400
"""Narrower frames have no room for the plate's details."""

CROP = (0.12, 0.06, 0.76, 0.88)
"""X, Y, width and height of the plate's face, as shares of the frame."""

_SHIFT, _TURN = 10.0, 0.15  # deviation of the plate's place, and of its angle in degrees
_NOISE, _COLOUR_NOISE = 1.7, 0.9  # grey levels
_BAND = 16  # rows of a frame that stay in a cache


class Station:
    """A camera over a belt. The plate is the same design in every frame.

    Its brushed metal, place, angle, light and noise change a little from frame to frame; belt,
    clamps and label change by far more than a defect does. They are outside of :data:`CROP` or
    within :meth:`ignored`.

    Args:
        width: Of the frames, in pixels; the height is three quarters of it. A smaller frame shows
            the same, smaller; noise stays, and so does the size of a defect.

    Raises:
        UsageError: The width is too small, or not of a 4:3 frame.
    """

    def __init__(self, width: int = WIDTH) -> None:
        if width < LEAST_WIDTH or width % 8:
            raise UsageError(
                f"the width of a frame must be a multiple of 8 from {LEAST_WIDTH} on, not {width}"
            )
        self._canvas = Canvas(width)
        self._plate = Plate(self._canvas)
        self._room = self._distance_to_features()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        return self._canvas.size

    def ignored(self) -> Image:
        """Return where clamps and label may be, uint8 ``[H, W]`` of the whole frame, 255 there."""
        return _surroundings.ignored(self._canvas)

    def frame(
        self,
        rng: np.random.Generator,
        defect: Defect | None = None,
        surroundings: np.random.Generator | None = None,
    ) -> tuple[Image, Image]:
        """Render one frame.

        Args:
            rng: Draws everything that changes from frame to frame.
            defect: ``None`` for a good plate.
            surroundings: Draws belt, clamps and label instead. What is in :data:`CROP` and not
                :meth:`ignored` does not depend on it, to the bit.

        Returns:
            uint8 ``[H, W, 3]`` BGR, and its mask uint8 ``[H, W]``, 255 where it is defective.

        Raises:
            UsageError: The defect leaves the frame, or there is no room for it on even metal.
        """
        of_light, of_move, of_metal, of_defect, of_rest, of_camera = (
            np.random.default_rng(seed) for seed in rng.integers(0, 2**63, 6)
        )
        around = surroundings or of_rest
        light, move = Light.drawn(of_light), self._move(of_move)
        picture, plate = self._plate.lit(light, move, of_metal)
        mask = np.zeros(self.size, np.uint8)
        if defect is not None:
            place = defect.place or self._place(defect.pixels, of_defect)
            paint(picture, mask, defect, place, light, of_defect)
        _surroundings.add_label(picture, move, self._canvas, around)
        _surroundings.add_belt(picture, plate, self._canvas, light, around)
        _surroundings.add_clamps(picture, self._canvas, around)
        return _seen(picture, of_camera), mask

    def _move(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        height, width = self.size
        angle = float(np.clip(rng.normal(0, _TURN), -3 * _TURN, 3 * _TURN))
        shift = np.clip(rng.normal(0, 1, 2), -3, 3) * _SHIFT * self._canvas.scale
        move = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0), np.float64)
        move[:, 2] += shift
        return move

    def _place(self, pixels: float, rng: np.random.Generator) -> tuple[float, float]:
        rows, columns = np.nonzero(self._room > pixels + 4 * _SHIFT * self._canvas.scale)
        if not len(rows):
            raise UsageError(f"there is no room on the plate for a defect of {pixels:g} px")
        at = int(rng.integers(len(rows)))
        return 2 * float(columns[at]) + rng.uniform(0, 2), 2 * float(rows[at]) + rng.uniform(0, 2)

    def _distance_to_features(self) -> Floats:
        """Return the pixels from each place to what is no even metal, at half of the size."""
        left, top, wide, high = CROP
        face = np.zeros(self.size, bool)
        face[
            self._canvas.window(
                left * WIDTH, top * HEIGHT, (left + wide) * WIDTH, (top + high) * HEIGHT
            )
        ] = True
        even = (face & self._plate.even() & (self.ignored() == 0)).astype(np.uint8)
        small = cv2.erode(even, np.ones((3, 3)))[::2, ::2]
        return np.asarray(cv2.distanceTransform(small, cv2.DIST_L2, 3) * 2, np.float32)


def _seen(picture: Image, rng: np.random.Generator) -> Image:
    """Let a camera see a picture: blur, darker corners, and noise that is coarser in colour."""
    height, width = picture.shape[:2]
    sharp = cv2.GaussianBlur(picture, (3, 3), 0.6)
    down, across = (
        ((np.arange(length, dtype=np.float32) + 0.5) / length - 0.5) ** 2
        for length in (height, width)
    )
    darker = np.float32(rng.uniform(0.22, 0.28))
    quantiles = [NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)]
    deviates = np.array(quantiles, np.float32)
    out = np.empty_like(picture)
    for start in range(0, height, _BAND):
        band = np.asarray(sharp[start : start + _BAND], np.float32)
        rows = len(band)
        band *= (1 - darker * (down[start : start + rows, None] + across))[..., None]
        band += _NOISE * deviates[rng.integers(0, 256, (rows, width, 1), np.uint8)]
        coarse = deviates[rng.integers(0, 256, (-(-rows // 2), width // 2, 3), np.uint8)]
        band += _COLOUR_NOISE * cv2.resize(coarse, (width, rows))
        band += 0.5
        out[start : start + rows] = np.clip(band, 0, 255, out=band)
    return out
