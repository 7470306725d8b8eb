"""What the page, MQTT and HTTP may see of a station, and may ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgead.line.status import StationStatus
from edgead.line.verdict import Judged, State

HISTORY = 1000
"""Verdicts that a station remembers."""

DEFECTS = 24
"""Rejected frames that a station remembers with their pictures."""


@dataclass(frozen=True)
class Remembered:
    """One verdict of the history; ``score`` and ``threshold`` are ``None`` for a failure."""

    number: int
    at: float
    state: State
    score: float | None
    threshold: float | None = None


class Controlled(Protocol):
    """A station, as others see it. Each call may come from any thread and returns at once."""

    @property
    def name(self) -> str:
        """The station's name."""

    def status(self) -> StationStatus:
        """Return counts, health and latency."""

    def newest(self) -> Judged | None:
        """Return the last verdict with its frame."""

    def history(self) -> Sequence[Remembered]:
        """Return the last :data:`HISTORY` verdicts, oldest first."""

    def defects(self) -> Sequence[Judged]:
        """Return the last :data:`DEFECTS` rejected frames, newest first."""

    def set_threshold(self, value: float) -> None:
        """Judge with another threshold from the next frame on, and after a restart.

        Raises:
            UsageError: It is not a finite number.
        """

    def switch(self, recipe: str) -> None:
        """Begin to change to another artifact; the old one works until the new one has scored.

        Args:
            recipe: One of :attr:`StationStatus.recipes`.

        Raises:
            UsageError: There is no such recipe.
        """

    def fire(self) -> bool:
        """Trigger once; ``False`` when too many triggers wait."""
