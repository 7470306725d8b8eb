"""Raspberry Pi: the firmware's own answers, through ``vcgencmd``.

Formats: https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd. The firmware can slow
the CPU down without the kernel's knowledge, so its clock is the one to believe.
"""

from __future__ import annotations

import re

from edgead.benchmarks.sensors import cpufreq
from edgead.benchmarks.sensors.base import (
    Estimate,
    Found,
    Kind,
    Part,
    Sensor,
    SensorError,
    ThrottleWatch,
)
from edgead.benchmarks.system import System

UNDER_VOLTAGE = "under-voltage: the power supply or its cable is too weak"
_FLAGS = {
    0: UNDER_VOLTAGE,
    1: "the firmware capped the CPU's clock",
    2: "the firmware throttles the CPU",
    3: "the CPU is at its soft temperature limit",
}
_STICKY = 16  # bit 16+n: bit n has been set since boot
_RAIL = re.compile(
    r"^\s*(\w+)_([AV])(?:\s+(?:current|volt)\(\d+\))?\s*=\s*(\d+(?:\.\d+)?)[AV]?\s*$", re.M
)
# A community's straight line through measurements at the plug; not the maker's.
_AT_THE_PLUG = Estimate("estimated at the plug", 1.1451, 0.5879)


def find(system: System) -> Found:
    """Find the throttling bits, the real CPU clock, and on a Pi 5 the power of its rails."""
    model = system.text("proc/device-tree/model") or ""
    if not model.startswith("Raspberry Pi"):
        return Found()
    found = Found(missing={"power": f"{model} cannot measure its current: use an external meter"})
    answer = system.run("vcgencmd", ["get_throttled"])
    if answer is None:
        found.missing["throttling"] = "vcgencmd is not installed: sudo apt install raspi-utils"
        return found
    try:
        found.watches.append(Throttling(system))
    except SensorError as error:
        found.missing["throttling"] = f"{error}: add yourself to the group 'video'"
        return found
    firmware = Firmware(system)
    for sensor in (
        Sensor(
            Kind.CLOCK, Part.CPU, "arm (firmware)", firmware.clock_mhz, cpufreq.limit_mhz(system)
        ),
        Sensor(Kind.TEMPERATURE, Part.CPU, "firmware", firmware.celsius),
        Sensor(Kind.POWER, Part.BOARD, "sum of PMIC rails", firmware.watts, None, _AT_THE_PLUG),
    ):
        if sensor.kind is Kind.TEMPERATURE and system.glob("sys/class/thermal/thermal_zone*"):
            continue  # the same diode, without starting a process
        try:
            sensor.read()
        except SensorError:
            continue
        found.sensors.append(sensor)
        found.missing.pop(sensor.kind.value, None)
    return found


def throttle_flags(text: str) -> int:
    """Read ``throttled=0x50005``.

    Raises:
        SensorError: It has other content.
    """
    match = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", text.strip())
    if match is None:
        raise SensorError(f"vcgencmd get_throttled printed '{text.strip()[:60]}'")
    return int(match[1], 16)


def rail_watts(text: str) -> float:
    """Sum volts times amperes over the rails of ``vcgencmd pmic_read_adc``, in either format.

    ``VDD_CORE_A current(7)=0.67A`` with ``VDD_CORE_V volt(15)=0.75V``, or ``VDD_CORE_A=0.67A``.
    Rails without both (the 5 V input, the clock's battery) do not count.

    Raises:
        SensorError: There is no rail with both.
    """
    seen: dict[str, dict[str, float]] = {}
    for name, unit, value in _RAIL.findall(text):
        seen.setdefault(name, {})[unit] = float(value)
    rails = [rail["A"] * rail["V"] for rail in seen.values() if len(rail) == 2]
    if not rails:
        raise SensorError("vcgencmd pmic_read_adc shows no rail with volts and amperes")
    return sum(rails)


class Firmware:
    """Questions to the firmware, each one process."""

    def __init__(self, system: System) -> None:
        self._system = system

    def clock_mhz(self) -> float:
        """Ask for the CPU clock: ``frequency(48)=1500398464``."""
        return self._number("measure_clock arm", r"frequency\(\d+\)=(\d+)") / 1e6

    def celsius(self) -> float:
        """Ask for the temperature: ``temp=48.3'C``."""
        return self._number("measure_temp", r"temp=([\d.]+)'C")

    def watts(self) -> float:
        """Ask for the rails of the power chip."""
        return rail_watts(self._ask("pmic_read_adc"))

    def _ask(self, question: str) -> str:
        answer = self._system.run("vcgencmd", question.split())
        if answer is None or not answer.worked:
            raise SensorError(f"vcgencmd {question} does not answer")
        return answer.text

    def _number(self, question: str, pattern: str) -> float:
        match = re.search(pattern, self._ask(question))
        if match is None:
            raise SensorError(f"vcgencmd {question} does not print a number")
        return float(match[1])


class Throttling(ThrottleWatch):
    """The throttling bits: live ones, and sticky ones that were not set when the watch began."""

    name = "vcgencmd get_throttled"

    def __init__(self, system: System) -> None:
        self._system = system
        self._before = self._bits()

    @property
    def history(self) -> tuple[str, ...]:
        """What had happened since boot when the watch began."""
        return tuple(text for bit, text in _FLAGS.items() if self._before >> (bit + _STICKY) & 1)

    def read(self) -> frozenset[str]:
        """Return the live flags, and those that came and went unseen since the watch began."""
        try:
            bits = self._bits()
        except SensorError:
            return frozenset()
        new = (bits & ~self._before) >> _STICKY
        return frozenset(text for bit, text in _FLAGS.items() if (bits | new) >> bit & 1)

    def _bits(self) -> int:
        answer = self._system.run("vcgencmd", ["get_throttled"])
        if answer is None:
            raise SensorError("vcgencmd does not answer")
        return throttle_flags(answer.text)
