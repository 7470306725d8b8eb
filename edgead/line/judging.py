"""From a detection, or the lack of one, to a verdict."""

from __future__ import annotations

import math
import time

from edgead.errors import EdgeadError
from edgead.line.in_use import InUse, Scored
from edgead.line.sources.base import Grabbed
from edgead.line.verdict import Stages, State, Verdict


def decided(station: str, number: int, frame: Grabbed, taken: float, scored: Scored) -> Verdict:
    """Return the verdict of a frame that was scored.

    Args:
        station: Name of the station.
        number: Of the verdict.
        frame: The frame.
        taken: ``time.monotonic()`` at which the detector was given it.
        scored: What the detector found.

    Raises:
        EdgeadError: The score is not finite.
    """
    detection, timings = scored.detection, scored.detection.timings
    if not math.isfinite(detection.score):
        raise EdgeadError(f"the score is {detection.score}")
    state: State = "anomaly" if detection.is_anomalous else "good"
    regions = detection.regions  # made now: it takes time, which is part of the latency
    moved = (timings.host_to_device_ms or 0.0) + (timings.device_to_host_ms or 0.0)
    inference = timings.inference_ms + moved
    rest = (time.monotonic() - taken) * 1e3 - timings.preprocess_ms - inference
    return Verdict(
        station=station,
        number=number,
        state=state,
        at=time.time(),
        reason=detection.doubt,
        score=detection.score,
        threshold=detection.threshold,
        regions=regions,
        artifact=scored.artifact,
        artifact_sha256=scored.seal,
        frame=frame.name,
        stages=Stages(
            wait_ms=(taken - frame.at) * 1e3,
            preprocess_ms=timings.preprocess_ms,
            inference_ms=inference,
            postprocess_ms=max(0.0, rest),
        ),
    )


def failed(station: str, number: int, reason: str, in_use: InUse, frame: Grabbed | None) -> Verdict:
    """Return the verdict of a part that could not be judged."""
    return Verdict(
        station=station,
        number=number,
        state="failure",
        at=time.time(),
        reason=reason,
        threshold=in_use.threshold,
        artifact=in_use.artifact,
        artifact_sha256=in_use.seal,
        frame="" if frame is None else frame.name,
    )
