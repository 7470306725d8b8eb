"""Latency statistics that do not claim more than the samples support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgead.errors import EdgeadError

SAMPLES_FOR = {90: 64, 95: 130, 99: 662}
"""Samples that a percentile takes at 99 % confidence (MLPerf inference rules, early stopping)."""


@dataclass(frozen=True)
class LatencySummary:
    """Milliseconds; a percentile that the samples do not support is ``None``.

    No sample is ever dropped: an outlier on the device is an outlier on the line.
    """

    samples: int
    mean: float
    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    maximum: float
    variation: float
    drift: float

    @property
    def fps(self) -> float:
        """Frames a second, from the mean."""
        return 1000 / self.mean


def summarise(milliseconds: Sequence[float]) -> LatencySummary:
    """Summarise latencies in the order they were measured.

    ``variation`` is the coefficient of variation, ``drift`` the mean of the last third over that
    of the first, minus one.

    Raises:
        EdgeadError: There are no samples.
    """
    if not milliseconds:
        raise EdgeadError("there are no latencies to summarise: measure for longer")
    values = np.asarray(milliseconds, np.float64)
    third = max(1, len(values) // 3)
    percentiles = {
        rank: float(np.percentile(values, rank)) if len(values) >= needed else None
        for rank, needed in SAMPLES_FOR.items()
    }
    return LatencySummary(
        samples=len(values),
        mean=float(values.mean()),
        p50=float(np.percentile(values, 50)),
        p90=percentiles[90],
        p95=percentiles[95],
        p99=percentiles[99],
        maximum=float(values.max()),
        variation=float(values.std() / values.mean()),
        drift=float(values[-third:].mean() / values[:third].mean() - 1),
    )
