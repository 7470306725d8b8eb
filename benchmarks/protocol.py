"""What a measurement is asked to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edgead.benchmarks.statistics import SAMPLES_FOR
from edgead.errors import UsageError

_MOST_SECONDS = 1e6
"""Twelve days; the system's own timers end not far beyond."""
_MOST_AT_ONCE = 1024
"""Frames of one call, or threads that call."""
_LEAST_FPS, _MOST_FPS = 1e-3, 1e5


class Scenario(str, enum.Enum):
    """How frames arrive (the scenarios of MLPerf inference)."""

    SINGLE_STREAM = "single stream"
    MULTI_STREAM = "multi-stream"
    OFFLINE = "offline"


@dataclass(frozen=True)
class Protocol:
    """A measurement lasts for at least ``seconds`` and at least ``samples`` latencies.

    Attributes:
        seconds: Least duration.
        samples: Least number of latencies; the default supports a p90.
        runtime: ``"auto"`` or a runtime's name.
        threads: Of one inference; ``None`` for the runtime's default.
        precision: Arithmetic of the layers that are not INT8; ``None`` for the runtime's default.
        hint: ``"latency"`` or ``"throughput"``.
        batch: Frames of one call; above 1 the scenario is offline.
        streams: Cameras that share the detector, each with a thread; above 1 it is multi-stream.
        camera_fps: Frames a second of each camera; ``None`` for frames without a pause.
        cooldown: Seconds of rest before anything else.
        warm_up: Seconds of frames that do not count.
    """

    seconds: float = 10.0
    samples: int = SAMPLES_FOR[90.0]
    runtime: str = "auto"
    threads: int | None = None
    precision: str | None = None
    hint: str = "latency"
    batch: int = 1
    streams: int = 1
    camera_fps: float | None = None
    cooldown: float = 0.0
    warm_up: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= _MOST_SECONDS:
            raise UsageError(
                f"the duration must be above 0 seconds and at most {_MOST_SECONDS:g}, not "
                f"{self.seconds:g}"
            )
        if self.samples < 1:
            raise UsageError(f"a measurement needs at least 1 sample, not {self.samples}")
        for name, value in (("batch", self.batch), ("streams", self.streams)):
            if not 1 <= value <= _MOST_AT_ONCE:
                raise UsageError(
                    f"{name} must be at least 1 and at most {_MOST_AT_ONCE}, not {value}"
                )
        if self.batch > 1 and (self.streams > 1 or self.camera_fps):
            raise UsageError(
                "a batch is for frames that are all there already (offline): leave out --batch, "
                "or leave out --streams and --camera-fps"
            )
        if self.camera_fps is not None and not _LEAST_FPS <= self.camera_fps <= _MOST_FPS:
            raise UsageError(
                f"a camera's frame rate must be above 0, from {_LEAST_FPS:g} to {_MOST_FPS:g} "
                f"frames a second, not {self.camera_fps:g}"
            )
        if not 0 <= self.cooldown <= _MOST_SECONDS:
            raise UsageError(
                f"the cool-down must be 0 seconds or more and at most {_MOST_SECONDS:g}, not "
                f"{self.cooldown:g}"
            )

    @property
    def scenario(self) -> Scenario:
        """Which of the scenarios this is."""
        if self.batch > 1:
            return Scenario.OFFLINE
        return Scenario.MULTI_STREAM if self.streams > 1 else Scenario.SINGLE_STREAM
