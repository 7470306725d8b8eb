from __future__ import annotations

import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("pymodbus.simulator")
from pymodbus.client import ModbusTcpClient

from edgead.line import modbus
from edgead.line.delivery import Delivery
from edgead.line.errors import OutputError
from edgead.line.outputs.modbus import Modbus, ModbusOptions
from edgead.line.triggers.modbus import Modbus as ModbusTrigger
from tests.line.broker import free_port
from tests.line.judged import anomaly, failure, good, until
from tests.line.stations import Stand

_STATE, _HEARTBEAT = 0, 1


@contextmanager
def plc(port: int) -> Iterator[ModbusTcpClient]:
    client = ModbusTcpClient("127.0.0.1", port=port)
    assert client.connect()
    try:
        yield client
    finally:
        client.close()


def registers(client: ModbusTcpClient, unit: int = 1) -> list[int]:
    answer = client.read_input_registers(0, count=15, device_id=unit)
    assert not answer.isError()
    return answer.registers


def real(words: list[int]) -> float:
    return struct.unpack(">f", struct.pack(">HH", *words))[0]


def opened(port: int, station: Stand | None = None, **options: Any) -> Modbus:
    output = Modbus(ModbusOptions(port=port, **options), "left")
    if station is not None:
        output.bind(station)
    output.open()
    return output


def test_a_plc_reads_each_verdict_and_rejects_at_the_start_on_failure_and_at_the_end() -> None:
    port = free_port()
    output = opened(port)
    with plc(port) as client:
        first = registers(client)
        assert first[_STATE] == 0
        assert math.isnan(real(first[4:6]))
        seen = []
        for judged in (good(70_000), anomaly(70_001), failure(70_002)):
            output.deliver(judged)
            seen.append(registers(client))
        assert [words[_STATE] for words in seen] == [1, 2, 0]
        assert [words[2] << 16 | words[3] for words in seen] == [70_000, 70_001, 70_002]
        assert [real(words[4:6]) for words in seen[:2]] == [0.25, 0.75]
        assert real(seen[1][6:8]) == 0.5
        assert math.isnan(real(seen[2][4:6]))
        assert seen[2][8:14] == [0, 1, 0, 1, 0, 1]
        holding = client.read_holding_registers(0, count=15).registers
        assert holding == registers(client)
        assert client.read_input_registers(0, count=1, device_id=255).registers == [0]
        output.deliver(good(70_003))
        assert registers(client)[_STATE] == 1
        output.fail("no frame came")
        assert registers(client)[_STATE] == 0
        output.recover()
        assert registers(client)[_STATE] == 0  # not before the next verdict
        beat = registers(client)[_HEARTBEAT]
        output.check()
        assert registers(client)[_HEARTBEAT] == beat + 1
        output.deliver(good(70_004))
        output.close()
        output.close()
    assert not _listens(port)


def test_the_heartbeat_goes_on_without_parts() -> None:
    port = free_port()
    delivery = Delivery(Modbus(ModbusOptions(port=port), "left"), "output 1 (modbus)")
    delivery.start()
    until(lambda: delivery.status().waiting == 0 and _listens(port))
    with plc(port) as client:
        first = registers(client)[_HEARTBEAT]
        until(lambda: registers(client)[_HEARTBEAT] > first)
    delivery.stop()


def test_no_request_reads_half_of_a_verdict() -> None:
    port = free_port()
    output = opened(port)
    ending = threading.Event()

    def write() -> None:
        for number in range(1, 1_000_000):
            output.deliver(good(number, score=number / 16.0))
            if ending.wait(0.0001):
                return

    writer = threading.Thread(target=write)
    output.deliver(good(1, score=1 / 16.0))
    writer.start()
    with plc(port) as client:
        for _ in range(200):
            words = registers(client)
            assert real(words[4:6]) * 16 == (words[2] << 16 | words[3])
    ending.set()
    writer.join()
    output.close()


def test_each_rising_edge_of_the_coil_is_a_trigger_at_the_server_of_the_output() -> None:
    port = free_port()
    output = opened(port)
    fired: list[int] = []
    trigger = ModbusTrigger(modbus.ServerOptions(port=port, unit=2), "right")
    trigger.start(lambda: fired.append(1) is None)
    with plc(port) as client:
        for value in (True, True, False, True, False):
            assert not client.write_coil(0, value, device_id=2).isError()
        assert len(fired) == 2
        assert not client.write_coils(0, [True, True], device_id=2).isError()
        assert len(fired) == 3
        assert client.write_coil(0, True, device_id=1).isError()  # that station has no trigger
        assert client.write_coil(3, True, device_id=2).isError()
        with pytest.raises(OutputError, match="the output modbus of another station has unit 1"):
            opened(port)
        output.close()
        assert trigger.fault() is None
        assert not client.write_coil(0, False, device_id=2).isError()  # it is in use still
    trigger.stop()
    trigger.stop()
    assert not _listens(port)


def test_a_threshold_can_be_written_only_where_commands_are_allowed() -> None:
    for commands in (False, True):
        port = free_port()
        station = Stand()
        output = opened(port, station, commands=commands)
        with plc(port) as client:
            words = list(struct.unpack(">HH", struct.pack(">f", 0.75)))
            assert client.write_registers(100, words).isError() != commands
            assert station.shown.threshold == (0.75 if commands else 0.5)
            nan = list(struct.unpack(">HH", struct.pack(">f", math.nan)))
            assert client.write_registers(100, nan).isError()
            assert client.write_register(0, 1).isError()
            assert client.write_registers(0, [1, 2]).isError()
            assert registers(client)[_STATE] == 0
        output.close()


def test_a_port_in_use_is_one_sentence_and_the_output_works_when_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        output = Modbus(ModbusOptions(port=port), "left")
        with pytest.raises(OutputError) as refused:
            output.open()
        assert str(refused.value) == (
            f"the Modbus server cannot listen at 127.0.0.1:{port} (Address already in use): end "
            "the program that uses the port, or choose another host or port"
        )
        delivery = Delivery(output, "output 1 (modbus)")
        delivery.start()
        until(lambda: delivery.fault)
    until(lambda: delivery.fault is None and _listens(port))
    delivery.stop()


def test_garbage_at_the_port_does_no_harm() -> None:
    port = free_port()
    output = opened(port)
    for garbage in (b"\x00" * 300, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1000):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(garbage)
            time.sleep(0.02)
    output.deliver(good())
    with plc(port) as client:
        assert registers(client)[_STATE] == 1
    output.close()


@pytest.mark.parametrize("options", [{"port": 0}, {"unit": 0}, {"unit": 17}, {"late_ms": 0}])
def test_options_that_cannot_work_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        ModbusOptions(**options)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
