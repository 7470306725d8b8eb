"""What a measurement is asked to do."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def _asked(default: Any, *, option: str | None = None, key: str | None = None) -> Any:
    """Declare a field with its option of ``edgead bench`` and its key in a result's ``config``.

    Both are the field's name where they are not given.
    """
    return dataclasses.field(default=default, metadata={"option": option, "key": key})


@dataclass(frozen=True)
class Protocol:
    """A measurement lasts for at least ``seconds`` and at least ``samples`` latencies.

    Every field but ``warm_up`` is an option of ``edgead bench``.

    Attributes:
        seconds: Least duration.
        samples: Least number of latencies; the default supports a p90.
        runtime: ``"auto"`` or a runtime's name.
        threads: Threads of one inference; ``None`` for the runtime's default.
        precision: Arithmetic of the layers that are not INT8; ``None`` for the runtime's default.
        hint: ``"latency"`` or ``"throughput"``.
        batch: Frames of one call; above 1 the scenario is offline.
        streams: Cameras that share the detector, each with a thread; above 1 it is multi-stream.
        camera_fps: Frames a second of each camera; ``None`` for frames without a pause.
        cooldown: Seconds of rest before anything else.
        warm_up: Seconds of frames that do not count.
    """

    seconds: float = _asked(10.0, option="duration", key="duration_s")
    samples: int = _asked(SAMPLES_FOR[90.0])
    runtime: str = _asked("auto")
    threads: int | None = _asked(None)
    precision: str | None = _asked(None)
    hint: str = _asked("latency")
    batch: int = _asked(1)
    streams: int = _asked(1)
    camera_fps: float | None = _asked(None)
    cooldown: float = _asked(0.0, key="cooldown_s")
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
                "--batch is for frames that are all available at the start (offline): leave out "
                "--batch, or leave out --streams and --camera-fps"
            )
        if self.camera_fps is not None and not _LEAST_FPS <= self.camera_fps <= _MOST_FPS:
            raise UsageError(
                f"the frame rate of a camera must be above 0, from {_LEAST_FPS:g} to {_MOST_FPS:g} "
                f"frames per second, not {self.camera_fps:g}"
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

    @classmethod
    def of_options(cls, values: Mapping[str, Any]) -> Protocol:
        """Make a protocol of a command's options; ``None`` and a missing one mean the default."""
        return cls(
            **{
                name: values[option]
                for name, option in OPTIONS.items()
                if values.get(option) is not None
            }
        )

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Protocol:
        """Make the protocol of a stored result again, from its ``config``.

        The warm-up is not taken from there; files of earlier versions lack keys.
        """
        return cls(
            **{name: config[key] for name, key in _KEYS.items() if config.get(key) is not None}
        )

    def to_config(self) -> dict[str, Any]:
        """Return the keys of a result's ``config`` that say what was asked."""
        asked = {key: getattr(self, name) for name, key in _KEYS.items()}
        return {"scenario": self.scenario.value, **asked, "warm_up_s": self.warm_up}


def _names(of: str) -> dict[str, str]:
    fields = [field for field in dataclasses.fields(Protocol) if field.metadata]
    return {field.name: field.metadata[of] or field.name for field in fields}


OPTIONS = _names("option")
"""The option of ``edgead bench`` for each field, as argparse names it."""

_KEYS = _names("key")
