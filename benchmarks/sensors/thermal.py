"""Temperatures and thermal limits of the Linux kernel: ``/sys/class/thermal``, ``hwmon``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from edgead.benchmarks.sensors.base import (
    CounterWatch,
    Found,
    Kind,
    Part,
    Sensor,
    SensorError,
    StateWatch,
    number_in,
)
from edgead.benchmarks.system import System, read_text

_COLDEST = -100.0  # Jetsons report -256 °C for a part that is switched off
_PROCESSOR = re.compile(r"cpu|soc|pkg|package|tj|core|k10temp|zenpower|tctl|tdie|mcpu", re.I)
_GPU = re.compile(r"gpu", re.I)
_HWMON_OF_CPUS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_COOLING_BY_SLOWING = re.compile(r"cpufreq|devfreq|throttle|^processor$", re.I)


def find(system: System) -> Found:
    """Find every thermal zone by its type, CPU sensors of hwmon by their name, and limiters."""
    found = Found()
    for zone in system.glob("sys/class/thermal/thermal_zone*"):
        kind = read_text(zone / "type")
        if kind and (zone / "temp").exists():
            found.sensors.append(_temperature(zone / "temp", kind))
    if not found.sensors:
        for node in system.glob("sys/class/hwmon/hwmon*"):
            name = read_text(node / "name")
            if name in _HWMON_OF_CPUS:
                for path in sorted(node.glob("temp*_input")):
                    label = read_text(path.with_name(path.name.replace("_input", "_label")))
                    found.sensors.append(
                        _temperature(path, f"{name} {label}" if label else str(name))
                    )
    for device in system.glob("sys/class/thermal/cooling_device*"):
        kind = read_text(device / "type")
        if kind and _COOLING_BY_SLOWING.search(kind):
            found.watches.append(
                StateWatch(device / "cur_state", f"the kernel cools by slowing down ({kind})")
            )
    for name in ("package", "core"):
        event = f"the CPU ran into its temperature limit ({name}_throttle_count)"
        counters = system.glob(
            f"sys/devices/system/cpu/cpu*/thermal_throttle/{name}_throttle_count"
        )
        # Packages count on each of their cores; one of them is enough.
        for path in counters[:1] if name == "package" else counters:
            found.watches.append(CounterWatch(path, event))
    return found


def part_of(name: str) -> Part:
    """Say what a zone's name is about; a charger or a radio is not the processor."""
    if _GPU.search(name):
        return Part.GPU
    return Part.CPU if _PROCESSOR.search(name) else Part.OTHER


def _temperature(path: Path, name: str) -> Sensor:
    read = _plausible(number_in(path, 1e-3), path)
    return Sensor(Kind.TEMPERATURE, part_of(name), name, read)


def _plausible(read: Callable[[], float], path: Path) -> Callable[[], float]:
    def checked() -> float:
        degrees = read()
        if degrees < _COLDEST:
            raise SensorError(f"{path} reads {degrees:.0f} °C, which means that it is switched off")
        return degrees

    return checked
