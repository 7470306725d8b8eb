from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client")

from edgead.errors import EdgeadError
from edgead.line.delivery import Delivery
from edgead.line.errors import OutputError
from edgead.line.outputs.mqtt import Mqtt, MqttOptions
from edgead.line.triggers.mqtt import Mqtt as MqttTrigger
from edgead.line.triggers.mqtt import MqttTriggerOptions
from tests.line import broker
from tests.line.judged import anomaly, failure, good, until
from tests.line.stations import Stand


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[broker.Broker]:
    with broker.running(tmp_path_factory.mktemp("mosquitto")) as running:
        yield running


@contextmanager
def delivering(port: int, station: Stand | None = None, **options: Any) -> Iterator[Delivery]:
    output = Mqtt(MqttOptions(host="127.0.0.1", port=port, **options), "left")
    if station is not None:
        output.bind(station)
    delivery = Delivery(output, "output 1 (mqtt)", "mqtt")
    delivery.start()
    try:
        yield delivery
    finally:
        assert delivery.stop(5)


def test_verdicts_and_the_retained_state(mosquitto: broker.Broker) -> None:
    topic = "plant/one"
    with broker.listening(mosquitto.port) as listener:
        state = f"{topic}/left/state"
        station = Stand()
        with delivering(mosquitto.port, station, topic=topic) as delivery:
            until(lambda: listener.of(state))
            assert listener.of(state)[0]["state"] == "starting"
            delivery.put(good(1, artifact=station.shown.artifact))
            delivery.put(anomaly(2, artifact=station.shown.artifact))
            sent = until(
                lambda: (
                    len(listener.of(f"{topic}/left/verdict")) == 2
                    and listener.of(f"{topic}/left/verdict")
                )
            )
            assert sent[0] == good(1).verdict.to_json()
            assert [one["accept"] for one in sent] == [True, False]
            delivery.fail("no frame came")
            delivery.put(failure(3))
            until(lambda: len(listener.of(f"{topic}/left/verdict")) == 3)
            last = listener.of(state)[-1]
            assert (last["state"], last["reason"]) == ("failing", "no frame came")
            assert last["recipes"] == ["part.onnx", "other.onnx"]
            delivery.recover()
            until(lambda: listener.of(state)[-1]["state"] == "judging")
            station.set_threshold(0.25)  # by the page: who listens gets it too
            until(lambda: listener.of(state)[-1]["threshold"] == 0.25)
        until(lambda: listener.of(state)[-1]["state"] == "offline")
        assert [one["state"] for one in listener.of(state)] == [
            *("starting", "judging", "failing", "judging", "judging", "offline")
        ]
    with broker.listening(mosquitto.port) as later:
        until(lambda: later.of(state))
        assert later.messages[-1][2], "the state is retained"


