"""Losses that several detectors share."""

from __future__ import annotations

import math

from torch import Tensor


def mean_of_highest(values: Tensor, quantile: float) -> Tensor:
    """Return the mean of the values at or above a quantile, without sorting them all.

    Source: the hard-feature loss of EfficientAd, section 3.2.
    """
    count = values.numel() - math.ceil(quantile * (values.numel() - 1))
    return values.flatten().topk(max(1, count), sorted=False).values.mean()
