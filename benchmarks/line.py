"""Measures a line as it will run: ``edgead bench --line``.

The line runs with its own sources, triggers and outputs, and one more output that takes the time.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import edgead
from edgead.benchmarks.device import Device
from edgead.benchmarks.load import CpuTimes, Load
from edgead.benchmarks.measure import Measurement
from edgead.benchmarks.protocol import Protocol
from edgead.benchmarks.report import cells, entry
from edgead.benchmarks.scenarios import Samples
from edgead.benchmarks.sensors import find_sensors
from edgead.benchmarks.sensors.sampler import Sampler, Timeline
from edgead.benchmarks.statistics import summarise
from edgead.benchmarks.system import System
from edgead.benchmarks.verdict import Verdict, judge
from edgead.errors import EdgeadError
from edgead.line.config import LineConfig
from edgead.line.line import Line, running
from edgead.line.outputs.base import Output
from edgead.line.station import Station
from edgead.line.status import StationStatus
from edgead.line.verdict import Judged

SCHEMA = 1
STAGES = ("wait", "preprocess", "inference", "postprocess", "output", "total")
_WARM_UP = 20
_SILENCE_S = 10.0
_LOOK_S = 0.05


@dataclass(frozen=True)
class _NoOptions:
    pass


class Stopwatch(Output):
    """Takes the time of each verdict that comes out of a station."""

    Options = _NoOptions
    queue: ClassVar[int] = 100_000
    uses_pictures: ClassVar[bool] = True

    def __init__(self, station: str) -> None:
        super().__init__(_NoOptions(), station)
        self.stages: Mapping[str, array[float]] = {name: array("d") for name in STAGES}
        self.started = array("d")
        self.size = (0, 0)
        self.is_counting = False
        self.count = 0

    def open(self) -> None:
        """Nothing to open."""

    def deliver(self, judged: Judged) -> None:
        """Note how long each stage took; a failure has none."""
        now, at = time.monotonic(), time.time()
        stages = judged.verdict.stages
        self.count += 1
        if stages is None or not self.is_counting or judged.picture is None:
            return
        total = (now - judged.since) * 1e3
        out = max(0.0, (at - judged.verdict.at) * 1e3)
        known = stages.preprocess_ms, stages.inference_ms, stages.postprocess_ms
        # Of a trigger: until its frame came, and until the detector took it.
        wait = max(0.0, total - sum(known) - out)
        for name, value in zip(STAGES, (wait, *known, out, total), strict=True):
            self.stages[name].append(value)
        self.started.append(judged.since)
        self.size = judged.picture.shape[0], judged.picture.shape[1]

    def fail(self, reason: str) -> None:
        """Nothing to tell."""

    def recover(self) -> None:
        """Nothing to tell."""

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class StationMeasurement:
    """One station of a measured line.

    Attributes:
        status: At the end.
        stages: Milliseconds of each stage, verdict by verdict.
        verdict: Whether to believe them.
    """

    status: StationStatus
    stages: Mapping[str, array[float]]
    verdict: Verdict

    @property
    def beyond_inference_ms(self) -> float:
        """What the line adds: p99 from the frame to the output, less p99 of the inference."""
        total, inference = (_p99(self.stages[name]) for name in ("total", "inference"))
        return total - inference

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **self.status.to_json(),
            "samples": len(self.stages["total"]),
            "latency_ms": {
                name: {
                    key: value
                    for key, value in vars(summarise(values)).items()
                    if key in ("mean", "p50", "p90", "p95", "p99", "maximum")
                }
                for name, values in self.stages.items()
            },
            "verdict": str(self.verdict),
            "invalid_because": [str(reason) for reason in self.verdict.reasons],
            "notes": list(self.verdict.notes),
        }


@dataclass(frozen=True)
class LineMeasurement:
    """A measured line, on a device."""

    device: Device
    stations: tuple[StationMeasurement, ...]

    @property
    def is_valid(self) -> bool:
        """Whether nothing speaks against any station's figures."""
        return all(station.verdict.is_valid for station in self.stations)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        return {
            "schema": SCHEMA,
            "kind": "edgead bench, line",
            "edgead_version": edgead.__version__,
            "device": {**self.device.to_json(), "line": self.device.line},
            "stations": [station.to_json() for station in self.stations],
        }

    def table(self) -> str:
        """Return it as text for a terminal."""
        lines = [*entry("device", self.device.line)]
        for station in self.stations:
            lines += ["", *_of_station(station)]
        return "\n".join(lines)


