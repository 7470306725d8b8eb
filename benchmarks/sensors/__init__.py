"""Temperature, clock, power and throttling, from whatever this machine has.

A sensor that is not there is missing, with the reason; it never reads 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgead.benchmarks.sensors import cpufreq, jetson, nvml, rapl, raspberry, thermal
from edgead.benchmarks.sensors.base import (
    MISSING,
    Found,
    Kind,
    Part,
    Sensor,
    SensorError,
    ThrottleWatch,
)
from edgead.benchmarks.system import System

__all__ = ["Kind", "Part", "Sensor", "SensorError", "SensorSet", "ThrottleWatch", "find_sensors"]

_THROTTLING = "throttling"


@dataclass(frozen=True)
class SensorSet:
    """What can be read here.

    Attributes:
        sensors: In the order in which the sources are trusted, per kind and part.
        watches: What tells of throttling.
        missing: Why nothing of a kind is there, by kind (``temperature``, ``clock``, ``power``,
            ``throttling``).
    """

    sensors: tuple[Sensor, ...] = ()
    watches: tuple[ThrottleWatch, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    _found: Found = field(default_factory=Found, repr=False)

    def of(self, kind: Kind, *parts: Part) -> tuple[Sensor, ...]:
        """Return the sensors of a kind, about any of the parts."""
        return tuple(s for s in self.sensors if s.kind is kind and s.part in parts)

    def close(self) -> None:
        """End helper processes."""
        for close in self._found.closing:
            close()

    def __enter__(self) -> SensorSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find_sensors(system: System | None = None) -> SensorSet:
    """Look for every sensor of a machine.

    Args:
        system: The machine; ``None`` for this one.
    """
    system = system or System()
    found = Found()
    # The firmware of a Pi knows its clock better than the kernel does, so it comes first.
    for source in (raspberry, jetson, cpufreq, thermal, rapl):
        found.add(source.find(system))
    if system.is_this_machine and not jetson.is_jetson(system):
        found.add(nvml.find(nvml.Gpu.first()))
    missing = {
        kind.value: found.missing.get(kind.value, MISSING)
        for kind in Kind
        if not any(sensor.kind is kind for sensor in found.sensors)
    }
    if not found.watches:
        missing[_THROTTLING] = found.missing.get(_THROTTLING, MISSING)
    return SensorSet(tuple(found.sensors), tuple(found.watches), missing, found)
