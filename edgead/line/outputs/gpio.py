"""Verdicts as pulses on GPIO lines: a gate, a light stack, an input of a PLC.

"Good" is what is signalled: without a pulse a part is rejected. A process that was killed, a cable
that broke and a computer without power give no pulse. The receiver must let one part pass for each
rising edge, and not for as long as the line is high: some drivers keep the level of a line when its
process is killed.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

from edgead.line import gpio
from edgead.line.errors import OutputError
from edgead.line.outputs.base import Output
from edgead.line.verdict import Judged, State

LONGEST_PULSE_MS = 1000.0


@dataclass(frozen=True)
class GpioOptions:
    """Lines and times.

    Attributes:
        good: Line that is pulsed for a good part: its offset at the chip, or its name.
        anomaly: Line that is pulsed for an anomaly.
        failure: Line that is pulsed where nothing could be judged, and active for as long as the
            station fails.
        chip: The device.
        pulse_ms: How long a pulse lasts. Parts must come less often.
        delay_ms: From the verdict to the pulse: the way of a part from the camera to the gate.
        late_ms: A "good" that is later than this becomes a failure.
        active_low: Whether an active line is at low voltage.
    """

    good: int | str
    anomaly: int | str | None = None
    failure: int | str | None = None
    chip: str = "/dev/gpiochip0"
    pulse_ms: float = 50.0
    delay_ms: float = 0.0
    late_ms: float = 200.0
    active_low: bool = False

    def __post_init__(self) -> None:
        used = [line for line in (self.good, self.anomaly, self.failure) if line is not None]
        if len(set(used)) < len(used):
            raise ValueError("good, anomaly and failure must be different lines")
        if not 0 < self.pulse_ms <= LONGEST_PULSE_MS:
            raise ValueError(f"pulse_ms must be above 0 and at most {LONGEST_PULSE_MS:g}")
        if self.delay_ms < 0 or self.late_ms <= 0:
            raise ValueError("delay_ms must be at least 0, and late_ms above 0")


class Gpio(Output):
    """One pulse for each verdict."""

    Options = GpioOptions
    is_control = True

    def __init__(self, options: GpioOptions, station: str) -> None:
        super().__init__(options, station)
        self.delay_s = options.delay_ms / 1000
        self.latest_s = options.late_ms / 1000
        given = {"good": options.good, "anomaly": options.anomaly, "failure": options.failure}
        self._lines = {state: line for state, line in given.items() if line is not None}
        self._request: Any = None
        self._is_failing = True

    def open(self) -> None:
        """Take the lines: the line for failures is active, the others are not."""
        package = gpio.gpiod("the output gpio")
        line = package.line
        self._on, self._off = line.Value.ACTIVE, line.Value.INACTIVE
        settings = {
            name: package.LineSettings(
                direction=line.Direction.OUTPUT,
                active_low=self.options.active_low,
                output_value=self._on if state == "failure" else self._off,
            )
            for state, name in self._lines.items()
        }
        self._is_failing = True
        self._request = gpio.request(package, self.options.chip, settings)

    def deliver(self, judged: Judged) -> None:
        """Pulse the line of the verdict."""
        if judged.verdict.state != "failure":  # those come while the station fails, too
            self._is_failing = False
        self._set(judged.verdict.state)
        time.sleep(self.options.pulse_ms / 1000)
        self._set(None)

    def fail(self, reason: str) -> None:
        """Activate the line for failures until the station judges again."""
        self._is_failing = True
        self._set(None)

    def recover(self) -> None:
        """Release the line for failures."""
        self._is_failing = False
        self._set(None)

    def close(self) -> None:
        """Activate the line for failures, and give all of them back."""
        request, self._request = self._request, None
        if request is None:
            return
        with contextlib.suppress(OSError):
            request.set_values(self._values("failure"))
        with contextlib.suppress(OSError):
            request.release()

    def _set(self, state: State | None) -> None:
        """Activate the line of one state; ``None`` for the time between pulses."""
        if state is None and self._is_failing:
            state = "failure"
        try:
            self._request.set_values(self._values(state))
        except OSError as error:
            raise OutputError(f"a line of {self.options.chip} cannot be set: {error}") from error

    def _values(self, state: State | None) -> dict[int | str, Any]:
        return {line: self._on if own == state else self._off for own, line in self._lines.items()}
