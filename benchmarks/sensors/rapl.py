"""Energy counters of Intel and AMD CPUs: ``/sys/class/powercap``.

Kernels since 2020 let only root read them (CVE-2020-8694).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edgead.benchmarks.sensors.base import Found, Kind, Part, Sensor, SensorError, number_in
from edgead.benchmarks.system import System, read_text


def find(system: System) -> Found:
    """Find the package counters and sum them."""
    packages = [
        node
        for node in system.glob("sys/class/powercap/*rapl:*")
        if (read_text(node / "name") or "").startswith("package")
    ]
    counters = []
    for node in packages:
        try:
            counters.append(Counter(node))
        except SensorError:
            return Found(
                missing={"power": f"{node / 'energy_uj'} is readable by root only: run with sudo"}
            )
    if not counters:
        return Found()
    return Found([Sensor(Kind.POWER, Part.CPU, "CPU package (RAPL)", _sum(counters))])


class Counter:
    """Mean power of one package since the last look, from a counter of microjoules that wraps."""

    def __init__(self, node: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._energy = number_in(node / "energy_uj", 1e-6)
        self._wraps_at = float(read_text(node / "max_energy_range_uj") or 0) * 1e-6
        self._at, self._joules = clock(), self._energy()

    def watts(self) -> float:
        """Return the mean power since the last call.

        Raises:
            SensorError: The counter cannot be read, or no time has passed.
        """
        at, joules = self._clock(), self._energy()
        seconds, used = at - self._at, joules - self._joules
        self._at, self._joules = at, joules
        if used < 0:
            used += self._wraps_at
        if seconds <= 0:
            raise SensorError("the energy counter was read twice at once")
        return used / seconds


def _sum(counters: list[Counter]) -> Callable[[], float]:
    return lambda: sum(counter.watts() for counter in counters)
