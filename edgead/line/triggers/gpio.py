"""An edge of a GPIO line: a light barrier, a button, an output of a PLC."""

from __future__ import annotations

import os
import select
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from edgead.line import gpio
from edgead.line.triggers.base import Fire, Trigger


@dataclass(frozen=True)
class GpioTriggerOptions:
    """An input.

    Attributes:
        line: Offset on the chip, or name as ``gpioinfo`` shows it.
        chip: The device.
        edge: ``rising``, ``falling``, or ``both``.
        bias: Pull resistor: ``up``, ``down``, ``off``, or ``as-is``.
        debounce_ms: Edges that follow within it are one; by the kernel.
        dead_ms: Edges that follow within it after a trigger are none.
    """

    line: int | str
    chip: str = "/dev/gpiochip0"
    edge: Literal["rising", "falling", "both"] = "rising"
    bias: Literal["up", "down", "off", "as-is"] = "as-is"
    debounce_ms: float = 1.0
    dead_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("debounce_ms", "dead_ms"):
            value = getattr(self, name)
            if not 0 <= value <= 60_000:
                raise ValueError(f"{name} must be from 0 to 60000, not {value:g}")


class Gpio(Trigger):
    """Waits for edges of a line in a thread of its own."""

    Options = GpioTriggerOptions

    def __init__(self, options: GpioTriggerOptions, station: str) -> None:
        super().__init__(options, station)
        self._request: Any = None
        self._thread: threading.Thread | None = None
        self._waking: tuple[int, int] | None = None
        self._fault: str | None = None

    def start(self, fire: Fire) -> None:
        """Take the line and begin to wait for edges."""
        package = gpio.gpiod("the trigger gpio")
        line = package.line
        biases = {
            "up": line.Bias.PULL_UP,
            "down": line.Bias.PULL_DOWN,
            "off": line.Bias.DISABLED,
            "as-is": line.Bias.AS_IS,
        }
        settings = package.LineSettings(
            direction=line.Direction.INPUT,
            edge_detection=getattr(line.Edge, self.options.edge.upper()),
            bias=biases[self.options.bias],
            debounce_period=timedelta(milliseconds=self.options.debounce_ms),
        )
        self._request = gpio.request(package, self.options.chip, {self.options.line: settings})
        self._waking = os.pipe()
        self._thread = threading.Thread(
            target=self._run, args=(fire,), name=f"edgead-{self.station}-gpio", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread and release the line."""
        waking, self._waking = self._waking, None
        if waking is None or self._thread is None:
            return
        os.write(waking[1], b".")
        self._thread.join()
        self._request.release()
        for descriptor in waking:
            os.close(descriptor)

    def fault(self) -> str | None:
        """Say why no edge can be seen."""
        return self._fault

    def _run(self, fire: Fire) -> None:
        assert self._waking is not None
        poll = select.poll()
        poll.register(self._request.fd, select.POLLIN)
        poll.register(self._waking[0], select.POLLIN)
        last = -self.options.dead_ms
        try:
            while True:
                ready = {descriptor for descriptor, _ in poll.poll()}
                if self._waking is None or self._waking[0] in ready:
                    return
                for _ in self._request.read_edge_events():
                    now = time.monotonic() * 1e3
                    if now - last >= self.options.dead_ms:
                        last = now
                        fire()
        except Exception as error:  # the chip is gone
            self._fault = f"the trigger gpio does not see the line any more: {error}"
