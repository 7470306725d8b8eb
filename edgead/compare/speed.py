"""Latency of all variants in turns, so that their ratios hold on a machine that others use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgead import notices
from edgead.artifact import Artifact
from edgead.compare.results import Latency
from edgead.errors import EdgeadError
from edgead.images import Image

_FEWEST = 10
"""A slow detector need not reach the 64 frames of a p90: a limit is held against its slowest frame
then, and all the others would be measured as long as it takes."""

_WARM_UP_SECONDS = 1.0
_OF_A_VARIANT = ("throttled", "unstable")
_OF_THE_MACHINE = ("busy machine",)


@dataclass(frozen=True)
class Speed:
    """What taking turns gave.

    Attributes:
        latencies: One for each variant, in order.
        memory_mib: Peak of a process that only predicts, likewise.
        doubts: What speaks against the measurement as a whole.
    """

    latencies: tuple[Latency, ...]
    memory_mib: tuple[float, ...]
    doubts: tuple[str, ...]


def measure(
    variants: Sequence[tuple[Artifact, str]],
    frames: Sequence[Image],
    seconds: float,
    threads: int | None,
) -> Speed:
    """Time whole frames of all variants in turns, then each one's memory in a process of its own.

    Args:
        variants: Artifact and runtime.
        frames: uint8 ``[H, W, 3]`` BGR, taken in turn.
        seconds: For each variant.
        threads: Threads of one inference.

    Raises:
        EdgeadError: A variant cannot be opened; says why.
    """
    from edgead.benchmarks import Protocol, judge, memory
    from edgead.benchmarks.alternation import Candidate, take_turns
    from edgead.benchmarks.device import Device

    candidates = [Candidate(artifact, runtime, threads) for artifact, runtime in variants]
    turns = take_turns(
        candidates,
        frames,
        Protocol(seconds, samples=_FEWEST, warm_up=min(_WARM_UP_SECONDS, seconds / 4)),
        announce=lambda text: notices.say(f"speed: {text}"),
    )
    if turns.left_out:  # they could be opened alone, to measure accuracy
        raise EdgeadError(
            "not all files can be open at once: "
            + "; ".join(f"{name}: {why}" for name, why in turns.left_out.items())
            + "; compare fewer detectors or precisions at a time"
        )
    device = Device.of()
    latencies, of_all = [], []
    for measurement in turns.measurements:
        reasons = judge(measurement, device).reasons
        doubts = [str(reason) for reason in reasons if reason.code in _OF_A_VARIANT]
        of_all += [str(reason) for reason in reasons if reason.code in _OF_THE_MACHINE]
        summary = measurement.summary
        latencies.append(
            Latency(
                summary.p50,
                summary.p90,
                summary.mean,
                summary.maximum,
                summary.samples,
                "; ".join(doubts) or None,
            )
        )
    size = (frames[0].shape[0], frames[0].shape[1])
    peaks = [
        memory.peak(artifact.path, runtime, threads, size).rss_mib for artifact, runtime in variants
    ]
    return Speed(tuple(latencies), tuple(peaks), tuple(dict.fromkeys(of_all)))
