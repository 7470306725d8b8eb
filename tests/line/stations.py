"""A station for tests of the page and of commands: what it is told, and what it shows."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2

from edgead import EdgeDetector
from edgead.artifact import Artifact
from edgead.errors import UsageError
from edgead.line.control import Remembered
from edgead.line.status import PartStatus, StationStatus
from edgead.line.verdict import Judged, State
from tests.conftest import part
from tests.line.judged import anomaly

_STATUS = StationStatus(
    name="left",
    artifact="part.onnx",
    artifact_sha256="ab" * 32,
    runtime="onnxruntime 1.20.1, 2 threads",
    threshold=0.5,
    recipes=("part.onnx", "other.onnx"),
    verdicts={"good": 5, "anomaly": 2, "failure": 1},
    late=3,
    missed=4,
    fault=None,
    judged_ago_s=0.2,
    latency_ms={
        stage: {"50": 1.5, "90": 2.5, "99": 3.5}
        for stage in ("wait", "preprocess", "inference", "postprocess", "total")
    },
    parts=(
        PartStatus("source", "camera", done=8, lost=6, settings={"exposure": 120.0}),
        PartStatus("trigger", "http", done=8),
        PartStatus("output 1 (mqtt)", "mqtt", done=7, lost=1, waiting=2),
    ),
)


@dataclass
class Stand:
    """Keeps what it is told, as a station does."""

    name: str = "left"
    shown: StationStatus = _STATUS
    last: Judged | None = None
    remembered: list[Remembered] = field(default_factory=list)
    rejected: list[Judged] = field(default_factory=list)
    fired: int = 0
    has_room: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def status(self) -> StationStatus:
        return replace(self.shown, name=self.name)

    def newest(self) -> Judged | None:
        return self.last

    def history(self) -> Sequence[Remembered]:
        return self.remembered

    def defects(self) -> Sequence[Judged]:
        return self.rejected

    def set_threshold(self, value: float) -> None:
        if not math.isfinite(value):
            raise UsageError("the threshold must be a finite number")
        self.shown = replace(self.shown, threshold=value)

    def switch(self, recipe: str) -> None:
        if recipe not in self.shown.recipes:
            raise UsageError(f"there is no recipe {recipe!r}")
        self.shown = replace(self.shown, artifact=recipe)

    def fire(self) -> bool:
        with self.lock:
            self.fired += self.has_room
        return self.has_room


def remembered(number: int, score: float | None, threshold: float = 0.5) -> Remembered:
    """One verdict of the history by a threshold."""
    if score is None:
        return Remembered(number, 1000.0 + number, "failure", None)
    state: State = "anomaly" if score > threshold else "good"
    return Remembered(number, 1000.0 + number, state, score, threshold)


def rejected(artifact: Artifact, number: int = 7, frame: str = "7.png") -> Judged:
    """A verdict about a rendered part with a red blot, of a real detector."""
    photo = part(number, size=(240, 320))
    cv2.circle(photo, (90 + 10 * (number % 9), 120), 25, (20, 20, 240), -1)
    with EdgeDetector(artifact.path, threshold=0.3) as detector:
        detection = detector(photo)
    assert detection.regions
    regions = detection.regions
    return anomaly(number, picture=photo, detection=detection, regions=regions, frame=frame)
