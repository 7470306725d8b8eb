"""From the histogram of an activation to the range that its integers cover.

Four published rules. They differ in what they give up: MinMax nothing, at the price of coarse
steps where one value is far out; the others cut the far ends off for finer steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgead.errors import UsageError

LEVELS = 256
_PERCENTILE = 99.99
_CANDIDATES = np.linspace(0.05, 1.0, 96)


@dataclass(frozen=True)
class Range:
    """The values of an activation that its integers cover, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Histogram:
    """How often an activation took which value.

    Attributes:
        low: Left edge of the first bin, the smallest value seen.
        high: Right edge of the last bin, the largest value seen.
        counts: int64 ``[bins]``, bins of equal width.
    """

    low: float
    high: float
    counts: npt.NDArray[np.int64]

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[:-1] + edges[1:]) / 2


def minmax(histogram: Histogram) -> Range:
    """Cover every value seen."""
    return Range(histogram.low, histogram.high)


def percentile(histogram: Histogram) -> Range:
    """Cover all but the outermost 0.01 % of the values at either end."""
    total = np.cumsum(histogram.counts)
    share = total / total[-1]
    edges = np.linspace(histogram.low, histogram.high, len(total) + 1)
    outside = 1 - _PERCENTILE / 100
    first = int(np.searchsorted(share, outside, side="right"))
    last = int(np.searchsorted(share, 1 - outside, side="left"))
    return Range(float(edges[first]), float(edges[last + 1]))


def mse(histogram: Histogram) -> Range:
    """Minimise the mean squared rounding and clipping error."""
    centres = histogram.centres

    def error(low: float, high: float) -> float:
        clipped = np.clip(centres, low, high)
        step = (high - low) / (LEVELS - 1)
        rounding = np.where(clipped == centres, step**2 / 12, 0.0)
        return float(((centres - clipped) ** 2 + rounding) @ histogram.counts)

    return _best(histogram, error)


def entropy(histogram: Histogram) -> Range:
    """Minimise the Kullback-Leibler divergence between the values before and after.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017, here with both ends of the range.
    The bin of the zeros, which a ReLU fills, counts as its neighbour does.
    """
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)
    zero = int(np.abs(centres).argmin())
    counts[zero] = min(counts[zero], counts[min(zero + 1, len(counts) - 1)])

    def divergence(low: float, high: float) -> float:
        inside = (centres >= low) & (centres <= high)
        if not inside.any():
            return np.inf
        reference = np.where(inside, counts, 0.0)
        bins = np.flatnonzero(inside)
        reference[bins[0]] += counts[: bins[0]].sum()
        reference[bins[-1]] += counts[bins[-1] + 1 :].sum()
        level = np.clip((centres - low) / (high - low) * LEVELS, 0, LEVELS - 1).astype(int)
        seen = inside & (counts > 0)
        mass = np.bincount(level[seen], counts[seen], LEVELS)
        members = np.bincount(level[seen], minlength=LEVELS)
        rounded = np.zeros_like(reference)
        rounded[seen] = mass[level[seen]] / members[level[seen]]
        p, q = reference[reference > 0], rounded[reference > 0]
        p, q = p / p.sum(), np.maximum(q / max(rounded.sum(), 1), 1e-12)
        return float((p * np.log(p / q)).sum())

    return _best(histogram, divergence)


Calibrator: TypeAlias = Callable[[Histogram], Range]

CALIBRATORS: dict[str, Calibrator] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def calibrator(name: str) -> Calibrator:
    """Return a calibrator by name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in CALIBRATORS:
        raise UsageError(f"unknown calibrator {name!r}; choose one of: {', '.join(CALIBRATORS)}")
    return CALIBRATORS[name]


def _best(histogram: Histogram, cost: Callable[[float, float], float]) -> Range:
    """Shrink both ends towards zero together and keep the cheapest range."""
    ends = [(histogram.low * share, histogram.high * share) for share in _CANDIDATES]
    costs = [cost(low, high) if high > low else np.inf for low, high in ends]
    if not np.isfinite(costs).any():
        return minmax(histogram)
    return Range(*ends[int(np.argmin(costs))])
