"""Each message on an MQTT topic is a part."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import Any

from edgead.line import mqtt
from edgead.line.triggers.base import Fire, Trigger

_RECONNECT_S = 1.0


@dataclass(frozen=True)
class MqttTriggerOptions(mqtt.BrokerOptions):
    """Broker and topic.

    Attributes:
        topic: Whatever is published there is a trigger, with any payload; retained messages are
            not. Empty: ``edgead/STATION/trigger``.
    """

    topic: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.topic:
            mqtt.checked_topic(self.topic)


class Mqtt(Trigger):
    """Connects again by itself; triggers that were published meanwhile are not seen."""

    Options = MqttTriggerOptions

    def __init__(self, options: MqttTriggerOptions, station: str) -> None:
        super().__init__(options, station)
        self._topic = options.topic or f"edgead/{station}/trigger"
        self._fault: str | None = None
        self._ending = threading.Event()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._fire: Fire = lambda: False

    def start(self, fire: Fire) -> None:
        """Connect in a thread. A broker that is not there yet is a fault until it is."""
        self._fire = fire
        mqtt.client(self.options, "the trigger mqtt")  # what is missing is said now
        self._fault = mqtt.absence(self.options, "not connected yet")
        self._thread = threading.Thread(target=self._run, name="edgead mqtt trigger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect and end the thread."""
        self._ending.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join(2 * mqtt.CONNECT_S)

    def fault(self) -> str | None:
        """Say why no message can come."""
        return self._fault

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._listen()
            except Exception as error:  # whatever it is, the next try may work
                self._fault = mqtt.absence(self.options, error)
            self._ending.wait(_RECONNECT_S)

    def _listen(self) -> None:
        """Connect and stay until the connection is lost."""
        client = mqtt.client(self.options, "the trigger mqtt")
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = lambda *_: self._changed.set()
        self._changed.clear()
        client.connect(self.options.host, self.options.port, self.options.keepalive_s)
        client.loop_start()
        try:
            while not self._ending.is_set() and not self._changed.is_set():
                self._changed.wait(_RECONNECT_S)
        finally:
            if self._fault is None:
                self._fault = mqtt.absence(self.options, "the connection is lost")
            with contextlib.suppress(Exception):
                client.disconnect()
            client.loop_stop()

    # What follows is called by paho's thread.

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, props: Any) -> None:
        if reason.is_failure:
            self._fault = mqtt.refusal(self.options, reason)
            self._changed.set()
        else:
            client.subscribe(self._topic, qos=2)  # once each, where the sender asks for it too

    def _on_subscribe(self, client: Any, data: Any, mid: int, reasons: Any, props: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._fault = f"the broker at {self.options.where} refuses the topic of the trigger"
        else:
            self._fault = None

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        if not message.retain:
            self._fire()
