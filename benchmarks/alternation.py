"""Several detectors in turns, so that ratios hold on a machine that is busy now and then."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgead.artifact import FP32, Artifact, containers, read_artifact
from edgead.benchmarks import scenarios
from edgead.benchmarks.load import CpuTimes, Load
from edgead.benchmarks.measure import Measurement, Subject, idle_watts, open_subject, sizes_of
from edgead.benchmarks.protocol import Protocol, Scenario
from edgead.benchmarks.scenarios import Recorder
from edgead.benchmarks.sensors import Kind, find_sensors
from edgead.benchmarks.sensors.sampler import Sampler
from edgead.benchmarks.statistics import Ratio, paired_ratio
from edgead.benchmarks.system import System
from edgead.errors import ArtifactError, EdgeadError, UsageError
from edgead.images import Image
from edgead.progress import duration
from edgead.runtimes import available
from edgead.runtimes.select import runtime_class

_TURN_SECONDS = 0.5
_LEAST_TURNS = 20
_NO_POWER = (
    "several files are measured interleaved, and a sensor reads the power of all of them: bench a "
    "single file for its power"
)


@dataclass(frozen=True)
class Candidate:
    """One artifact in one runtime with one number of threads."""

    artifact: Artifact
    runtime: str
    threads: int | None

    @property
    def name(self) -> str:
        """File, runtime and threads."""
        threads = f" with {self.threads} threads" if self.threads else ""
        return f"{self.artifact.path.name} in {self.runtime}{threads}"


@dataclass(frozen=True)
class Turns:
    """The result of an interleaved run.

    Attributes:
        candidates: Those that could be opened.
        measurements: One each, in the same order.
        ratios: Ratio of each latency to that of the first.
        left_out: Reason by name, for those that could not be opened here.
    """

    candidates: tuple[Candidate, ...]
    measurements: tuple[Measurement, ...]
    ratios: tuple[Ratio, ...]
    left_out: dict[str, str]


def in_folder(
    folder: Path, runtime: str, threads: int | None
) -> tuple[list[Candidate], dict[str, str]]:
    """Find every artifact of a folder and the runtimes that can open it.

    Args:
        folder: An export folder.
        runtime: ``"auto"`` for every runtime that works here, or one by name.
        threads: Threads of one inference.

    Returns:
        The candidates, FP32 in ONNX Runtime first, and what is left out with the reason.

    Raises:
        UsageError: The folder holds no artifact that can be opened here.
    """
    names = [name for name in available() if runtime in ("auto", name)]
    if not names:
        runtime_class(runtime)  # says which there are
    found, left_out = [], {}
    paths = sorted(path for path in folder.iterdir() if containers.is_known(path))
    for path in paths:
        try:
            artifact = read_artifact(path)
        except ArtifactError as error:
            left_out[path.name] = str(error)
            continue
        for name in names:
            reason = _unfit(artifact, name)
            if reason is None:
                found.append(Candidate(artifact, name, threads))
            else:
                left_out[f"{path.name} in {name}"] = reason
    if not found:
        reasons = "; ".join(f"{what}: {why}" for what, why in left_out.items())
        raise UsageError(
            f"{folder} has no exported file that can be opened here"
            + (f" ({reasons})" if reasons else "; export some with: edgead export RUN --out DIR")
        )
    found.sort(key=_place)
    return found, left_out


def take_turns(
    candidates: Sequence[Candidate],
    frames: Sequence[Image],
    protocol: Protocol,
    system: System | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> Turns:
    """Measure candidates in turns of half a second, in a different order each round.

    The duration and the samples of the protocol hold for each candidate. The first call after a
    change of turn does not count: it finds the caches full of another network.

    Args:
        candidates: What to measure; the first is what ratios are taken to.
        frames: uint8 ``[H, W, 3]`` BGR.
        protocol: How long; its runtime and threads are the candidates' own.
        system: Where sensors are looked for.
        announce: Called with a sentence on the expected duration.

    Raises:
        UsageError: The protocol wants several streams or a camera's pace.
        EdgeadError: Fewer than one candidate can be opened.
    """
    if protocol.scenario is Scenario.MULTI_STREAM or protocol.camera_fps:
        raise UsageError(
            "several files can be measured interleaved only with frames without a pause: leave out "
            "--streams and --camera-fps, or bench a single file"
        )
    system = system or System()
    time.sleep(protocol.cooldown)
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        sensors = stack.enter_context(find_sensors(system))
        idle = idle_watts(sensors, min(2.0, protocol.seconds))
        opened: list[tuple[Candidate, Subject]] = []
        for one in candidates:
            asked = dataclasses.replace(protocol, runtime=one.runtime, threads=one.threads)
            try:
                subject = open_subject(one.artifact.path, frames, asked)
            except EdgeadError as error:
                left_out[one.name] = str(error)
                continue
            stack.enter_context(subject.detect)
            opened.append((one, subject))
        if not opened:
            reasons = "; ".join(f"{what}: {why}" for what, why in left_out.items())
            raise EdgeadError(f"none of the files can be opened here: {reasons}")
        seconds = sum(subject.seconds_for(protocol) for _, subject in opened)
        announce(f"measuring {len(opened)} detectors, interleaved, for about {duration(seconds)}")
        sampler = Sampler(sensors)
        recorders = [Recorder() for _ in opened]
        medians: list[list[float]] = [[] for _ in opened]
        walls = [0.0] * len(opened)
        before = CpuTimes.now(system)
        with sampler:
            turn = min(_TURN_SECONDS, protocol.seconds / _LEAST_TURNS)
            for index in _rounds(recorders, walls, protocol):
                order = [(index + offset) % len(opened) for offset in range(len(opened))]
                for which in order if index % 2 else reversed(order):
                    spent, median = _turn(
                        recorders[which], opened[which][1], frames, protocol, turn
                    )
                    walls[which] += spent
                    medians[which].append(median)
        load = Load.between(before, CpuTimes.now(system))
        timeline = sampler.timeline()
        # Reading the sensors is shared by all.
        timeline = dataclasses.replace(timeline, cpu_seconds=timeline.cpu_seconds / len(opened))
        if len(opened) > 1:  # turns are shorter than what sensors average over
            timeline = timeline.without(Kind.POWER, _NO_POWER)
        measurements = [
            Measurement(
                protocol=dataclasses.replace(protocol, runtime=one.runtime, threads=one.threads),
                runtime=subject.detect.runtime,
                load_ms=subject.load_ms,
                first_inference_ms=subject.first_inference_ms,
                warm_up_frames=subject.warm_up_frames,
                samples=dataclasses.replace(
                    scenarios.gather([recorder], sampler.origin, protocol), wall_s=wall
                ),
                frame_sizes=sizes_of(frames),
                timeline=timeline,
                idle_watts=idle,
                cpu=load,
            )
            for (one, subject), recorder, wall in zip(opened, recorders, walls, strict=True)
        ]
        return Turns(
            tuple(one for one, _ in opened),
            tuple(measurements),
            tuple(paired_ratio(values, medians[0]) for values in medians),
            left_out,
        )


def _rounds(
    recorders: Sequence[Recorder], walls: Sequence[float], protocol: Protocol
) -> Iterator[int]:
    """Count rounds until every candidate has had its time and its samples."""
    index = 0
    while min(walls) < protocol.seconds or min(map(len, recorders)) < protocol.samples:
        yield index
        index += 1


def _turn(
    recorder: Recorder,
    subject: Subject,
    frames: Sequence[Image],
    protocol: Protocol,
    seconds: float,
) -> tuple[float, float]:
    """Let one candidate score frames; return the seconds it took and its median milliseconds."""
    calls = scenarios.queries(frames, protocol.batch)
    subject.detect(calls[len(recorder) % len(calls)])  # type: ignore[arg-type]
    first = len(recorder)
    start = time.perf_counter()
    end = start
    while end - start < seconds:
        end = recorder.call(subject.detect, calls[len(recorder) % len(calls)])
    took = [recorder.ended[i] - recorder.started[i] for i in range(first, len(recorder))]
    return end - start, float(np.median(took)) * 1e3


def _place(one: Candidate) -> tuple[bool, str, bool]:
    """Order candidates: FP32 in ONNX Runtime, which every install has, is what ratios are to."""
    artifact = one.artifact
    is_less = artifact.manifest.kind.arithmetic != FP32.arithmetic
    return is_less, artifact.path.stem, one.runtime != "onnxruntime"


def _unfit(artifact: Artifact, runtime: str) -> str | None:
    chosen = runtime_class(runtime)
    reason = chosen.unavailable() or chosen.refuses(artifact)
    if reason:
        return reason
    if artifact.manifest.kind.only_builds_engines:
        return "this file is only input for TensorRT; other runtimes run it slower than FP32"
    return None
