"""Why a station rejects everything at present; and the outputs are told when that changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from edgead import notices
from edgead.line.config import StationConfig
from edgead.line.delivery import Delivery
from edgead.line.in_use import InUse
from edgead.line.reader import Reader

_STARTING = "no frame was judged yet"


class Health:
    """What keeps a station from judging.

    Args:
        config: Of the station.
        in_use: Its detector.
        reader: Of its source.
        deliveries: To its outputs.
        is_live: Whether frames must come, and get a verdict, within ``stale_s``.
        is_triggered: Whether there is a verdict for each trigger only.

    Attributes:
        judged_at: ``time.monotonic()`` of the last frame that was scored.
        busy_since: When the detector was given the frame that it has now.
        broken: Why the station ended by itself though it should not have; a sentence.
        has_ended: Whether no more verdicts come.
    """

    def __init__(
        self,
        config: StationConfig,
        in_use: InUse,
        reader: Reader,
        deliveries: Sequence[Delivery],
        *,
        is_live: bool,
        is_triggered: bool,
    ) -> None:
        self._config = config
        self._in_use = in_use
        self._reader = reader
        self._deliveries = deliveries
        self._controls = [one for one in deliveries if one.output.is_control]
        self._is_live = is_live
        self._is_triggered = is_triggered
        self._changing = threading.Lock()
        self._is_failing: bool | None = None  # nothing was said; outputs open rejecting
        self._told: set[Delivery] = set()  # controls that know of the station's end
        self._began_at = 0.0
        self.judged_at: float | None = None
        self.busy_since: float | None = None
        self.broken: str | None = None
        self.has_ended = False

    def begin(self) -> None:
        """Note that the station starts: it has ``stale_s`` for its first frame."""
        self._began_at = time.monotonic()

    def problem(self, now: float) -> str | None:
        """Say why parts are rejected at present, whatever is on them; ``None`` if they are not.

        Args:
            now: ``time.monotonic()``.
        """
        known = self.broken or self._in_use.fault or self._reader.fault
        if known is not None:
            return known
        for control in self._controls:
            if (fault := control.fault) is not None:
                return fault
        # Read once: the loop writes them meanwhile.
        busy_since, judged_at, heard = self.busy_since, self.judged_at, self._reader.heard
        limit = self._config.stale_s
        if busy_since is not None and now - busy_since > limit:
            return f"the detector has not answered for {now - busy_since:.1f} s"
        if not self._is_live:
            return None
        if self._is_triggered:
            if heard is None:
                return _STARTING
            return f"no frame came for {now - heard:.1f} s" if now - heard > limit else None
        if judged_at is None:
            return _STARTING
        if self._config.rate is not None:
            limit += 1 / self._config.rate
        return (
            f"no frame was judged for {now - judged_at:.1f} s" if now - judged_at > limit else None
        )

    def look(self) -> str | None:
        """Tell the outputs when the station begins to fail or to judge again; return the problem.

        It is called by the monitor, and by the loop before a verdict, so that none comes before it.
        """
        with self._changing:
            if self.has_ended and self.broken is None:
                self._take_back()
                return None
            now = time.monotonic()
            problem = self.problem(now)
            has_just_begun = now - self._began_at < self._config.stale_s
            if problem is _STARTING and has_just_begun:
                return problem
            before, self._is_failing = self._is_failing, problem is not None
            if before is self._is_failing:
                return problem
            for delivery in self._deliveries:
                if problem is None:
                    delivery.recover()
                else:
                    delivery.fail(problem)
            if problem is not None:
                notices.warn(f"{self._config.name}: {problem}")
            elif before:
                notices.say(f"{self._config.name}: judging again")
            return problem

    def _take_back(self) -> None:
        """Let no last verdict stand at a control; those of parts on their way are right still."""
        self._is_failing = True
        for control in self._controls:
            if control not in self._told and not control.status().waiting:
                self._told.add(control)
                control.fail("the station has ended")
