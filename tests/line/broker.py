"""A real MQTT broker for tests: Debian's mosquitto, started and killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.line.judged import until

_PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A mosquitto at a port of its own that can be killed and started again."""

    def __init__(self, folder: Path, settings: str = "allow_anonymous true\n") -> None:
        path = shutil.which("mosquitto") or shutil.which("mosquitto", path=_PLACES)
        if path is None:
            pytest.skip("mosquitto is not installed: apt-get install mosquitto")
        self._path = path
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        # Started by root, it would become a user who may not read files of the test.
        user = "user root\n" if os.geteuid() == 0 else ""
        self._config.write_text(
            f"{user}listener {self.port} 127.0.0.1\n{settings}persistence false\nlog_type none\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [self._path, "-c", str(self._config)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Listener:
    """Another client: what was published, by topic, and a way to publish."""

    def __init__(self, port: int, topic: str = "#", will: str | None = None) -> None:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, Any, bool]] = []
        ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(10)

    def _take(self, client: Any, data: Any, message: Any) -> None:
        values: Any = message.payload
        with contextlib.suppress(ValueError):
            values = json.loads(message.payload)
        self.messages.append((message.topic, values, message.retain))

    def of(self, topic: str) -> list[Any]:
        return [values for name, values, _ in self.messages if name == topic]

    def publish(self, topic: str, payload: bytes | str, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def running(folder: Path, settings: str = "allow_anonymous true\n") -> Iterator[Broker]:
    broker = Broker(folder, settings)
    try:
        yield broker
    finally:
        broker.kill()


@contextlib.contextmanager
def listening(port: int) -> Iterator[Listener]:
    listener = Listener(port)
    try:
        yield listener
    finally:
        listener.close()
