"""A sensor: a name, a kind, and a way to read it repeatedly."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MISSING = "this machine shows no such sensor"


class SensorError(Exception):
    """A sensor that was found cannot be read now; the message has the reason."""


class Kind(str, enum.Enum):
    """What is measured, and in which unit."""

    TEMPERATURE = "temperature"
    CLOCK = "clock"
    POWER = "power"

    @property
    def unit(self) -> str:
        """The unit of every reading of this kind."""
        return {"temperature": "°C", "clock": "MHz", "power": "W"}[self.value]


class Part(str, enum.Enum):
    """The part of the machine that a reading is about."""

    CPU = "cpu"
    GPU = "gpu"
    BOARD = "board"
    OTHER = "other"


@dataclass(frozen=True)
class Estimate:
    """A straight line from what is measured to what is wanted; never shown as measured."""

    label: str
    factor: float
    offset: float

    def of(self, value: float) -> float:
        """Return the estimate for a reading."""
        return self.factor * value + self.offset


@dataclass(frozen=True)
class Sensor:
    """One quantity.

    Attributes:
        name: As the machine names it.
        read: Returns the reading in the kind's unit, or raises :class:`SensorError`.
        limit: The highest value it can have (clocks), where the machine reports it.
        estimate: For readings that cover only a part of what a user wants to know.
    """

    kind: Kind
    part: Part
    name: str
    read: Callable[[], float]
    limit: float | None = None
    estimate: Estimate | None = None


class ThrottleWatch(Protocol):
    """Says what holds the machine back."""

    name: str

    @property
    def history(self) -> tuple[str, ...]:
        """What had happened before the watch began (since boot); no evidence against a run."""

    def read(self) -> frozenset[str]:
        """Return what limits now, or did since the last look; empty for nothing."""


@dataclass
class Found:
    """The sensors of one source; ``missing`` has the reason for each missing kind."""

    sensors: list[Sensor] = field(default_factory=list)
    watches: list[ThrottleWatch] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    closing: list[Callable[[], None]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Take in what another source has."""
        self.sensors += other.sensors
        self.watches += other.watches
        self.missing.update(other.missing)
        self.closing += other.closing


def number_in(path: Path, scale: float = 1.0) -> Callable[[], float]:
    """Return a reader of a file that holds one number."""

    def read() -> float:
        try:
            return float(path.read_text()) * scale
        except OSError as error:
            raise SensorError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SensorError(f"{path} does not hold a number") from error

    return read


class CounterWatch:
    """A throttle counter in a file: a count that grows is an event."""

    def __init__(self, path: Path, event: str) -> None:
        self.name = event
        self._read = number_in(path)
        self._count = self._now()
        # Raised once, by the count that was there: it happened before.
        self.history = (event,) if self._count else ()

    def read(self) -> frozenset[str]:
        """Return the event if the count has grown since the last look."""
        before, self._count = self._count, self._now()
        return frozenset({self.name} if self._count > before else ())

    def _now(self) -> float:
        try:
            return self._read()
        except SensorError:
            return 0.0


class StateWatch:
    """A file that holds a number above 0 while something limits."""

    history: tuple[str, ...] = ()

    def __init__(self, path: Path, event: str) -> None:
        self.name = event
        self._read = number_in(path)

    def read(self) -> frozenset[str]:
        """Return the event while the file says so."""
        try:
            return frozenset({self.name} if self._read() > 0 else ())
        except SensorError:
            return frozenset()
