"""A Modbus TCP server: one for each address, shared by outputs and triggers.

Its registers are a tuple that a station replaces as a whole, so that one request never reads half
of one verdict and half of the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgead.errors import EdgeadError, MissingDependencyError, UsageError
from edgead.line.errors import OutputError
from edgead.printable import printable

UNITS = 16
"""Unit numbers that a server has, from 1."""

REGISTERS = 32
THRESHOLD_REGISTER = 100
"""Holding registers 100 and 101 take a threshold, where commands are allowed."""

_WITHOUT_BUS = 255
"""By this number controllers address a server that has no bus behind it. 0 is not used: pymodbus
would answer with it for every number that is not there."""

_BLOCK = THRESHOLD_REGISTER + 2
_START_S = 5.0
_SETTLE_S = 0.02
_READ_COILS, _READ_REGISTERS, _WRITE_COILS, _WRITE_MANY = (1,), (3, 4), (5, 15), 16
"""Function codes of Modbus."""


@dataclass(frozen=True)
class ServerOptions:
    """Where the server listens.

    Attributes:
        host: Address of the network interface; ``0.0.0.0`` for all. Modbus knows no passwords:
            whoever reaches the address can read, and trigger.
        port: 502 is Modbus' own, and needs a privilege (``AmbientCapabilities``).
        unit: Number of the station at this server.
    """

    host: str = "127.0.0.1"
    port: int = 502
    unit: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ValueError("port must be from 1 to 65535")
        if not 1 <= self.unit <= UNITS:
            raise ValueError(f"unit must be from 1 to {UNITS}")


class Unit:
    """What one station has at the server.

    Attributes:
        registers: Values that are read, 16 bits each.
        on_coil: Called for each rising edge of coil 0; ``None`` where there is no such trigger.
        on_threshold: Called with a threshold that was written.
    """

    def __init__(self) -> None:
        self.registers: tuple[int, ...] = (0,) * REGISTERS
        self.on_coil: Callable[[], object] | None = None
        self.on_threshold: Callable[[float], None] | None = None
        self._coil = False

    def write_coil(self, value: bool) -> None:
        """Take the value of coil 0."""
        was, self._coil = self._coil, value
        if value and not was and self.on_coil is not None:
            self.on_coil()

    @property
    def coil(self) -> bool:
        """The value of coil 0 as it was last written."""
        return self._coil


class Server:
    """Listens in a thread of its own, for as long as someone uses it."""

    def __init__(self, host: str, port: int, what: str) -> None:
        self.units = {number: Unit() for number in range(1, UNITS + 1)}
        self.taken: set[tuple[int, str]] = set()  # units, and what uses them
        self._where = f"{printable(host)}:{port}"
        self._address = (host, port)
        self._what = what
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._server: Any = None
        self._thread = threading.Thread(target=self._run, name="edgead modbus", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            MissingDependencyError: pymodbus is missing.
            OutputError: The address is in use or not of this machine.
        """
        try:
            import pymodbus.server
            import pymodbus.simulator  # noqa: F401
        except ImportError as error:
            self._loop.close()
            raise MissingDependencyError(self._what, "pymodbus", "line") from error
        try:
            with socket.create_server(self._address):
                pass  # pymodbus says only that it could not
        except OSError as error:
            self._loop.close()
            raise OutputError(
                f"the Modbus server cannot listen at {self._where} ({_reason(error)}): "
                "end the program that uses the port, or choose another host or port"
            ) from error
        self._thread.start()
        if not self._ready.wait(_START_S) or self._error is not None:
            self.stop()
            raise OutputError(f"the Modbus server cannot listen at {self._where}: {self._error}")

    def stop(self) -> None:
        """End; connections are closed."""
        if self._thread.ident is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join(_START_S)

    @property
    def is_alive(self) -> bool:
        """Whether it listens."""
        return self._thread.is_alive()

    def _end(self) -> None:
        if self._server is not None and not self._server.serving.done():
            self._server.serving.set_result(True)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            with contextlib.suppress(Exception):
                pending = asyncio.all_tasks(self._loop)
                for task in pending:
                    task.cancel()
                self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.close()

    async def _serve(self) -> None:
        from pymodbus.server import ModbusTcpServer

        # A stranger's requests would fill the log.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        devices = [_device(number, unit) for number, unit in self.units.items()]
        devices.append(_device(_WITHOUT_BUS, self.units[1]))
        self._server = ModbusTcpServer(devices, address=self._address)
        await self._server.serve_forever(background=True)
        self._ready.set()
        await self._server.serving
        # A connection that is being accepted while the server closes would stay open.
        for listening in self._server.transport.sockets:
            self._loop.remove_reader(listening.fileno())
        await asyncio.sleep(_SETTLE_S)
        await self._server.shutdown()
        await asyncio.sleep(_SETTLE_S)


