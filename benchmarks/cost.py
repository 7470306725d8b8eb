"""What benchmarking itself costs: the same frames with and without it, in turns.

    python -m edgead.benchmarks.cost ARTIFACT [--rounds N] [--root DIR]

A bare block calls the detector and reads the clock at its two ends; a benchmarked block is the
benchmark's own loop with its sensors. ``--root`` reads the sensors of a recorded machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgead.benchmarks import frames as sources
from edgead.benchmarks import scenarios
from edgead.benchmarks.measure import open_subject
from edgead.benchmarks.protocol import Protocol
from edgead.benchmarks.sensors import SensorSet, find_sensors
from edgead.benchmarks.sensors.sampler import Sampler
from edgead.benchmarks.statistics import Ratio, paired_ratio
from edgead.benchmarks.system import System
from edgead.detector import EdgeDetector
from edgead.images import Image

_BLOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Cost:
    """What benchmarking added.

    Attributes:
        reported: Mean latency that the benchmark reports over the bare mean.
        cpu: CPU time of this process a frame, over the bare one's; other programs hardly move it.
        between_ms: Median of what a frame costs between two timed calls.
        sensor_seconds: CPU time of reading the sensors, a second of benchmark.
        latency_ms: Bare mean.
        rounds: Number of sensor rounds read.
    """

    reported: Ratio
    cpu: Ratio
    between_ms: float
    sensor_seconds: float
    latency_ms: float
    rounds: int


def measure_cost(
    detect: EdgeDetector, frames: Sequence[Image], sensors: SensorSet, rounds: int
) -> Cost:
    """Take turns between bare and benchmarked blocks of two seconds."""
    bare, reported, between = [], [], []
    bare_cpu, reported_cpu = [], []
    cpu_seconds, readings, seconds = 0.0, 0, 0.0
    for index in range(rounds):
        for benchmarked in (index % 2 == 0, index % 2 == 1):
            if not benchmarked:
                wall, used = _bare(detect, frames)
                bare.append(wall)
                bare_cpu.append(used)
                continue
            with Sampler(sensors) as sampler:
                used = time.process_time()
                samples = scenarios.run(
                    detect, frames, Protocol(_BLOCK_SECONDS, samples=1), sampler.origin
                )
                used = time.process_time() - used
            reported_cpu.append(used / len(samples.total_ms))
            timeline = sampler.timeline()
            cpu_seconds += timeline.cpu_seconds
            seconds += samples.wall_s
            readings += max(0, len(timeline.times) - 2)
            reported.append(float(np.mean(samples.total_ms)))
            called = sum(samples.total_ms)
            between.append((samples.wall_s * 1e3 - called) / len(samples.total_ms))
    return Cost(
        reported=paired_ratio(reported, bare),
        cpu=paired_ratio(reported_cpu, bare_cpu),
        between_ms=float(np.median(between)),
        sensor_seconds=cpu_seconds / seconds,
        latency_ms=float(np.mean(bare)),
        rounds=readings,
    )


def _bare(detect: EdgeDetector, frames: Sequence[Image]) -> tuple[float, float]:
    """Return milliseconds and CPU seconds a frame."""
    count = 0
    used, start = time.process_time(), time.perf_counter()
    # The clock is read once in sixteen frames only.
    while count == 0 or time.perf_counter() - start < _BLOCK_SECONDS:
        for _ in range(16):
            detect(frames[count % len(frames)])
            count += 1
    wall = time.perf_counter() - start
    return wall / count * 1e3, (time.process_time() - used) / count


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m edgead.benchmarks.cost")
    parser.add_argument("artifact")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--root", type=Path, default=Path("/"))
    args = parser.parse_args()
    frames = sources.generated((1080, 1920))
    subject = open_subject(args.artifact, frames, Protocol())
    with subject.detect as detect, find_sensors(System(args.root)) as sensors:
        cost = measure_cost(detect, frames, sensors, args.rounds)
    print(f"frame, bare               {cost.latency_ms:.3f} ms (mean)")
    print(f"reported / bare           {cost.reported}")
    print(f"CPU time a frame / bare   {cost.cpu}")
    print(
        f"between two timed calls   {cost.between_ms:.4f} ms, "
        f"{cost.between_ms / cost.latency_ms:.3%} of a frame"
    )
    print(
        f"sensors ({len(sensors.sensors)} and {len(sensors.watches)} watches) read "
        f"{cost.rounds} times: {cost.sensor_seconds:.3%} of one core"
    )


if __name__ == "__main__":
    _main()
