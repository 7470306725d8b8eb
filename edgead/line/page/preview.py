"""What another threshold would have done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgead.line.control import Remembered


@dataclass(frozen=True)
class Preview:
    """How many verdicts of the history another threshold would change.

    Attributes:
        of: Verdicts with a score.
        to_anomaly: Good ones that it would reject.
        to_good: Anomalies that it would let pass.
    """

    of: int
    to_anomaly: int
    to_good: int


def preview(history: Iterable[Remembered], threshold: float) -> Preview:
    """Judge the scores of the history once more.

    An anomaly whose score was not above its threshold stays one: there was something wrong with
    the frame itself (no contrast), which no threshold changes.
    """
    of = to_anomaly = to_good = 0
    for one in history:
        if one.score is None:
            continue
        of += 1
        if one.state == "good":
            to_anomaly += one.score > threshold
        elif one.threshold is None or one.score > one.threshold:
            to_good += one.score <= threshold
    return Preview(of, to_anomaly, to_good)
