"""One measurement: cool down, load, warm up, run the scenario, read the sensors meanwhile."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgead.benchmarks import scenarios
from edgead.benchmarks.load import CpuTimes, Load
from edgead.benchmarks.protocol import Protocol, Scenario
from edgead.benchmarks.scenarios import Samples
from edgead.benchmarks.sensors import Kind, SensorError, SensorSet, find_sensors
from edgead.benchmarks.sensors.sampler import Sampler, Timeline
from edgead.benchmarks.statistics import LatencySummary, summarise
from edgead.benchmarks.system import System
from edgead.detector import EdgeDetector
from edgead.images import Image
from edgead.progress import duration
from edgead.runtimes import RuntimeInfo

_WARM_UP_FRAMES = 10
_IDLE_SECONDS = 2.0
_IDLE_READINGS = 4


@dataclass(frozen=True)
class Measurement:
    """The values of one measurement.

    Attributes:
        protocol: The requested settings.
        runtime: The runtime that was used.
        load_ms: From the path to a detector that is ready: the import of the runtime and the one
            inference with which it checks the network's outputs included.
        first_inference_ms: The first call, before any warm-up. With ``load_ms`` it is the time to
            the first score.
        warm_up_frames: Calls that do not count.
        samples: Raw latencies.
        frame_sizes: The different ``(height, width)`` of the frames in pixels, the first one's
            first.
        timeline: The readings of the sensors.
        idle_watts: Power before the detector was loaded, by sensor name.
        cpu: Load of the machine; ``None`` where the kernel does not report it.
    """

    protocol: Protocol
    runtime: RuntimeInfo
    load_ms: float
    first_inference_ms: float
    warm_up_frames: int
    samples: Samples
    frame_sizes: tuple[tuple[int, int], ...]
    timeline: Timeline
    idle_watts: dict[str, float]
    cpu: Load | None

    @property
    def summary(self) -> LatencySummary:
        """Statistics of whole calls."""
        return summarise(self.samples.total_ms)

    @property
    def frames(self) -> int:
        """Frames that were scored."""
        return len(self.samples.total_ms) * self.samples.frames_each

    @property
    def fps(self) -> float:
        """Frames a second: from the mean call where one waits for the other, else counted."""
        if self.protocol.camera_fps:
            # The last frame's period ends after its call: n frames take n periods, not n - 1.
            rate = self.protocol.camera_fps * self.protocol.streams
            return self.frames / max(self.samples.wall_s, self.frames / rate)
        if self.protocol.streams > 1:
            return self.frames / self.samples.wall_s
        return self.summary.fps * self.samples.frames_each

    @property
    def on_gpu(self) -> bool:
        """Whether the network ran on a GPU."""
        return self.runtime.device_kind == "gpu"

    @property
    def own_cost(self) -> float:
        """What measuring cost, as a share of what was measured.

        The CPU time of reading sensors and, where calls follow each other without a pause,
        everything between two calls.
        """
        spent = self.timeline.cpu_seconds
        called = sum(self.samples.total_ms) / 1e3
        if self.protocol.scenario is Scenario.MULTI_STREAM or self.protocol.camera_fps:
            return spent / self.samples.wall_s
        return (spent + max(0.0, self.samples.wall_s - called)) / called


@dataclass(frozen=True)
class Subject:
    """A detector that is open and warm, and how it got there."""

    detect: EdgeDetector
    load_ms: float
    first_inference_ms: float
    warm_up_frames: int
    warm_ms: float

    def seconds_for(self, protocol: Protocol) -> float:
        """Estimate how long a protocol will take, from the warm-up."""
        frame = self.warm_ms / 1e3
        if protocol.camera_fps:
            frame = max(frame, 1 / (protocol.camera_fps * protocol.streams))
        return max(protocol.seconds, protocol.samples * frame)


def open_subject(
    artifact: str | os.PathLike[str], frames: Sequence[Image], protocol: Protocol
) -> Subject:
    """Open a detector, time its first call, and warm it up.

    Raises:
        EdgeadError: The artifact cannot be opened here.
    """
    start = time.perf_counter()
    detect = EdgeDetector(
        artifact,
        protocol.runtime,
        threads=protocol.threads,
        precision=protocol.precision,
        hint=protocol.hint,
    )
    load_ms = _since(start)
    try:
        calls = scenarios.queries(frames, protocol.batch)
        start = time.perf_counter()
        detect(calls[0])  # type: ignore[arg-type]
        first_ms = _since(start)
        done = 0
        start = time.perf_counter()
        while done < _WARM_UP_FRAMES or time.perf_counter() - start < protocol.warm_up:
            detect(calls[done % len(calls)])  # type: ignore[arg-type]
            done += 1
        warm_ms = _since(start) / done
    except BaseException:
        detect.close()
        raise
    return Subject(detect, load_ms, first_ms, done, warm_ms)


def measure(
    artifact: str | os.PathLike[str],
    frames: Sequence[Image],
    protocol: Protocol,
    system: System | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure a detector on this machine.

    Args:
        artifact: The exported file.
        frames: uint8 ``[H, W, 3]`` BGR; taken in turn.
        protocol: The settings.
        system: Where sensors are looked for; ``None`` for this machine.
        announce: Called with a sentence on the expected duration.

    Raises:
        EdgeadError: The artifact cannot be opened here, or a call fails.
    """
    system = system or System()
    time.sleep(protocol.cooldown)
    with find_sensors(system) as sensors:
        idle = idle_watts(sensors, min(_IDLE_SECONDS, protocol.seconds))
        subject = open_subject(artifact, frames, protocol)
        seconds = duration(subject.seconds_for(protocol))
        announce(f"measuring {subject.detect.manifest.name} for about {seconds}")
        with subject.detect as detect:
            sampler = Sampler(sensors)
            before = CpuTimes.now(system)
            with sampler:
                samples = scenarios.run(detect, frames, protocol, sampler.origin)
            return Measurement(
                protocol=dataclasses.replace(protocol, runtime=detect.runtime.name),
                runtime=detect.runtime,
                load_ms=subject.load_ms,
                first_inference_ms=subject.first_inference_ms,
                warm_up_frames=subject.warm_up_frames,
                samples=samples,
                frame_sizes=sizes_of(frames),
                timeline=sampler.timeline(),
                idle_watts=idle,
                cpu=Load.between(before, CpuTimes.now(system)),
            )


def sizes_of(frames: Sequence[Image]) -> tuple[tuple[int, int], ...]:
    """Return the different sizes of frames, in the order in which they come."""
    return tuple(dict.fromkeys((frame.shape[0], frame.shape[1]) for frame in frames))


def idle_watts(sensors: SensorSet, seconds: float) -> dict[str, float]:
    """Return the mean power at rest by sensor; waits only where there is a sensor."""
    meters = [sensor for sensor in sensors.sensors if sensor.kind is Kind.POWER]
    readings: dict[str, list[float]] = {}
    for _ in range(_IDLE_READINGS if meters else 0):
        time.sleep(seconds / _IDLE_READINGS)
        for meter in meters:
            try:
                readings.setdefault(meter.name, []).append(meter.read())
            except SensorError:
                continue
    return {name: sum(values) / len(values) for name, values in readings.items()}


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
