"""Latency statistics that do not claim more than the samples support."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgead.errors import EdgeadError

SAMPLES_FOR = {90.0: 64, 95.0: 130, 99.0: 662, 99.9: 6636}
"""Samples that a percentile takes at 99 % confidence; see :func:`samples_for`."""

_CONFIDENCE = 0.99
_RESAMPLES, _PORTION = 2000, 50
_INTERVAL = (2.5, 97.5)
_BLOCKS = 20
_MOST_RESAMPLED = 20_000  # of a longer run every second, third, ... latency: seconds, not minutes


def samples_for(percentile: float) -> int:
    """Return the fewest samples that support a percentile at 99 % confidence.

    The early-stopping bound of MLPerf's load generator (``early_stopping.cc``) with one sample
    allowed above the percentile: the smallest n with ``p^n + n (1 - p) p^(n - 1) <= 0.01``.
    """
    share = percentile / 100
    count = 2
    while share**count + count * (1 - share) * share ** (count - 1) > 1 - _CONFIDENCE:
        count += 1
    return count


@dataclass(frozen=True)
class LatencySummary:
    """Milliseconds; a percentile that the samples do not support is ``None``.

    No sample is ever dropped: an outlier on the device is an outlier on the line.

    Attributes:
        variation: Coefficient of variation: standard deviation over mean.
        drift: Median of the last third over that of the first, minus one.
    """

    samples: int
    mean: float
    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    p99_9: float | None
    minimum: float
    maximum: float
    variation: float
    drift: float

    @property
    def fps(self) -> float:
        """Frames a second, from the mean."""
        return 1000 / self.mean


def summarise(milliseconds: Sequence[float]) -> LatencySummary:
    """Summarise latencies in the order they were measured.

    Raises:
        EdgeadError: There are no samples.
    """
    if not len(milliseconds):
        raise EdgeadError("there are no latencies: measure for longer")
    values = np.asarray(milliseconds, np.float64)
    mean = float(values.mean())

    def percentile(rank: float) -> float | None:
        return float(np.percentile(values, rank)) if len(values) >= SAMPLES_FOR[rank] else None

    return LatencySummary(
        samples=len(values),
        mean=mean,
        p50=float(np.median(values)),
        p90=percentile(90),
        p95=percentile(95),
        p99=percentile(99),
        p99_9=percentile(99.9),
        minimum=float(values.min()),
        maximum=float(values.max()),
        variation=float(values.std() / mean) if mean else 0.0,
        drift=drift(values),
    )


def drift(values: npt.ArrayLike) -> float:
    """Return the median of the last third over that of the first, minus one.

    Medians: one interruption in a third of the run is not a trend.
    """
    array = np.asarray(values, np.float64)
    third = max(1, len(array) // 3)
    first = float(np.median(array[:third]))
    return float(np.median(array[-third:])) / first - 1 if first else 0.0


@dataclass(frozen=True)
class Ratio:
    """A ratio and its 95 % bootstrap confidence interval."""

    value: float
    low: float
    high: float

    @property
    def is_difference(self) -> bool:
        """Whether the interval leaves out 1, so that the two do differ."""
        return not self.low <= 1 <= self.high

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "-"
        return f"{self.value:.3g}x [{self.low:.3g}, {self.high:.3g}]"

    def to_json(self) -> dict[str, float]:
        """Return plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def ratio(values: Sequence[float], base: Sequence[float], seed: int = 0) -> Ratio:
    """Compare two separate runs: median of ``values`` over median of ``base``.

    Neighbouring latencies resemble each other, so whole stretches of each run (20 of them) are
    drawn with replacement, not single latencies: a moving-block bootstrap (Künsch 1989).

    Raises:
        EdgeadError: A run is empty.
    """
    if not len(values) or not len(base):
        raise EdgeadError("there are no latencies to compare: measure again")
    rng = np.random.default_rng(seed)
    above = _block_medians(np.asarray(values, np.float64), rng)
    below = _block_medians(np.asarray(base, np.float64), rng)
    low, high = np.percentile(above / below, _INTERVAL)
    return Ratio(float(np.median(values) / np.median(base)), float(low), float(high))


def paired_ratio(values: Sequence[float], base: Sequence[float], seed: int = 0) -> Ratio:
    """Compare two that took turns: median over the rounds of their ratio in each round.

    A disturbance of the machine hits both sides of a round, so the ratio of a round stays;
    rounds are drawn with replacement.

    Args:
        values: One figure a round.
        base: The other's figure of the same rounds.
        seed: Seed of the resampling.

    Raises:
        EdgeadError: There are no rounds, or not the same number.
    """
    if not len(values) or len(values) != len(base):
        raise EdgeadError(
            f"turns must be compared round by round, but there are {len(values)} and {len(base)}"
        )
    ratios = np.asarray(values, np.float64) / np.asarray(base, np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), _INTERVAL)
    return Ratio(float(np.median(ratios)), float(low), float(high))


def _block_medians(
    values: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    values = values[:: math.ceil(len(values) / _MOST_RESAMPLED)]
    length = max(1, len(values) // _BLOCKS)
    count = math.ceil(len(values) / length)
    offsets = np.arange(length)
    medians = []
    # In portions: all resamples of a long run at once would be gigabytes.
    for _ in range(_RESAMPLES // _PORTION):
        starts = rng.integers(0, len(values) - length + 1, (_PORTION, count, 1))
        drawn = values[(starts + offsets).reshape(_PORTION, -1)]
        medians.append(np.median(drawn, axis=1, overwrite_input=True))
    return np.concatenate(medians)
