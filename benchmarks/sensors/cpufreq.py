"""CPU clocks and governors: ``/sys/devices/system/cpu/cpufreq``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgead.benchmarks.sensors.base import Found, Kind, Part, Sensor, SensorError, number_in
from edgead.benchmarks.system import System, read_text


def policies(system: System) -> list[Path]:
    """Return the frequency policies: groups of cores that share a clock."""
    found = system.glob("sys/devices/system/cpu/cpufreq/policy*")
    # Old kernels have no policy folders, but the same files under every CPU.
    return found or system.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")


def governors(system: System) -> tuple[str, ...]:
    """Return the different governors in use; none where clocks cannot be governed."""
    read = (read_text(policy / "scaling_governor") for policy in policies(system))
    return tuple(sorted({governor for governor in read if governor}))


def limit_mhz(system: System) -> float | None:
    """Return the highest clock that the fastest core may have."""
    limits = [read_text(policy / "scaling_max_freq") for policy in policies(system)]
    known = [int(limit) / 1e3 for limit in limits if limit and limit.isdigit()]
    return max(known, default=None)


def find(system: System) -> Found:
    """Find the clock of the fastest core."""
    chosen = [policy for policy in policies(system) if (policy / "scaling_cur_freq").exists()]
    if not chosen:
        return Found(missing={"clock": "the kernel has no CPU clock here (no cpufreq)"})
    read = _fastest([number_in(policy / "scaling_cur_freq", 1e-3) for policy in chosen])
    return Found([Sensor(Kind.CLOCK, Part.CPU, "cpufreq", read, limit_mhz(system))])


def _fastest(readers: list[Callable[[], float]]) -> Callable[[], float]:
    def read() -> float:
        clocks, failed = [], None
        for reader in readers:
            try:
                clocks.append(reader())
            except SensorError as error:  # a core that was switched off
                failed = error
        if not clocks:
            raise failed or SensorError("no core reports its clock")
        return max(clocks)

    return read
