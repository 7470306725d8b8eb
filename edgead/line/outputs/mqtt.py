"""Verdicts as JSON to an MQTT broker, with a retained state, a last will and commands.

docs/reference/line-outputs.md has the topics and their JSON.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from edgead import notices
from edgead.errors import EdgeadError
from edgead.line import mqtt
from edgead.line.control import Controlled
from edgead.line.errors import DisconnectedError, OutputError
from edgead.line.outputs.base import Output
from edgead.line.outputs.states import Working, state_json
from edgead.line.verdict import Judged

_QOS = 1
_MOST_SHOWN = 100
_LEAST_BETWEEN_WARNINGS_S = 1.0


@dataclass(frozen=True)
class MqttOptions(mqtt.BrokerOptions):
    """Broker, topics and commands.

    Attributes:
        topic: The first part of all topics; the name of the station follows.
        commands: Whether threshold and recipe can be set by messages. Whoever may publish at the
            broker can then change what is rejected.
    """

    topic: str = "edgead"
    commands: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        mqtt.checked_topic(self.topic)


class Mqtt(Output):
    """Publishes each verdict, and what the station does at present."""

    Options = MqttOptions

    def __init__(self, options: MqttOptions, station: str) -> None:
        super().__init__(options, station)
        self._base = f"{options.topic.rstrip('/')}/{station}"
        self._client: Any = None
        self._connected = threading.Event()
        self._refusal: str | None = None
        self._state: tuple[Working, str | None] = ("starting", None)
        self._in_use: tuple[float | None, str] | None = None  # threshold and artifact, as published
        self._warned_at = -_LEAST_BETWEEN_WARNINGS_S

    def open(self) -> None:
        """Connect; the broker publishes "offline" as soon as it loses this process."""
        self._connected.clear()
        self._refusal = None
        client = mqtt.client(self.options, "the output mqtt")
        will = state_json(self.station, "offline", "the process ended or lost the broker")
        client.will_set(f"{self._base}/state", json.dumps(will), _QOS, retain=True)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        self._client = client
        try:
            client.connect(self.options.host, self.options.port, self.options.keepalive_s)
        except (OSError, ValueError) as error:
            raise DisconnectedError(mqtt.absence(self.options, error)) from error
        client.loop_start()
        if not self._connected.wait(mqtt.CONNECT_S):
            raise DisconnectedError(mqtt.absence(self.options, "no answer within 2 s"))
        if self._refusal is not None:
            raise DisconnectedError(self._refusal)
        self._publish_state("starting")

    def deliver(self, judged: Judged) -> None:
        """Publish a verdict, and wait until the broker has it."""
        verdict = judged.verdict
        in_use = verdict.threshold, verdict.artifact
        if verdict.state != "failure" and (self._state[0] == "starting" or self._in_use != in_use):
            self._in_use = in_use
            self._publish_state("judging")
        self._publish("verdict", verdict.to_json(), retain=False)

    def fail(self, reason: str) -> None:
        """Publish that nothing is judged."""
        self._publish_state("failing", reason)

    def recover(self) -> None:
        """Publish that the station judges."""
        self._publish_state("judging")

    def check(self) -> None:
        """See whether the broker is there, and publish a threshold that was changed meanwhile."""
        if self._client is None or not self._client.is_connected():
            raise DisconnectedError(mqtt.absence(self.options, "the connection is lost"))
        if self.controlled is not None:
            status = self.controlled.status()
            if self._in_use is not None and self._in_use != (status.threshold, status.artifact):
                self._in_use = status.threshold, status.artifact
                self._publish_state(*self._state)

    def close(self) -> None:
        """Publish "offline" and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(Exception):
            if client.is_connected():
                state = json.dumps(state_json(self.station, "offline", "the line was ended"))
                sent = client.publish(f"{self._base}/state", state, _QOS, retain=True)
                sent.wait_for_publish(0.5)
            client.disconnect()
        with contextlib.suppress(Exception):
            client.loop_stop()

    def _publish_state(self, state: Working, reason: str | None = None) -> None:
        self._state = state, reason
        values = state_json(self.station, state, reason)
        if self.controlled is not None:
            status = self.controlled.status()
            values |= {
                "threshold": status.threshold,
                "artifact": status.artifact,
                "artifact_sha256": status.artifact_sha256,
                "recipes": list(status.recipes),
                "verdicts": status.verdicts,
            }
        self._publish("state", values, retain=True)

    def _publish(self, topic: str, values: dict[str, Any], retain: bool) -> None:
        client = self._client
        if client is None or not client.is_connected():
            raise DisconnectedError(mqtt.absence(self.options, "the connection is lost"))
        sent = client.publish(f"{self._base}/{topic}", json.dumps(values), _QOS, retain)
        try:
            sent.wait_for_publish(mqtt.CONNECT_S)
        except (RuntimeError, ValueError) as error:
            raise DisconnectedError(mqtt.absence(self.options, error)) from error
        if not sent.is_published():
            raise DisconnectedError(
                mqtt.absence(self.options, "a message was not acknowledged within 2 s")
            )

    # What follows is called by paho's thread.

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, props: Any) -> None:
        if reason.is_failure:
            self._refusal = mqtt.refusal(self.options, reason)
        elif self.options.commands:
            client.subscribe(f"{self._base}/set/+", _QOS)
        self._connected.set()

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        command = message.topic.rpartition("/")[2]
        answer: dict[str, Any] = {"command": command, "done": True, "error": None}
        try:
            self._obey(command, message)
        except EdgeadError as error:
            answer |= {"done": False, "error": str(error)}
            self._warn(f"MQTT command {message.topic[:_MOST_SHOWN]!r}: {error}")
        except Exception as error:  # whatever a message holds, paho's thread goes on
            answer |= {"done": False, "error": f"{type(error).__name__}: {error}"}
            self._warn(f"MQTT command {message.topic[:_MOST_SHOWN]!r}: {answer['error']}")
        client.publish(f"{self._base}/answer", json.dumps(answer), _QOS)

    def _obey(self, command: str, message: Any) -> None:
        if message.retain:
            raise OutputError("a retained message is not obeyed: publish commands without retain")
        text = _text(message.payload)
        station = self._bound()
        if command == "threshold":
            station.set_threshold(_number(text))
        elif command == "recipe":
            station.switch(text)
        else:
            raise OutputError("there is no such command; there are threshold and recipe")

    def _bound(self) -> Controlled:
        if self.controlled is None:
            raise OutputError("the station takes no commands")
        return self.controlled

    def _warn(self, text: str) -> None:
        now = time.monotonic()
        if now - self._warned_at >= _LEAST_BETWEEN_WARNINGS_S:  # nobody fills the log
            self._warned_at = now
            notices.warn(text)


def _text(payload: bytes) -> str:
    if len(payload) > mqtt.MOST_PAYLOAD_BYTES:
        raise OutputError(
            f"the payload has {len(payload)} bytes (limit: {mqtt.MOST_PAYLOAD_BYTES})"
        )
    try:
        return payload.decode().strip()
    except UnicodeDecodeError as error:
        raise OutputError("the payload is not UTF-8") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise OutputError(f"{text[:_MOST_SHOWN]!r} is not a number") from error