def measure_line(
    config: LineConfig,
    seconds: float,
    samples: int,
    announce: Callable[[str], None] = lambda _: None,
    system: System | None = None,
) -> LineMeasurement:
    """Run a line and measure each of its stations.

    Args:
        config: The line; its state file is neither read nor written.
        seconds: Shortest duration.
        samples: Fewest verdicts of each station.
        announce: Called with a sentence on what is done.
        system: Where sensors are looked for; ``None`` for this machine.

    Raises:
        EdgeadError: The line cannot be started, or a station gives no verdict with a score.
    """
    system = system or System()
    watches = {station.name: Stopwatch(station.name) for station in config.stations}
    line = Line(config, outputs={name: [watch] for name, watch in watches.items()})
    with find_sensors(system) as sensors, running(line):
        announce("waiting for the first frames")
        _wait(line, watches, lambda watch: watch.count >= _WARM_UP)
        announce(f"measuring for {seconds:g} s or longer")
        sampler, before, start = Sampler(sensors), CpuTimes.now(system), time.monotonic()
        with sampler:
            for watch in watches.values():
                watch.is_counting = True
            _wait(
                line,
                watches,
                lambda watch: time.monotonic() - start >= seconds and len(watch.started) >= samples,
            )
        wall, load = time.monotonic() - start, Load.between(before, CpuTimes.now(system))
        device = Device.of(system)
        found = [
            _measured(station, watches[station.name], sampler.timeline(), wall, load, device)
            for station in line.stations
        ]
    return LineMeasurement(device, tuple(found))


def _wait(
    line: Line, watches: Mapping[str, Stopwatch], is_enough: Callable[[Stopwatch], bool]
) -> None:
    """Wait until all stations have enough, have ended, or have said nothing for long."""
    for station in line.stations:
        watch, count, heard = watches[station.name], -1, time.monotonic()
        while not is_enough(watch) and not station.wait(_LOOK_S):
            if watch.count != count:
                count, heard = watch.count, time.monotonic()
            elif time.monotonic() - heard > _SILENCE_S:
                break


def _measured(
    station: Station,
    watch: Stopwatch,
    timeline: Timeline,
    wall_s: float,
    load: Load | None,
    device: Device,
) -> StationMeasurement:
    status = station.status()
    stages = {name: array("d", values) for name, values in watch.stages.items()}
    count = len(stages["total"])
    if not count:
        why = "; ".join(status.faults) or "no frame, or no trigger, came after the first frames"
        raise EdgeadError(f"station '{station.name}' gave nothing to measure: {why}")
    rest = [sum(values) for values in zip(stages["wait"], stages["output"], strict=True)]
    after = [sum(values) for values in zip(stages["postprocess"], rest, strict=True)]
    measurement = Measurement(
        # Frames come at the line's pace, and the machine rests between them.
        protocol=Protocol(runtime=station.runtime.name, camera_fps=max(count / wall_s, 1e-3)),
        runtime=station.runtime,
        load_ms=0.0,
        first_inference_ms=0.0,
        warm_up_frames=_WARM_UP,
        samples=Samples(
            started_s=tuple(at - watch.started[0] for at in watch.started),
            total_ms=tuple(stages["total"]),
            preprocess_ms=tuple(stages["preprocess"]),
            host_to_device_ms=None,
            inference_ms=tuple(stages["inference"]),
            device_to_host_ms=None,
            postprocess_ms=tuple(after),
            frames_each=1,
            wall_s=wall_s,
        ),
        frame_sizes=(watch.size,),
        timeline=timeline,
        idle_watts={},
        cpu=load,
    )
    return StationMeasurement(status, stages, judge(measurement, device))


def _of_station(station: StationMeasurement) -> list[str]:
    status = station.status
    counts = ", ".join(f"{count} {state}" for state, count in status.verdicts.items())
    columns = ("mean", "p50", "p90", "p95", "p99", "max")
    source = status.parts[0]
    lines = [
        *entry("station", f"{status.name} · {status.artifact} · {status.runtime}"),
        *entry("verdicts", f"{counts}; triggers {status.late} late, {status.missed} missed"),
        *entry("source", f"{source.kind} · {source.done} frames, {source.lost} not judged"),
        f"{'ms':16}" + "".join(f"{column:>10}" for column in columns),
    ]
    for name, values in station.stages.items():
        lines.append(f"{name:16}" + "".join(f"{cell:>10}" for cell in cells(values)))
    lines += entry(
        "line adds",
        f"{station.beyond_inference_ms:.2f} ms: p99 to the output, less p99 of the inference",
    )
    for part in status.parts[1:]:
        if part.name.startswith("output"):
            lines += entry("", f"{part.name}: {part.done} delivered, {part.lost} dropped")
    lines += entry("faults", "; ".join(status.faults) or None)
    lines += entry("verdict", str(station.verdict))
    for reason in station.verdict.reasons:
        lines += entry("", f"- {reason}")
    for note in station.verdict.notes:
        lines += entry("note", note)
    return lines


def _p99(values: array[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
