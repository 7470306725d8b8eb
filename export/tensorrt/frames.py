"""Frames to compare an engine on where no photo of the part is at hand."""

from __future__ import annotations

import cv2
import numpy as np

from edgead.calibration.photos import CalibrationPhotos
from edgead.calibration.synthetic import with_defect

_COUNT = 16


def generated_photos(size: tuple[int, int]) -> CalibrationPhotos:
    """Make smooth frames with sensor noise, and the same with synthetic defects.

    Args:
        size: The network's input ``(height, width)``.
    """
    rng = np.random.default_rng(5)
    good = []
    for _ in range(_COUNT):
        coarse = rng.uniform(30, 220, (6, 8, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        noise = rng.normal(0, 4, (*size, 1)).astype(np.float32)
        good.append(np.clip(smooth + noise, 0, 255).astype(np.uint8))
    defective = [with_defect(frame, rng) for frame in good]
    return CalibrationPhotos((), np.stack(good), np.stack(defective), (size,) * _COUNT, "")
