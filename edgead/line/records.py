"""What a station remembers of its verdicts: for the page and the status, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from edgead.line.control import DEFECTS, HISTORY, Remembered
from edgead.line.verdict import Judged

_MOST_BYTES = 64 << 20  # of pictures; DEFECTS frames of a large camera would be gigabytes
_STAGES = ("wait", "preprocess", "inference", "postprocess", "total")
_PERCENTILES = (50, 90, 99)


class Records:
    """Counts, history, latencies and rejected frames of one station; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._history: deque[Remembered] = deque(maxlen=HISTORY)
        self._defects: deque[Judged] = deque(maxlen=DEFECTS)
        self._counts = {"good": 0, "anomaly": 0, "failure": 0}
        self._stages = np.empty((HISTORY, len(_STAGES)))
        self._timed = 0
        self.newest: Judged | None = None

    def add(self, judged: Judged) -> None:
        """Remember a verdict."""
        verdict, stages = judged.verdict, judged.verdict.stages
        is_scored = verdict.state != "failure"
        remembered = Remembered(
            verdict.number,
            verdict.at,
            verdict.state,
            verdict.score if is_scored else None,
            verdict.threshold if is_scored else None,
        )
        with self._lock:
            self.newest = judged
            self._counts[verdict.state] += 1
            self._history.append(remembered)
            if stages is not None:
                self._stages[self._timed % HISTORY] = (
                    stages.wait_ms,
                    stages.preprocess_ms,
                    stages.inference_ms,
                    stages.postprocess_ms,
                    stages.total_ms,
                )
                self._timed += 1
            if not verdict.is_accepted and judged.picture is not None:
                self._defects.append(judged)
                while len(self._defects) > 1 and self._bytes() > _MOST_BYTES:
                    self._defects.popleft()

    def counts(self) -> dict[str, int]:
        """Return the verdicts by state."""
        with self._lock:
            return dict(self._counts)

    def history(self) -> Sequence[Remembered]:
        """Return the last verdicts, oldest first."""
        with self._lock:
            return tuple(self._history)

    def defects(self) -> Sequence[Judged]:
        """Return the last rejected frames, newest first."""
        with self._lock:
            return tuple(reversed(self._defects))

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Return percentiles by stage; nothing before the first frame was judged."""
        with self._lock:
            known = self._stages[: min(self._timed, HISTORY)].copy()
        if not len(known):
            return {}
        found = np.percentile(known, _PERCENTILES, axis=0)
        return {
            stage: {
                str(rank): float(value)
                for rank, value in zip(_PERCENTILES, found[:, column], strict=True)
            }
            for column, stage in enumerate(_STAGES)
        }

    def _bytes(self) -> int:
        return sum(one.picture.nbytes for one in self._defects if one.picture is not None)
