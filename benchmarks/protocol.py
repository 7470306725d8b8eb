"""How latency is measured: one camera, one frame after the other, whole frames."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgead.benchmarks.statistics import SAMPLES_FOR, LatencySummary, summarise
from edgead.detection import Timings
from edgead.detector import EdgeDetector
from edgead.errors import UsageError
from edgead.images import Image
from edgead.runtimes import RuntimeInfo

MOST_DRIFT = 0.10
_WARM_UP_SECONDS = 1.0
_WARM_UP_FRAMES = 10


@dataclass(frozen=True)
class Protocol:
    """A measurement lasts for at least ``seconds`` and at least ``samples`` frames."""

    seconds: float = 10.0
    samples: int = SAMPLES_FOR[90]
    runtime: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise UsageError(f"the duration must be above 0 seconds, not {self.seconds:g}")


@dataclass(frozen=True)
class Measurement:
    """What was measured, every latency in milliseconds and in order.

    Attributes:
        load_ms: From the path to a detector that is ready, runtime import included.
        first_inference_ms: The first frame, before any warm-up.
        total_ms: Whole frames, from pixels to score.
        preprocess_ms: Their resize.
        inference_ms: Their network.
        postprocess_ms: What is left.
    """

    load_ms: float
    first_inference_ms: float
    warm_up_frames: int
    total_ms: tuple[float, ...]
    preprocess_ms: tuple[float, ...]
    inference_ms: tuple[float, ...]
    postprocess_ms: tuple[float, ...]
    runtime: RuntimeInfo
    frame_size: tuple[int, int]

    @property
    def summary(self) -> LatencySummary:
        """Statistics of whole frames."""
        return summarise(self.total_ms)

    @property
    def invalid_because(self) -> list[str]:
        """Reasons not to trust the figures, each with what to do; empty for a valid run."""
        summary = self.summary
        reasons = []
        if summary.samples < SAMPLES_FOR[90]:
            reasons.append(
                f"{summary.samples} frames are too few for a p90 (it takes {SAMPLES_FOR[90]}): "
                "measure for longer with --duration"
            )
        if abs(summary.drift) > MOST_DRIFT:
            reasons.append(
                f"the last third was {summary.drift:+.0%} against the first: the device heats up "
                "or other work disturbs it; close other programs, cool it, and measure again"
            )
        return reasons


def measure(
    artifact: str | os.PathLike[str], frames: Sequence[Image], protocol: Protocol
) -> Measurement:
    """Measure a detector, single-stream.

    Args:
        artifact: The exported file.
        frames: uint8 ``[H, W, 3]`` BGR; taken in turn.
        protocol: How long.

    Raises:
        EdgeadError: The artifact cannot be opened here.
    """
    start = time.perf_counter()
    with EdgeDetector(artifact, protocol.runtime, threads=protocol.threads) as detect:
        load_ms = _since(start)
        start = time.perf_counter()
        detect(frames[0])
        first_ms = _since(start)

        warm_up = 0
        start = time.perf_counter()
        while warm_up < _WARM_UP_FRAMES or time.perf_counter() - start < _WARM_UP_SECONDS:
            detect(frames[warm_up % len(frames)])
            warm_up += 1

        total: list[float] = []
        stages: list[Timings] = []
        stop = time.perf_counter() + protocol.seconds
        while len(total) < protocol.samples or time.perf_counter() < stop:
            frame = frames[len(total) % len(frames)]
            start = time.perf_counter()
            detection = detect(frame)
            total.append(_since(start))
            stages.append(detection.timings)
        return Measurement(
            load_ms=load_ms,
            first_inference_ms=first_ms,
            warm_up_frames=warm_up,
            total_ms=tuple(total),
            preprocess_ms=tuple(timing.preprocess_ms for timing in stages),
            inference_ms=tuple(timing.inference_ms for timing in stages),
            postprocess_ms=tuple(
                whole - timing.preprocess_ms - timing.inference_ms
                for whole, timing in zip(total, stages, strict=True)
            ),
            runtime=detect.runtime,
            frame_size=(frames[0].shape[0], frames[0].shape[1]),
        )


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
