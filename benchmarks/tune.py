"""Which runtime and how many threads are best for one artifact on this device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgead import cpu
from edgead.artifact import Artifact
from edgead.benchmarks.alternation import Candidate, Turns, take_turns
from edgead.benchmarks.protocol import Protocol
from edgead.errors import RuntimeUnavailableError
from edgead.images import Image
from edgead.runtimes import available
from edgead.runtimes.select import runtime_class
from edgead.settings import Settings

_NEAR = 1.03
_ALL_COUNTS_UP_TO = 4


@dataclass(frozen=True)
class Tuning:
    """What was tried, and which one is proposed.

    Attributes:
        turns: All of them, in turns.
        best: Index of the proposal: the fewest threads among those whose median is within 3 % of
            the fastest, because a core that is left over is worth more than that.
    """

    turns: Turns
    best: int

    @property
    def settings(self) -> Settings:
        """The proposal."""
        one, measured = self.turns.candidates[self.best], self.turns.measurements[self.best]
        return Settings(
            runtime=one.runtime,
            threads=one.threads,
            sha256=one.artifact.sha256,
            device=cpu.model_name(),
            latency_ms=measured.summary.p50,
        )


def thread_counts(cores: int) -> list[int]:
    """Return what to try: every number up to four, then doubling, and all cores."""
    counts = set(range(1, min(cores, _ALL_COUNTS_UP_TO) + 1)) | {cores}
    power = _ALL_COUNTS_UP_TO
    while power < cores:
        counts.add(power)
        power *= 2
    return sorted(counts)


def candidates(artifact: Artifact, runtime: str, cores: int) -> list[Candidate]:
    """Return every runtime that can open the artifact here with every number of threads.

    Raises:
        RuntimeUnavailableError: None can.
    """
    names = [name for name in available() if runtime in ("auto", name)]
    if not names:
        runtime_class(runtime)  # says which there are
    reasons = {}
    found = []
    for name in names:
        chosen = runtime_class(name)
        reason = chosen.unavailable() or chosen.refuses(artifact)
        if reason:
            reasons[name] = reason
        else:
            counts = thread_counts(cores) if chosen.uses_threads else [None]
            found += [Candidate(artifact, name, count) for count in counts]
    if not found:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise RuntimeUnavailableError(f"no runtime here can open {artifact.path}: {why}")
    return found


def tune(
    artifact: Artifact,
    frames: Sequence[Image],
    protocol: Protocol,
    announce: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Measure them in turns.

    Raises:
        EdgeadError: Nothing can open the artifact.
    """
    tried = candidates(artifact, protocol.runtime, cpu.default_threads())
    turns = take_turns(tried, frames, protocol, announce=announce)
    return Tuning(turns, proposal(turns))


def proposal(turns: Turns) -> int:
    """Return the index of the fewest threads within 3 % of the fastest; ties to the faster."""
    fastest = min(ratio.value for ratio in turns.ratios)
    near = [index for index, ratio in enumerate(turns.ratios) if ratio.value <= _NEAR * fastest]
    return min(
        near, key=lambda index: (turns.candidates[index].threads or 0, turns.ratios[index].value)
    )
