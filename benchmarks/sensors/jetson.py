"""NVIDIA Jetson: INA3221 power rails, GPU clock, over-current counters, ``tegrastats``.

Rails by JetPack: hwmon (5 and later; https://docs.kernel.org/hwmon/ina3221.html), iio (4). All
nodes are found by name, because their numbers change with every release.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from edgead.benchmarks.sensors import thermal
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

_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
_NOT_CONNECTED = "NC"
_GPU_NODE = re.compile(r"gpu|ga10b|gv11b|gp10b|gm20b|gb10b", re.I)
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/\d+(?:mW)?")
_ZONE = re.compile(r"\b(\w+)@(-?\d+(?:\.\d+)?)C\b")


def find(system: System) -> Found:
    """Find rails, the GPU's clock and what limits; by ``tegrastats`` where no rail is readable."""
    if not is_jetson(system):
        return Found()
    found = Found()
    rails = _hwmon_rails(system, found) or _iio_rails(system)
    if rails:
        found.sensors += _power_sensors(rails)
    elif system.which("tegrastats"):
        found.add(_tegrastats(system))
    else:
        found.missing["power"] = "no INA3221 rail is readable and tegrastats is not installed"
    for node in system.glob("sys/class/devfreq/*"):
        if _GPU_NODE.search(node.name) and (node / "cur_freq").exists():
            limit = read_text(node / "max_freq")
            found.sensors.append(
                Sensor(
                    Kind.CLOCK,
                    Part.GPU,
                    f"GPU ({node.name})",
                    number_in(node / "cur_freq", 1e-6),
                    int(limit) / 1e6 if limit and limit.isdigit() else None,
                )
            )
    for path in system.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"):
        found.watches.append(CounterWatch(path, f"over-current throttling ({path.name})"))
    return found


def is_jetson(system: System) -> bool:
    """Whether this is a Jetson, from the device tree."""
    return "nvidia,tegra" in (system.text("proc/device-tree/compatible") or "")


def _hwmon_rails(system: System, found: Found) -> dict[str, Callable[[], float]]:
    nodes = {
        hwmon.resolve(): hwmon
        for pattern in ("sys/bus/i2c/devices/*/hwmon/hwmon*", "sys/class/hwmon/hwmon*")
        for hwmon in system.glob(pattern)
        if read_text(hwmon / "name") == "ina3221"
    }
    rails: dict[str, Callable[[], float]] = {}
    for node in nodes.values():
        for channel in (1, 2, 3):
            label = read_text(node / f"in{channel}_label")
            if not label or label == _NOT_CONNECTED:
                continue
            if read_text(node / f"in{channel}_enable") == "0":
                continue
            millivolts = number_in(node / f"in{channel}_input", 1e-3)
            milliamperes = number_in(node / f"curr{channel}_input", 1e-3)
            rails[label] = _product(millivolts, milliamperes)
            for alarm in ("max", "crit"):
                path = node / f"curr{channel}_{alarm}_alarm"
                if path.exists():
                    found.watches.append(
                        StateWatch(path, f"the current of {label} is above its limit ({alarm})")
                    )
    return rails


def _iio_rails(system: System) -> dict[str, Callable[[], float]]:
    rails: dict[str, Callable[[], float]] = {}
    for path in system.glob("sys/bus/i2c/devices/*/iio:device*/rail_name_*"):
        name, channel = read_text(path), path.name.rpartition("_")[2]
        if name and name != _NOT_CONNECTED:
            rails[name] = number_in(path.with_name(f"in_power{channel}_input"), 1e-3)
    return rails


def _power_sensors(rails: dict[str, Callable[[], float]]) -> list[Sensor]:
    """Return the whole board first: its input rail, or else the sum, named as one."""
    sensors = []
    whole = next((name for name in _WHOLE_BOARD if name in rails), None)
    if whole is None and len(rails) > 1:
        readers = list(rails.values())
        sensors.append(
            Sensor(
                Kind.POWER,
                Part.BOARD,
                f"sum of rails {' + '.join(rails)}",
                lambda: sum(read() for read in readers),
            )
        )
    for name, read in rails.items():
        is_whole = name == whole or len(rails) == 1
        part = Part.BOARD if is_whole else Part.OTHER
        sensors.append(Sensor(Kind.POWER, part, name, read))
    return sensors


def _product(first: Callable[[], float], second: Callable[[], float]) -> Callable[[], float]:
    return lambda: first() * second()


def parse_tegrastats(line: str) -> tuple[dict[str, float], dict[str, float]]:
    """Read a line of ``tegrastats``: watts by rail, degrees Celsius by zone.

    ``VDD_IN 4572mW/4572mW``, or without units (JetPack 4), and ``cpu@48.4C``. A zone at -256 °C is
    switched off and left out.
    """
    # The clocks of CPU [1%@729,...] and the memory's megabytes look alike: cut them away first.
    rest = re.sub(r"\[[^]]*\]|\(.*?\)|\d+/\d+[kM]B", "", line)
    rails = {name: int(milliwatts) / 1e3 for name, milliwatts in _RAIL.findall(rest)}
    zones = {name: float(degrees) for name, degrees in _ZONE.findall(rest)}
    return rails, {name: degrees for name, degrees in zones.items() if degrees > -100}


class Tegrastats:
    """A running ``tegrastats``, of which the newest line counts."""

    _FIRST_LINE_SECONDS = 3.0

    def __init__(self, command: Path) -> None:
        self._process = subprocess.Popen(
            [str(command), "--interval", "1000"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._pending, self._line = b"", ""

    def first_line(self) -> str:
        """Wait for a line; empty if none comes."""
        stop = time.monotonic() + self._FIRST_LINE_SECONDS
        while not self.line() and time.monotonic() < stop and self._process.poll() is None:
            select.select([self._pipe], [], [], 0.2)
        return self.line()

    def line(self) -> str:
        """Return the newest whole line."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._pipe, 65536):
                self._pending += chunk
        *lines, self._pending = self._pending.split(b"\n")
        if lines:
            self._line = lines[-1].decode(errors="replace")
        return self._line

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _tegrastats(system: System) -> Found:
    command = system.which("tegrastats")
    assert command is not None
    stream = Tegrastats(command)
    rails, zones = parse_tegrastats(stream.first_line())
    if not rails and not zones:
        stream.close()
        return Found(missing={"power": "tegrastats shows no rail"})

    def rail(name: str) -> Callable[[], float]:
        return lambda: _value(parse_tegrastats(stream.line())[0], name)

    def zone(name: str) -> Callable[[], float]:
        return lambda: _value(parse_tegrastats(stream.line())[1], name)

    found = Found(closing=[stream.close])
    if rails:
        found.sensors += _power_sensors({name: rail(name) for name in rails})
    else:
        found.missing["power"] = "tegrastats shows no rail"
    if not system.glob("sys/class/thermal/thermal_zone*"):
        found.sensors += [
            Sensor(Kind.TEMPERATURE, thermal.part_of(name), name, zone(name)) for name in zones
        ]
    return found


def _value(readings: dict[str, float], name: str) -> float:
    if name not in readings:
        raise SensorError(f"tegrastats no longer shows {name}")
    return readings[name]
