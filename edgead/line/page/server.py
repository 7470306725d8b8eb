"""Serves the page in a thread of its own."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from edgead.errors import EdgeadError, MissingDependencyError, UsageError
from edgead.line.control import Controlled
from edgead.line.status import PartStatus
from edgead.printable import printable

DEFAULT_ADDRESS = "127.0.0.1:8080"
SHORTEST_TOKEN = 8

_MOST_CONNECTIONS = 64
_BACKLOG = 64
_START_S = 10.0
_STOP_S = 3.0


class Page:
    """The page, its API, health and metrics for some stations.

    Args:
        stations: What is shown.
        address: ``HOST:PORT``; an empty host stands for loopback.
        token: Needed for all that changes something; ``None``: nothing can be changed.

    Raises:
        UsageError: The address is none, or the token is too short.
    """

    def __init__(
        self,
        stations: Sequence[Controlled],
        address: str = DEFAULT_ADDRESS,
        token: str | None = None,
    ) -> None:
        self._stations = stations
        self._host, self._port = _parsed(address)
        if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii()):
            raise UsageError(
                f"the token (of serve.token_file or EDGEAD_TOKEN) has {len(token)} characters, and "
                f"must have at least {SHORTEST_TOKEN} ASCII characters: write for example what "
                "'openssl rand -hex 16' prints"
            )
        self._token = token
        self._server: Any = None
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        """Where the page is; with the port that was taken once it is started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/"

    def start(self) -> None:
        """Listen, and serve in a thread.

        Raises:
            MissingDependencyError: starlette or uvicorn is missing.
            EdgeadError: The address is in use or not of this machine.
        """
        app = self._app()
        self._socket = self._bound()
        self._port = self._socket.getsockname()[1]
        import uvicorn

        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="edgead page", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; it raises nothing, and may be called twice."""
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_S)
        if self._socket is not None:
            self._socket.close()

    def status(self) -> PartStatus:
        """Return whether it is served."""
        is_alive = self._thread is not None and self._thread.is_alive()
        error = "" if self._error is None else f": {printable(str(self._error))}"
        fault = None if is_alive else f"the page at {self.url} is not served{error}"
        return PartStatus("page", "http", fault)

    def _app(self) -> Any:
        try:
            import uvicorn  # noqa: F401

            from edgead.line.page.api import Api
        except ImportError as error:
            missing = "uvicorn" if "uvicorn" in str(error) else "starlette"
            raise MissingDependencyError("the page", missing, "line") from error
        from edgead.line.page.guard import Guard

        api = Api(self._stations, can_change=self._token is not None)
        return Guard(api.app(), self._token, [self._host])

    def _bound(self) -> socket.socket:
        try:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            return socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
        except OSError as error:
            code = error.errno or 0
            reason = os.strerror(code) if code > 0 else str(error)
            raise EdgeadError(
                f"the page cannot be served at {printable(self._host)}:{self._port} ({reason}): "
                "end the program that uses the port, or choose another with --serve HOST:PORT"
            ) from error

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:  # the stations go on
            self._error = error


def _parsed(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None or parts.path or parts.username is not None:
        raise UsageError(
            f"{address!r} is no address: it must be HOST:PORT, such as {DEFAULT_ADDRESS}"
        )
    return host, port
