"""Reads the sensors while a benchmark runs, seldom enough not to be seen in the latency."""

from __future__ import annotations

import dataclasses
import resource
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from edgead.benchmarks.sensors import Kind, Part, Sensor, SensorSet
from edgead.benchmarks.sensors.base import SensorError

_SECONDS_BETWEEN = 1.0
_MOST_COST = 0.005  # of one core
_GIVE_UP_AFTER = 3


@dataclass(frozen=True)
class Series:
    """One sensor's readings; ``None`` where it could not be read."""

    sensor: Sensor
    values: tuple[float | None, ...]

    @property
    def known(self) -> tuple[float, ...]:
        """The readings that there are."""
        return tuple(value for value in self.values if value is not None)


@dataclass(frozen=True)
class Timeline:
    """The readings of the sensors during a run.

    Attributes:
        times: Seconds since the run began.
        series: By sensor, in the set's order.
        throttled: For each time, what held the machine back.
        history: Events before the run.
        missing: Reason for each missing kind.
        cpu_seconds: CPU time of the readings.
    """

    times: tuple[float, ...] = ()
    series: tuple[Series, ...] = ()
    throttled: tuple[frozenset[str], ...] = ()
    watched: bool = False
    history: tuple[str, ...] = ()
    missing: Mapping[str, str] | None = None
    cpu_seconds: float = 0.0

    @property
    def events(self) -> tuple[str, ...]:
        """Everything that held the machine back at any time."""
        return tuple(sorted(frozenset().union(*self.throttled)))

    def hottest(self) -> tuple[float | None, ...]:
        """Return the highest temperature of processor and GPU at each time."""
        columns = zip(*(series.values for series in self._thermometers()), strict=True)
        return tuple(
            max((value for value in column if value is not None), default=None)
            for column in columns
        )

    def hottest_name(self) -> str:
        """Return the sensor that got hottest."""
        return max(self._thermometers(), key=lambda series: max(series.known)).sensor.name

    def clock(self, on_gpu: bool) -> Series | None:
        """Return the clock that the network runs at."""
        return self._first(Kind.CLOCK, Part.GPU if on_gpu else Part.CPU)

    def power(self, on_gpu: bool) -> Series | None:
        """Return the power of as much of the machine as can be measured.

        The whole board where it can be, or else the part that the network runs on.
        """
        return self._first(Kind.POWER, Part.BOARD) or self._first(
            Kind.POWER, Part.GPU if on_gpu else Part.CPU
        )

    def without(self, kind: Kind, reason: str) -> Timeline:
        """Leave one kind of reading out; what was missing before keeps its own reason."""
        return dataclasses.replace(
            self,
            series=tuple(series for series in self.series if series.sensor.kind is not kind),
            missing={kind.value: reason, **(self.missing or {})},
        )

    def _thermometers(self) -> list[Series]:
        # Where no zone's name says processor, whatever there is.
        return self._of(Kind.TEMPERATURE, Part.CPU, Part.GPU) or self._of(
            Kind.TEMPERATURE, Part.OTHER
        )

    def _of(self, kind: Kind, *parts: Part) -> list[Series]:
        return [
            series
            for series in self.series
            if series.sensor.kind is kind and series.sensor.part in parts and series.known
        ]

    def _first(self, kind: Kind, part: Part) -> Series | None:
        return next(iter(self._of(kind, part)), None)


class Sampler:
    """A thread that reads all sensors once a second, or less often if that costs too much.

    The time between two rounds grows until reading takes at most half a percent of one core:
    ``vcgencmd`` is a process each time. A sensor that fails three times in a row is left alone.
    """

    def __init__(self, sensors: SensorSet, seconds_between: float = _SECONDS_BETWEEN) -> None:
        self._set = sensors
        self._between = seconds_between
        self._history = tuple(text for watch in sensors.watches for text in watch.history)
        self._times: list[float] = []
        self._values: list[list[float | None]] = [[] for _ in sensors.sensors]
        self._failures = [0] * len(sensors.sensors)
        self._why: dict[str, str] = {}
        self._throttled: list[frozenset[str]] = []
        self._cpu = 0.0
        self.origin = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, at: float) -> None:
        """Read every sensor once.

        Args:
            at: Seconds since the run began.
        """
        self._times.append(at)
        for index, sensor in enumerate(self._set.sensors):
            value = None
            if self._failures[index] < _GIVE_UP_AFTER:
                try:
                    value = sensor.read()
                    self._failures[index] = 0
                except SensorError as error:
                    self._failures[index] += 1
                    self._why[sensor.kind.value] = str(error)
            self._values[index].append(value)
        flags: frozenset[str] = frozenset()
        self._throttled.append(flags.union(*(watch.read() for watch in self._set.watches)))

    def timeline(self) -> Timeline:
        """Return what was read so far."""
        series = tuple(
            Series(sensor, tuple(values))
            for sensor, values in zip(self._set.sensors, self._values, strict=True)
        )
        readable = {one.sensor.kind.value for one in series if one.known}
        missing = dict(self._set.missing)
        for kind, reason in self._why.items():
            if kind not in readable:
                missing[kind] = reason
        return Timeline(
            tuple(self._times),
            series,
            tuple(self._throttled),
            bool(self._set.watches),
            self._history,
            missing,
            self._cpu,
        )

    def __enter__(self) -> Sampler:
        self.origin = time.perf_counter()
        self._round()
        self._cpu = 0.0  # the first round was before the first frame
        if self._set.sensors or self._set.watches:
            self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            cost = self._cpu
            self._round()
            self._cpu = cost  # the last round is after the last frame

    def _run(self) -> None:
        wait = self._between
        while not self._stop.wait(wait):
            cost = self._round()
            wait = max(self._between, cost / _MOST_COST)

    def _round(self) -> float:
        before = _cpu_seconds()
        self.take(time.perf_counter() - self.origin)
        cost = _cpu_seconds() - before
        self._cpu += cost
        return cost


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + children.ru_utime + children.ru_stime
