"""Verdicts for the tests of outputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edgead.line.verdict import Judged, Stages, Verdict


def good(number: int = 1, **values: Any) -> Judged:
    return _judged("good", number, 0.25, values)


def anomaly(number: int = 1, **values: Any) -> Judged:
    return _judged("anomaly", number, 0.75, values)


def failure(number: int = 1, reason: str = "no frame came") -> Judged:
    return Judged(Verdict("left", number, "failure", 1000.0 + number, reason=reason))


def _judged(state: Any, number: int, score: float, values: dict[str, Any]) -> Judged:
    given = {
        "score": score,
        "threshold": 0.5,
        "artifact": "part.onnx",
        "artifact_sha256": "ab" * 32,
        "frame": f"{number}.png",
        "stages": Stages(0.5, 1.0, 2.0, 0.5),
    }
    own = {key: values.pop(key) for key in ("picture", "detection", "since") if key in values}
    return Judged(Verdict("left", number, state, 1000.0 + number, **{**given, **values}), **own)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for something that another thread or process does."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
    return value
