"""Verdicts in the registers of a Modbus TCP server, for a PLC.

docs/reference/line-outputs.md has the registers. The state is 0 (reject) at the start, on failure
and at the end. The heartbeat stands still when the process does, and a PLC must then reject.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgead.line import modbus
from edgead.line.errors import DisconnectedError
from edgead.line.outputs.base import Output
from edgead.line.verdict import Judged, State, Verdict

REJECT, GOOD, ANOMALY = 0, 1, 2

_WHAT = "the output modbus"


@dataclass(frozen=True)
class ModbusOptions(modbus.ServerOptions):
    """Server and times.

    Attributes:
        late_ms: A "good" that is later than this becomes a failure.
        commands: Whether the threshold can be written. Whoever reaches the server can then change
            what is rejected.
    """

    late_ms: float = 200.0
    commands: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.late_ms <= 0:
            raise ValueError("late_ms must be above 0")


class Modbus(Output):
    """Writes each verdict to the registers of one unit."""

    Options = ModbusOptions
    is_control = True

    def __init__(self, options: ModbusOptions, station: str) -> None:
        super().__init__(options, station)
        self.latest_s = options.late_ms / 1000
        self._server: modbus.Server | None = None
        self._last: Verdict | None = None
        self._state = REJECT
        self._heartbeat = 0
        self._counts: dict[State, int] = {"good": 0, "anomaly": 0, "failure": 0}

    def open(self) -> None:
        """Listen, in the rejecting state."""
        self._state = REJECT
        self._server = modbus.use(self.options, _WHAT)
        if self.options.commands and self.controlled is not None:
            self._unit(self._server).on_threshold = self.controlled.set_threshold
        self._write()

    def deliver(self, judged: Judged) -> None:
        """Write a verdict; all of its registers change at once."""
        verdict = judged.verdict
        self._last = verdict
        self._counts[verdict.state] += 1
        self._state = {"good": GOOD, "anomaly": ANOMALY, "failure": REJECT}[verdict.state]
        self._write()

    def fail(self, reason: str) -> None:
        """Write the rejecting state."""
        self._state = REJECT
        self._write()

    def recover(self) -> None:
        """Nothing: the next verdict ends the rejecting state."""

    def check(self) -> None:
        """Let the heartbeat go on."""
        if self._server is None or not self._server.is_alive:
            raise DisconnectedError("the Modbus server has ended; it is started again")
        self._write()

    def close(self) -> None:
        """Write the rejecting state and stop listening, unless others use the server."""
        server, self._server = self._server, None
        if server is not None:
            unit = self._unit(server)
            unit.registers = (REJECT, *unit.registers[1:])
            unit.on_threshold = None
            modbus.leave(server, self.options, _WHAT)

    def _unit(self, server: modbus.Server) -> modbus.Unit:
        return server.units[self.options.unit]

    def _write(self) -> None:
        if self._server is None or not self._server.is_alive:
            raise DisconnectedError("the Modbus server has ended; it is started again")
        self._heartbeat = (self._heartbeat + 1) & 0xFFFF
        last = self._last
        score = math.nan if last is None or last.score is None else last.score
        threshold = math.nan if last is None or last.threshold is None else last.threshold
        words = (
            self._state,
            self._heartbeat,
            *modbus.words_of_count(0 if last is None else last.number),
            *modbus.words_of_float(score),
            *modbus.words_of_float(threshold),
            *modbus.words_of_count(self._counts["good"]),
            *modbus.words_of_count(self._counts["anomaly"]),
            *modbus.words_of_count(self._counts["failure"]),
            0 if last is None else min(len(last.regions), 0xFFFF),
        )
        padding = (0,) * (modbus.REGISTERS - len(words))
        self._unit(self._server).registers = words + padding
