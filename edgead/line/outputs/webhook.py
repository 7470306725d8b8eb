"""Verdicts as JSON by HTTP POST.

The connection stays open between verdicts. No proxy is asked and no redirect followed: verdicts go
where the configuration says, or nowhere.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgead import files
from edgead.errors import EdgeadError
from edgead.line.errors import DisconnectedError, OutputError
from edgead.line.outputs.base import Output
from edgead.line.outputs.states import state_json
from edgead.line.verdict import Judged
from edgead.printable import printable

_FIRST_PAUSE_S = 0.1
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""


@dataclass(frozen=True)
class WebhookOptions:
    """Where verdicts are posted.

    Attributes:
        url: ``http://`` or ``https://``.
        timeout_s: For the connection and for an answer.
        retries: How often a request is sent again after an answer such as 503; what is then not
            taken is lost. Verdicts for a server that does not answer wait in the queue.
        token_file: A file whose one line is sent as ``Authorization: Bearer``.
    """

    url: str
    timeout_s: float = 2.0
    retries: int = 3
    token_file: Path | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"url is none ({error})") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError(f"url must begin with http:// or https:// and a host, not {self.url}")
        if not (self.url.isascii() and self.url.isprintable()) or " " in self.url:
            raise ValueError("url must be ASCII without spaces")
        if not 0 < self.timeout_s <= 60 or not 0 <= self.retries <= 10:
            raise ValueError("timeout_s must be above 0 and at most 60, retries from 0 to 10")


class Webhook(Output):
    """Posts each verdict, and when the station begins or ends to fail."""

    Options = WebhookOptions

    def __init__(self, options: WebhookOptions, station: str) -> None:
        super().__init__(options, station)
        parts = urlsplit(options.url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=options.timeout_s)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._where = printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
        self._headers = {"Content-Type": "application/json", "User-Agent": "edgead"}

    def open(self) -> None:
        """Connect."""
        if self.options.token_file is not None:
            self._headers["Authorization"] = f"Bearer {_token(self.options.token_file)}"
        try:
            self._connection.connect()
        except OSError as error:
            raise self._absent(error) from error

    def deliver(self, judged: Judged) -> None:
        """Post a verdict."""
        self._post(judged.verdict.to_json())

    def fail(self, reason: str) -> None:
        """Post that nothing is judged."""
        self._post(state_json(self.station, "failing", reason))

    def recover(self) -> None:
        """Post that the station judges again."""
        self._post(state_json(self.station, "judging"))

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(Exception):
            self._connection.close()

    def _post(self, values: dict[str, Any]) -> None:
        body = json.dumps(values).encode()
        pause = _FIRST_PAUSE_S
        for tries_left in reversed(range(self.options.retries + 1)):
            code = self._send(body)
            if 200 <= code < 300:
                return
            if code not in _BUSY or not tries_left:
                raise OutputError(
                    f"the server at {self._where} answers {code}: check url and token"
                )
            time.sleep(pause)
            pause *= 2

    def _send(self, body: bytes) -> int:
        """Send one request; once more where the server had closed the idle connection."""
        try:
            return self._exchange(body)
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
        except OSError as error:
            raise self._absent(error) from error
        try:
            return self._exchange(body)
        except (http.client.HTTPException, OSError) as error:
            raise self._absent(error) from error

    def _exchange(self, body: bytes) -> int:
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        answer.read(1 << 16)
        if not answer.isclosed():  # more than that is not waited for
            self._connection.close()
        return answer.status

    def _absent(self, error: Exception) -> DisconnectedError:
        self._connection.close()
        reason = printable(str(error) or type(error).__name__)
        return DisconnectedError(f"no server answers at {self._where} ({reason}): check url")


def _token(path: Path) -> str:
    try:
        token = files.read_regular(path, 4096).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeadError(f"the token file {path} cannot be read: {error}") from error
    if not token.isprintable():
        raise EdgeadError(f"the token file {path} must have one line")
    return token
