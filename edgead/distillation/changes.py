"""How a random view of a photo is changed before source network and teacher see it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.errors import UsageError

SIDE = 256  # of the views that a teacher sees, in pixels
_GAIN = 0.4
_OFFSET = 20.0
_BLUR = (0.5, 2.0)


@dataclass(frozen=True)
class Changes:
    """The share of the random views that is changed in each way, 0 to 1.

    Attributes:
        grey: Without colour.
        light: Brightness times 0.6 to 1.4, and up to 20 grey levels more or less.
        blur: Smoothed with a deviation of 0.5 to 2 of the 256 pixels a side that a teacher sees.
        turn: By one, two or three quarters of a turn.

    Raises:
        UsageError: A share is not from 0 to 1; names it.
    """

    grey: float = 0.2
    light: float = 0.0
    blur: float = 0.0
    turn: float = 0.0

    def __post_init__(self) -> None:
        for name, share in dataclasses.asdict(self).items():
            if not 0 <= share <= 1:
                raise UsageError(f"--{name} is a share of the views, from 0 to 1, not {share:g}")

    def made(self, view: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Change a view uint8 ``[side, side, 3]`` BGR, in no way, one or several."""
        # Every draw is made, so that a view's other changes stay the same at other shares.
        grey, light, blur, turn = rng.random(4) < (self.grey, self.light, self.blur, self.turn)
        gain, offset = rng.uniform(1 - _GAIN, 1 + _GAIN), rng.uniform(-_OFFSET, _OFFSET)
        sigma, quarters = rng.uniform(*_BLUR), int(rng.integers(1, 4))
        view = np.ascontiguousarray(view)
        if grey:
            view = images.without_colour(view)
        if light:
            view = np.clip(np.rint(view * gain + offset), 0, 255).astype(np.uint8)
        if blur:
            view = np.asarray(cv2.GaussianBlur(view, (0, 0), sigma * len(view) / SIDE), np.uint8)
        if turn:
            view = np.rot90(view, quarters)
        return view
