"""A connection to an MQTT broker through Eclipse paho, for the trigger and the output."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import files
from edgead.errors import EdgeadError, MissingDependencyError
from edgead.printable import printable

CONNECT_S = 2.0
"""Seconds in which a broker must accept a connection, and acknowledge a message."""

MOST_PAYLOAD_BYTES = 256
"""A longer command is refused unread."""


@dataclass(frozen=True)
class BrokerOptions:
    """How the broker is reached.

    Attributes:
        host: Its name or address.
        port: 1883, or 8883 with TLS.
        username: Empty for a broker that asks for none.
        password_file: A file whose one line is the password.
        tls: Whether the connection is encrypted and the broker's certificate checked.
        ca_file: Certificates (PEM) to check the broker's with; else those of the system.
        keepalive_s: The broker publishes the last will when it hears nothing for one and a half
            times so long.
    """

    host: str = "localhost"
    port: int = 1883
    username: str = ""
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    keepalive_s: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ValueError("port must be from 1 to 65535")
        if not 1 <= self.keepalive_s <= 3600:
            raise ValueError("keepalive_s must be from 1 to 3600")

    @property
    def where(self) -> str:
        """The broker's address, for messages."""
        return f"{printable(self.host)}:{self.port}"


def checked_topic(topic: str) -> str:
    """Return a topic that can be published to.

    Raises:
        ValueError: It cannot.
    """
    if not topic or "+" in topic or "#" in topic or "\0" in topic or len(topic.encode()) > 1000:
        raise ValueError("the topic must have 1 to 1000 bytes, and neither '+' nor '#' in it")
    return topic


def client(options: BrokerOptions, what: str) -> Any:
    """Return a ``paho.mqtt.client.Client`` that is not connected yet and does not reconnect.

    Args:
        options: The broker.
        what: What needs it, such as ``the output mqtt``.

    Raises:
        MissingDependencyError: paho is missing.
        EdgeadError: The password or the certificates cannot be read.
    """
    try:
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise MissingDependencyError(what, "paho-mqtt", "line") from error
    made = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    made.connect_timeout = CONNECT_S
    made.suppress_exceptions = True
    if options.username:
        made.username_pw_set(options.username, _password(options.password_file))
    if options.tls:
        try:
            made.tls_set(None if options.ca_file is None else str(options.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise EdgeadError(f"the certificates {options.ca_file} cannot be read: {error}") from (
                error
            )
    return made


def refusal(options: BrokerOptions, reason: Any) -> str:
    """Say that the broker refused a connection (a ``ReasonCode`` of paho)."""
    return (
        f"the broker at {options.where} refuses the connection ({printable(str(reason))}): check "
        "username and password_file"
    )


def absence(options: BrokerOptions, error: object) -> str:
    """Say that nobody answers at the broker's address."""
    return f"no broker answers at {options.where} ({printable(str(error))}): check host and port"


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return files.read_regular(path, 4096).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeadError(f"the password file {path} cannot be read: {error}") from error
