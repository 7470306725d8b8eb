"""Scores of good photos that lie far above the others': there may be a defect on the photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FAR = 10.0
"""Deviations of a score: in the demo good parts had up to 8, defects 12 or more."""


def far_above(scores: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Mark the scores that lie more than :data:`FAR` deviations above the median.

    The deviation is the median absolute one, scaled to that of a normal distribution, so that the
    outliers do not widen it.

    Args:
        scores: Of photos of good parts, at least four.

    Returns:
        bool ``[N]``; all false where more than a quarter lie so far above: then they are not odd.
    """
    values = np.asarray(scores)
    above = values - np.median(values)
    deviation = 1.4826 * float(np.median(np.abs(above)))
    is_far = np.asarray(above > FAR * deviation)
    if deviation == 0 or is_far.sum() > len(values) // 4:
        return np.zeros(len(values), np.bool_)
    return is_far
