"""Scores the files of an export in every runtime here, before any of them is written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgead.artifact import Artifact, Manifest
from edgead.errors import GateRefused
from edgead.export import latency, parity
from edgead.export.judge import Judge, Scored
from edgead.export.network import Candidate
from edgead.runtimes import Runtime, available, open_runtime
from edgead.runtimes.base import ContractError
from edgead.runtimes.select import order, runtime_class


@dataclass(frozen=True)
class Draft(Artifact):
    """A file that is not written yet: runtimes load it from memory.

    Attributes:
        graph: Its ONNX model, without manifest and seal.
    """

    graph: bytes = b""

    @classmethod
    def of(cls, manifest: Manifest, graph: bytes) -> Draft:
        """Return a file that would have a manifest and a graph."""
        return cls(Path(f"{manifest.name}.onnx"), manifest, "", len(graph), graph)

    def content(self) -> bytes:
        """Return the ONNX model."""
        return self.graph


@dataclass(frozen=True)
class Checked:
    """A candidate and what every runtime here gives for the judge's photos.

    Attributes:
        candidate: What was scored.
        scored: In ONNX Runtime; its manifest has the threshold and statistics of its own scores.
        runtimes: Open on it, by name.
        apart: Largest difference of a score from ONNX Runtime's in each other runtime, as a share
            of the scores' range.
    """

    candidate: Candidate
    scored: Scored
    runtimes: Mapping[str, Runtime]
    apart: dict[str, float]

    @property
    def manifest(self) -> Manifest:
        """Of the file."""
        return self.scored.artifact.manifest

    @property
    def fastest(self) -> Runtime:
        """The runtime that ``auto`` takes for it here."""
        names = order(self.scored.artifact)
        return next(self.runtimes[name] for name in names if name in self.runtimes)


class Workbench:
    """Opens candidates in every runtime here, and keeps them open until the export ends.

    Args:
        judge: The photos.
        stack: Closes the runtimes.
    """

    def __init__(self, judge: Judge, stack: ExitStack) -> None:
        self.judge, self._stack = judge, stack
        self._checked: dict[Candidate, Checked] = {}

    def score(self, candidate: Candidate) -> Checked:
        """Score the photos with a candidate in every runtime that opens it here.

        Raises:
            ContractError: It does not compute what a detector must.
        """
        manifest = candidate.manifest
        draft = Draft.of(manifest, candidate.graph)
        runtimes = {
            name: self._stack.enter_context(open_runtime(draft, name, latency.SIDE_BY_SIDE).runtime)
            for name, reason in available().items()
            if reason is None and runtime_class(name).refuses(draft) is None
        }
        scored = self.judge.scored(draft, runtimes["onnxruntime"])
        apart = {
            name: parity.compare(
                scored.outputs,
                self.judge.outputs(runtime, f"{manifest.name} in {name}"),
                (0.0, 0.0),
                "onnxruntime",
            ).max_score_diff_relative
            for name, runtime in runtimes.items()
            if name != "onnxruntime"
        }
        return Checked(candidate, scored, runtimes, apart)

    def check(self, candidate: Candidate) -> Checked:
        """Score a candidate once, and fit its threshold and statistics to its own scores.

        Raises:
            GateRefused: It does not compute what a detector must.
        """
        if candidate not in self._checked:
            try:
                checked = self.score(candidate)
            except ContractError as error:
                name = candidate.manifest.name
                raise GateRefused(f"{name} was refused: {error.problem}") from error
            self.judge.refit(checked.scored)
            self._checked[candidate] = checked
        return self._checked[candidate]

    def time(self, files: Mapping[str, Checked]) -> dict[str, float]:
        """Return median milliseconds of one inference, each file in its fastest runtime."""
        runtimes = {name: checked.fastest for name, checked in files.items()}
        return latency.side_by_side(runtimes, self.judge.batch[:1])
