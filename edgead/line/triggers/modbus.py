"""Each rising edge of coil 0 of a Modbus TCP server is a part."""

from __future__ import annotations

from edgead.line import modbus
from edgead.line.triggers.base import Fire, Trigger

_WHAT = "the trigger modbus"


class Modbus(Trigger):
    """Listens itself, or shares the server of an output at the same address."""

    Options = modbus.ServerOptions

    def __init__(self, options: modbus.ServerOptions, station: str) -> None:
        super().__init__(options, station)
        self._server: modbus.Server | None = None

    def start(self, fire: Fire) -> None:
        """Listen."""
        self._server = modbus.use(self.options, _WHAT)
        self._server.units[self.options.unit].on_coil = fire

    def stop(self) -> None:
        """Stop listening, unless others use the server."""
        server, self._server = self._server, None
        if server is not None:
            server.units[self.options.unit].on_coil = None
            modbus.leave(server, self.options, _WHAT)

    def fault(self) -> str | None:
        """Say that the server has ended."""
        if self._server is not None and not self._server.is_alive:
            return f"the Modbus server at {self.options.host}:{self.options.port} has ended"
        return None
