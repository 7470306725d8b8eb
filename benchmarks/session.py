"""The work of ``edgead bench``, from a request to results: one file, a folder, or a repetition."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgead import notices
from edgead.artifact import Artifact, read_artifact
from edgead.benchmarks import alternation, memory, tune
from edgead.benchmarks.alternation import Turns
from edgead.benchmarks.compare import Comparison
from edgead.benchmarks.device import Device
from edgead.benchmarks.governor import governor
from edgead.benchmarks.measure import Measurement, measure
from edgead.benchmarks.memory import Peak
from edgead.benchmarks.request import Request
from edgead.benchmarks.result import Result, to_result
from edgead.benchmarks.stored import read_results, require_repeatable
from edgead.errors import EdgeadError, UsageError
from edgead.settings import Settings

Announce = Callable[[str], None]
"""Called with a sentence on the expected duration."""


@dataclass(frozen=True)
class Folder:
    """A folder's files and runtimes, measured in turns.

    Attributes:
        comparison: Their results.
        left_out: Reason by name, for those that were not measured.
    """

    comparison: Comparison
    left_out: dict[str, str]


@dataclass(frozen=True)
class Tuned:
    """Runtimes and numbers of threads of one file, measured in turns, and the best of them."""

    comparison: Comparison
    settings: Settings


def of_file(artifact: Artifact, request: Request, announce: Announce) -> Result:
    """Measure one file, and the memory of a process that only predicts with it.

    Raises:
        EdgeadError: It cannot be opened here, or a call fails.
    """
    with governor(request.governor):
        device = Device.of()
        measurement = measure(artifact.path, request.frames(), request.protocol, announce=announce)
        return to_result(measurement, artifact, _peak(artifact, measurement), device, request)


def of_folder(folder: Path, request: Request, announce: Announce) -> Folder:
    """Measure every file of a folder in every runtime that can open it, in turns.

    Raises:
        UsageError: The folder holds no artifact that can be opened here.
    """
    with governor(request.governor):
        protocol = request.protocol
        candidates, unfit = alternation.in_folder(folder, protocol.runtime, protocol.threads)
        turns = alternation.take_turns(candidates, request.frames(), protocol, announce=announce)
        peaks = [
            _peak(one.artifact, measurement)
            for one, measurement in zip(turns.candidates, turns.measurements, strict=True)
        ]
        return Folder(_compared(turns, peaks, request), {**unfit, **turns.left_out})


def tuned(artifact: Artifact, request: Request, announce: Announce) -> Tuned:
    """Measure one file in every runtime with every number of threads, in turns.

    Raises:
        EdgeadError: Nothing can open the file here.
    """
    with governor(request.governor):
        found = tune.tune(artifact, request.frames(), request.protocol, announce)
        no_memory = [None] * len(found.turns.candidates)
        return Tuned(_compared(found.turns, no_memory, request), found.settings)


def to_repeat(
    path: str | os.PathLike[str], artifact: str | os.PathLike[str] | None
) -> tuple[Result, Artifact]:
    """Read a stored result and the file that it measured.

    Args:
        path: A file of ``edgead bench --json``.
        artifact: Where the measured file is now; ``None`` for where it was.

    Raises:
        UsageError: The result is one of several, asks for too much, or measured another file.
    """
    results = read_results(path)
    if len(results) > 1:
        raise UsageError(
            f"{path} has {len(results)} results, from a folder: run bench on the folder again"
        )
    (before,) = results
    require_repeatable(before, path)
    found = read_artifact(artifact or before["artifact"]["path"])
    measured = before["artifact"]["sha256"]
    if found.sha256 != measured:
        raise UsageError(
            f"{path} is a measurement of another file (sha256 {measured[:12]}…) than "
            f"{found.path} ({found.sha256[:12]}…); to compare the two: edgead bench "
            f"{found.path} --json NEW.json, then edgead bench --compare {path} NEW.json"
        )
    return before, found


def _compared(turns: Turns, peaks: Sequence[Peak | None], request: Request) -> Comparison:
    device = Device.of()
    results = [
        to_result(measurement, one.artifact, peak, device, request)
        for one, measurement, peak in zip(turns.candidates, turns.measurements, peaks, strict=True)
    ]
    return Comparison.of_turns(results, turns.ratios)


def _peak(artifact: Artifact, measurement: Measurement) -> Peak | None:
    """Measure memory; figures that are there already are not lost if that fails."""
    protocol = measurement.protocol
    try:
        return memory.peak(
            artifact.path,
            protocol.runtime,
            protocol.threads,
            measurement.frame_sizes[0],
            precision=protocol.precision,
            hint=protocol.hint,
        )
    except EdgeadError as error:
        notices.warn(f"memory was not measured: {error}")
        return None
