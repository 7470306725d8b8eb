"""Tells systemd that the service is ready, alive, and what it does: sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

from edgead.printable import printable

_MOST_CHARACTERS = 500


class Notifier:
    """Sends datagrams to the socket of the service manager; does nothing where there is none.

    Args:
        environment: With ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``; ``None`` for the process's.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = os.environ if environment is None else environment
        address = found.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        period = found.get("WATCHDOG_USEC", "")
        # A third: one late message must not end the service.
        self._every_s = int(period) / 3e6 if period.isdecimal() and int(period) else None
        self._alive_at = 0.0
        self._status = ""

    def ready(self) -> None:
        """Say that the service has started."""
        self._send("READY=1")

    def alive(self) -> None:
        """Reset the watchdog, where there is one; often enough, however often this is called."""
        now = time.monotonic()
        if self._every_s is not None and now - self._alive_at >= self._every_s:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say what the service does, if that has changed; ``systemctl status`` shows it."""
        line = printable(text)[:_MOST_CHARACTERS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),  # a manager that went away is no fault of the line
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        ):
            channel.settimeout(0.1)
            channel.sendto(message.encode(), self._address)
