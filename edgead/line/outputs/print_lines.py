"""One line a verdict on standard output, as ``edgead predict`` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgead.line.outputs.base import Output
from edgead.line.verdict import Judged
from edgead.printable import printable

_WORDS = {"good": "good", "anomaly": "ANOMALOUS", "failure": "FAILURE"}


@dataclass(frozen=True)
class PrintLinesOptions:
    """There are none."""


class PrintLines(Output):
    """Prints verdicts."""

    Options = PrintLinesOptions
    queue: ClassVar[int] = 10_000

    def open(self) -> None:
        """Nothing to open."""

    def deliver(self, judged: Judged) -> None:
        """Print a line."""
        verdict = judged.verdict
        score = "        -" if verdict.score is None else f"{verdict.score:9.4f}"
        reason = "" if verdict.reason is None else f"  ({verdict.reason})"
        line = f"{self.station}  {_WORDS[verdict.state]:9}  {score}  {verdict.frame}{reason}"
        print(printable(line), flush=True)

    def fail(self, reason: str) -> None:
        """Nothing: the line itself reports it."""

    def recover(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing to close."""
