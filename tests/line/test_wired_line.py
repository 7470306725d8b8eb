"""A whole line in a process of its own: a PLC, a broker and a browser on the other side."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("paho.mqtt.client")
pytest.importorskip("pymodbus.simulator")
pytest.importorskip("starlette")
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from edgead.artifact import Artifact
from tests.conftest import part
from tests.line import broker
from tests.line.judged import until
from tests.line.parts import THRESHOLD

_TOKEN = "a-token-of-the-test"


@contextlib.contextmanager
def running(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "edgead", "run", str(path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "EDGEAD_TOKEN": _TOKEN}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def asked(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {_TOKEN}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def is_served(port: int) -> bool:
    with contextlib.suppress(OSError):
        return asked(port, "GET", "/api/stations")[0] == 200
    return False


def registers(client: ModbusTcpClient) -> list[int] | None:
    """What a PLC sees; ``None`` while it has no connection."""
    try:
        answer = client.read_input_registers(0, count=8) if client.connect() else None
    except ModbusException:
        return None
    return None if answer is None or answer.isError() else answer.registers


def test_triggers_verdicts_page_and_broker(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "part.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (90, 70)
    )
    for seed in range(4):
        writer.write(part(seed, defect=seed % 2 == 1))
    writer.release()
    plc_port, page_port = broker.free_port(), broker.free_port()
    with broker.running(tmp_path) as mosquitto, broker.listening(mosquitto.port) as listener:
        path = tmp_path / "line.toml"
        path.write_text(
            f"""
            [serve]
            address = "127.0.0.1:{page_port}"
            [[station]]
            name = "left"
            artifact = "{tiny_artifact().path.name}"
            threshold = {THRESHOLD}
            threads = 1
            late_ms = 5000
            source = {{ kind = "video", path = "part.avi", loop = true }}
            trigger = {{ kind = "modbus", port = {plc_port} }}
            [[station.output]]
            kind = "modbus"
            port = {plc_port}
            late_ms = 5000
            [[station.output]]
            kind = "mqtt"
            host = "127.0.0.1"
            port = {mosquitto.port}
            commands = true
            """
        )
        client = ModbusTcpClient("127.0.0.1", port=plc_port, retries=0)
        with running(path) as process:
            until(lambda: registers(client), 60)
            until(lambda: listener.of("edgead/left/state"), 60)
            states = []
            for number in range(1, 5):
                for value in (True, False):
                    assert not client.write_coil(0, value).isError()
                seen = until(lambda at=number: (it := registers(client)) and it[3] == at and it)
                states.append(seen[0])
            assert states == [1, 2, 1, 2]
            assert struct.unpack(">f", struct.pack(">HH", *seen[6:8]))[0] == pytest.approx(
                THRESHOLD
            )
            sent = until(
                lambda: (
                    len(listener.of("edgead/left/verdict")) == 4
                    and listener.of("edgead/left/verdict")
                )
            )
            assert [one["accept"] for one in sent] == [True, False, True, False]

            until(lambda: is_served(page_port), 60)
            code, shown = asked(page_port, "GET", "/api/stations/left")
            assert (code, shown["verdicts"]["anomaly"], shown["can_trigger"]) == (200, 2, False)
            assert asked(page_port, "GET", "/health")[0] == 200
            assert asked(page_port, "POST", "/api/stations/left/trigger", {})[0] == 409
            assert asked(page_port, "POST", "/api/stations/left/threshold", {"value": 9})[0] == 200
            client.write_coil(0, True)
            client.write_coil(0, False)
            assert until(lambda: (it := registers(client)) and it[3] == 5 and it)[0] == 1
            listener.publish("edgead/left/set/threshold", str(THRESHOLD))
            until(
                lambda: asked(page_port, "GET", "/api/stations/left")[1]["threshold"] == THRESHOLD
            )

            process.send_signal(signal.SIGKILL)
            process.wait()
        until(lambda: listener.of("edgead/left/state")[-1]["state"] == "offline")
        assert registers(client) is None
        with running(path) as process:
            assert until(lambda: registers(client), 60)[0] == 0, "it starts rejecting"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, 143)
        client.close()
