"""How far a counted rate can be trusted."""

from __future__ import annotations

import math

from edgead.errors import EdgeadError

_HALVINGS = 60  # of the interval 0..1: beyond float64


def rate_interval(events: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the rates that a count is compatible with (Clopper and Pearson, 1934; exact).

    Args:
        events: How often it happened.
        trials: Out of how many, at least 1.
        confidence: Confidence of the two-sided interval.

    Raises:
        EdgeadError: More events than trials, or no trials.

    Example:
        >>> low, high = rate_interval(0, 17)
        >>> low, round(high, 4)
        (0.0, 0.1951)
    """
    if not 0 <= events <= trials or trials < 1:
        raise EdgeadError(f"{events} of {trials} is not a rate")
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else _rate_with(events, trials, tail)
    high = 1.0 if events == trials else _rate_with(events + 1, trials, 1 - tail)
    return low, high


def _rate_with(events: int, trials: int, probability: float) -> float:
    """Find the rate at which ``events`` or more of ``trials`` have a probability."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_least(events, trials, middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_least(events: int, trials: int, rate: float) -> float:
    """Probability of ``events`` or more, 1 or more of them; logarithms keep it finite."""
    fewer = (
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * math.log(rate)
            + (trials - count) * math.log1p(-rate)
        )
        for count in range(events)
    )
    return 1 - math.fsum(fewer)
