"""What a station decided about one part, and why."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from edgead.detection import Detection, Region
from edgead.images import Image

State = Literal["good", "anomaly", "failure"]

SCHEMA = 1
"""Schema number of :meth:`Verdict.to_json`; docs/reference/line.md has the keys."""


@dataclass(frozen=True)
class Stages:
    """Milliseconds from the arrival of a frame to the hand-over of its verdict to the outputs.

    Attributes:
        wait_ms: From the arrival of the frame in the process until the detector took it.
        preprocess_ms: Crop, resize, windows.
        inference_ms: The network, with copies to and from a GPU.
        postprocess_ms: Map, score, verdict.
    """

    wait_ms: float
    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        """From the arrival of the frame to the verdict."""
        return self.wait_ms + self.preprocess_ms + self.inference_ms + self.postprocess_ms


@dataclass(frozen=True)
class Verdict:
    """The decision about one trigger.

    Attributes:
        station: Name of the station.
        number: Counts the verdicts of the station since it started, from 1.
        state: ``"good"``, ``"anomaly"``, or ``"failure"`` where nothing could be judged.
        at: Unix time in seconds at which it was decided.
        reason: Why it is a failure, or what is wrong with the frame (no contrast); a sentence.
        score: Raw image score; ``None`` for a failure without one.
        threshold: A score above it is an anomaly.
        regions: Areas above the threshold, in pixels of the frame.
        artifact: Name of the artifact's file, without its folder.
        artifact_sha256: Its seal.
        frame: What the source calls the frame: a file name, a frame number.
        stages: ``None`` for a failure before the detector ran.
    """

    station: str
    number: int
    state: State
    at: float
    reason: str | None = None
    score: float | None = None
    threshold: float | None = None
    regions: tuple[Region, ...] = ()
    artifact: str = ""
    artifact_sha256: str = ""
    frame: str = ""
    stages: Stages | None = None

    def __post_init__(self) -> None:
        if self.state == "failure" and not self.reason:
            raise ValueError("a failure has a reason")
        if self.state != "failure" and (self.score is None or self.threshold is None):
            raise ValueError(f"the verdict {self.state!r} needs a score and a threshold")

    @property
    def is_accepted(self) -> bool:
        """Whether the part may pass: it was judged, and it is good. All else is rejected."""
        return self.state == "good"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as MQTT, the webhook and the JSON lines send them."""
        return {
            "schema": SCHEMA,
            "station": self.station,
            "number": self.number,
            "state": self.state,
            "accept": self.is_accepted,
            "at": self.at,
            "reason": self.reason,
            "score": self.score,
            "threshold": self.threshold,
            "regions": [region.to_json() for region in self.regions],
            "artifact": self.artifact,
            "artifact_sha256": self.artifact_sha256,
            "frame": self.frame,
            "latency_ms": None if self.stages is None else round(self.stages.total_ms, 3),
        }


@dataclass(frozen=True)
class Judged:
    """A verdict with what it was made from, as outputs and the page get it.

    Attributes:
        verdict: The decision.
        picture: The frame, uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey, which nobody writes to;
            ``None`` where there was none.
        detection: Map and regions; ``None`` where nothing was scored.
        since: ``time.monotonic()`` of the trigger, or of the frame's arrival without one; outputs
            with a delay count from it.
    """

    verdict: Verdict
    picture: Image | None = None
    detection: Detection | None = None
    since: float = field(default_factory=time.monotonic, compare=False)
