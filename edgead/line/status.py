"""What a line counts, and what is wrong with it: for the page, MQTT, Prometheus and the log."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class PartStatus:
    """One source, trigger or output.

    Attributes:
        name: Unique within its station, such as ``source`` or ``output 2 (mqtt)``.
        kind: ``opencv``, ``mqtt`` and so on.
        fault: What is wrong with it, a sentence; ``None`` if nothing is.
        done: Frames read, triggers fired or verdicts delivered.
        lost: Frames that no one judged, triggers missed or verdicts dropped.
        errors: Failures since the start.
        waiting: Verdicts in its queue.
        settings: What a camera reports of itself.
    """

    name: str
    kind: str
    fault: str | None = None
    done: int = 0
    lost: int = 0
    errors: int = 0
    waiting: int = 0
    settings: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class StationStatus:
    """One station at one moment.

    Attributes:
        name: Of the station.
        artifact: Name of the artifact's file.
        artifact_sha256: Its seal.
        runtime: Such as ``onnxruntime 1.20.1, 2 threads``.
        threshold: In use now.
        recipes: Names of artifacts that can be switched to.
        verdicts: Verdicts by state: ``good``, ``anomaly``, ``failure``.
        late: Triggers that waited longer than they may.
        missed: Triggers for which there was no room.
        fault: Why nothing can be judged at present, a sentence; ``None`` if it can.
        judged_ago_s: Seconds since the last verdict; ``None`` before the first.
        latency_ms: Percentiles (``"50"``, ``"90"``, ``"99"``) of the last thousand verdicts, by
            stage (``wait``, ``preprocess``, ``inference``, ``postprocess``, ``total``).
        parts: Source, trigger and outputs.
    """

    name: str
    artifact: str
    artifact_sha256: str
    runtime: str
    threshold: float
    recipes: tuple[str, ...]
    verdicts: dict[str, int]
    late: int
    missed: int
    fault: str | None
    judged_ago_s: float | None
    latency_ms: dict[str, dict[str, float]]
    parts: tuple[PartStatus, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """All that is wrong, a sentence each."""
        own = () if self.fault is None else (self.fault,)
        return own + tuple(part.fault for part in self.parts if part.fault is not None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as the page and the MQTT state have them."""
        return asdict(self)