def test_a_killed_process_is_offline(mosquitto: broker.Broker) -> None:
    program = (
        "import os, signal\n"
        "from edgead.line.outputs.mqtt import Mqtt, MqttOptions\n"
        f"options = MqttOptions(host='127.0.0.1', port={mosquitto.port}, topic='killed')\n"
        "Mqtt(options, 'left').open()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with broker.listening(mosquitto.port) as listener:
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
        until(lambda: len(listener.of("killed/left/state")) == 2)
        assert [one["state"] for one in listener.of("killed/left/state")] == ["starting", "offline"]


def test_a_broker_that_comes_back_gets_what_waited(tmp_path: Path) -> None:
    with broker.running(tmp_path) as mosquitto, delivering(mosquitto.port) as delivery:
        delivery.put(good(1))
        until(lambda: delivery.status().done == 1)
        mosquitto.kill()
        until(lambda: delivery.fault)
        assert "no broker answers at 127.0.0.1" in str(delivery.fault)
        delivery.put(good(2))
        mosquitto.start()
        with broker.listening(mosquitto.port) as listener:
            until(lambda: listener.of("edgead/left/state"))
            until(lambda: delivery.status().done == 2)
            until(lambda: delivery.fault is None)
        assert delivery.status().lost == 0


def test_commands_are_obeyed_only_where_they_are_allowed(mosquitto: broker.Broker) -> None:
    for commands in (False, True):
        station = Stand()
        topic = f"commands-{commands}"
        with (
            broker.listening(mosquitto.port) as listener,
            delivering(mosquitto.port, station, topic=topic, commands=commands) as delivery,
        ):
            until(lambda topic=topic, seen=listener: seen.of(f"{topic}/left/state"))
            listener.publish(f"{topic}/left/set/threshold", "0.75")
            listener.publish(f"{topic}/left/set/recipe", "other.onnx")
            if commands:
                until(lambda shown=station: shown.shown.artifact == "other.onnx")
                assert station.shown.threshold == 0.75
                answers = until(
                    lambda topic=topic, seen=listener: (
                        len(seen.of(f"{topic}/left/answer")) == 2
                        and seen.of(f"{topic}/left/answer")
                    )
                )
                assert all(answer["done"] for answer in answers)
            else:
                delivery.put(good(1))
                until(lambda sent=delivery: sent.status().done)
                assert (station.shown.threshold, station.shown.artifact) == (0.5, "part.onnx")


def test_hostile_commands_change_nothing_and_inject_nothing(
    mosquitto: broker.Broker,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgead.line.outputs.mqtt._LEAST_BETWEEN_WARNINGS_S", 0.0)
    station = Stand()
    before = replace(station.shown)
    hostile: list[tuple[str, bytes | str]] = [
        ("threshold", "nan"),
        ("threshold", b"\xff\xfe"),
        ("threshold", b"1" * 100_000),
        ("threshold", "0.5\n2026-01-01 ERROR forged \x1b[2J"),
        ("threshold", "__import__('os').system('true')"),
        ("recipe", "../../etc/passwd\n\x1b]0;title\x07"),
        ("recipe", ""),
        ("<img src=x onerror=alert(1)>", "now"),  # control characters cost a client its connection
    ]
    with (
        broker.listening(mosquitto.port) as listener,
        delivering(mosquitto.port, station, topic="hostile", commands=True),
    ):
        until(lambda: listener.of("hostile/left/state"))
        listener.publish("hostile/left/set/threshold", "0.9", retain=True)
        listener.publish("hostile/left/set/threshold", b"", retain=True)
        for command, payload in hostile:
            listener.publish(f"hostile/left/set/{command}", payload)
        answers = until(
            lambda: (
                len(listener.of("hostile/left/answer")) >= 2 + len(hostile)
                and listener.of("hostile/left/answer")
            )
        )
    assert [answer["done"] for answer in answers[2:]] == [False] * len(hostile)
    assert replace(station.shown, threshold=0.5) == before
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) >= len(hostile)
    assert all(line.startswith("warning: MQTT command 'hostile/left/set/") for line in warnings)
    assert all(line.isprintable() and len(line) < 500 for line in warnings)


def test_a_retained_command_is_not_obeyed_at_every_start(mosquitto: broker.Broker) -> None:
    with broker.listening(mosquitto.port) as listener:
        listener.publish("kept/left/set/threshold", "0.9", retain=True)
        station = Stand()
        with delivering(mosquitto.port, station, topic="kept", commands=True):
            (answer,) = until(lambda: listener.of("kept/left/answer"))
        assert "retained" in answer["error"]
        assert station.shown.threshold == 0.5
        listener.publish("kept/left/set/threshold", b"", retain=True)


def test_a_broker_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    with broker.running(tmp_path, "allow_anonymous false\n") as mosquitto:
        password = tmp_path / "password"
        password.write_text("wrong\n")
        options = MqttOptions(
            host="127.0.0.1", port=mosquitto.port, username="edgead", password_file=password
        )
        output = Mqtt(options, "left")
        with pytest.raises(OutputError) as refused:
            output.open()
        output.close()
        assert str(refused.value) == (
            f"the broker at 127.0.0.1:{mosquitto.port} refuses the connection (Not authorized): "
            "check username and password_file"
        )
        trigger = MqttTrigger(MqttTriggerOptions(host="127.0.0.1", port=mosquitto.port), "left")
        trigger.start(lambda: True)
        until(lambda: "refuses" in str(trigger.fault()))
        trigger.stop()


# paho leaves a socket to the garbage collector when a certificate is not accepted.
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_an_encrypted_broker_is_used_only_with_its_certificate(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *files, *subject], check=True, capture_output=True)
    secret = tmp_path / "secret"
    secret.write_text("a long password\n")
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    hashed = ["mosquitto_passwd", "-b", str(passwords), "edgead", secret.read_text().strip()]
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    subprocess.run(hashed, check=True, capture_output=True)
    settings = (
        f"allow_anonymous false\npassword_file {passwords}\ncertfile {certificate}\nkeyfile {key}\n"
    )
    with broker.running(tmp_path, settings) as mosquitto:
        options = {"username": "edgead", "password_file": secret, "tls": True}
        with delivering(mosquitto.port, **options, ca_file=certificate) as delivery:
            delivery.put(good(1))
            until(lambda: delivery.status().done)
        with delivering(mosquitto.port, **options) as delivery:
            until(lambda: "certificate" in str(delivery.fault))
        for wrong in (tmp_path / "absent", secret):
            output = Mqtt(MqttOptions(**options, ca_file=wrong), "left")
            with pytest.raises(EdgeadError, match=f"the certificates {wrong} cannot be read"):
                output.open()


@pytest.mark.parametrize("topic", ["", "a/+", "#", "x" * 2000])
def test_topics_that_cannot_be_published_to_are_refused(topic: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        MqttOptions(topic=topic)


def test_each_message_is_one_trigger_also_after_the_broker_was_away(tmp_path: Path) -> None:
    fired: list[int] = []
    with broker.running(tmp_path) as mosquitto:
        trigger = MqttTrigger(MqttTriggerOptions(host="127.0.0.1", port=mosquitto.port), "left")
        trigger.start(lambda: fired.append(1) is None)
        assert "no broker answers" in str(trigger.fault()) or trigger.fault() is None
        until(lambda: trigger.fault() is None)
        with broker.listening(mosquitto.port) as listener:
            listener.publish("edgead/left/trigger", b"\xff whatever", retain=True)
            listener.publish("edgead/left/trigger", "")
            until(lambda: len(fired) == 2)
        mosquitto.kill()
        until(lambda: trigger.fault())
        mosquitto.start()
        until(lambda: trigger.fault() is None)
        with broker.listening(mosquitto.port) as listener:
            listener.publish("edgead/left/trigger", "")
            until(lambda: len(fired) == 3)
        trigger.stop()
        trigger.stop()