_servers: dict[tuple[str, int], Server] = {}
_lock = threading.Lock()


def use(options: ServerOptions, what: str) -> Server:
    """Return the server of an address, started; :func:`leave` follows.

    Args:
        options: The address.
        what: What needs it, such as ``the output modbus``.

    Raises:
        EdgeadError: As :meth:`Server.start`; or two of the same kind want one unit, and a
            controller would read the verdicts of one station as those of the other.
    """
    address, use = (options.host, options.port), (options.unit, what)
    with _lock:
        server = _servers.get(address)
        if server is None or not server.is_alive:
            server = Server(*address, what)
            server.start()
            _servers[address] = server
        if use in server.taken:
            raise OutputError(
                f"{what} of another station has unit {options.unit} at {printable(options.host)}:"
                f"{options.port} already: give each station its own unit"
            )
        server.taken.add(use)
        return server


def leave(server: Server, options: ServerOptions, what: str) -> None:
    """Say that what :func:`use` was given uses a server no more; without users it ends."""
    with _lock:
        server.taken.discard((options.unit, what))
        if server.taken:
            return
        for address, one in list(_servers.items()):
            if one is server:
                del _servers[address]
        server.stop()


def _reason(error: OSError) -> str:
    """Say what the system refused; asyncio and socket add the address to it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def words_of_float(value: float) -> tuple[int, int]:
    """Return a float32 as two registers, the high word first."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def words_of_count(value: int) -> tuple[int, int]:
    """Return an unsigned 32-bit count as two registers, the high word first; it wraps around."""
    return (value >> 16) & 0xFFFF, value & 0xFFFF


def _device(number: int, unit: Unit) -> Any:
    from pymodbus.simulator import DataType, SimData, SimDevice

    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    words = [SimData(0, count=_BLOCK, values=0, datatype=DataType.REGISTERS)]
    blocks = (bits, list(bits), words, list(words))
    return SimDevice(number, simdata=blocks, action=functools.partial(_answer, unit))


async def _answer(
    unit: Unit,
    function: int,
    start: int,
    address: int,
    count: int,
    current: list[int],
    written: list[int] | list[bool] | None,
) -> Any:
    """Answer one request; pymodbus gives its registers to be changed, and what was written."""
    from pymodbus.constants import ExcCodes

    if function in _READ_REGISTERS:
        current[:REGISTERS] = unit.registers
    elif function in _READ_COILS:
        current[0] = int(unit.coil)
    elif function in _WRITE_COILS and written and address == 0:
        if unit.on_coil is None:
            return ExcCodes.ILLEGAL_ADDRESS
        unit.write_coil(bool(written[0]))
    elif (
        function == _WRITE_MANY and written and address == THRESHOLD_REGISTER and len(written) == 2
    ):
        if unit.on_threshold is None:
            return ExcCodes.ILLEGAL_ADDRESS
        (value,) = struct.unpack(">f", struct.pack(">HH", *written))
        try:
            unit.on_threshold(value)
        except UsageError:
            return ExcCodes.ILLEGAL_VALUE
        except EdgeadError:
            return ExcCodes.DEVICE_FAILURE
    elif written:
        return ExcCodes.ILLEGAL_ADDRESS
    return None
