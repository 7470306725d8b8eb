"""Who may ask what: names of hosts, origins, the token; and what a browser may do with answers."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

_WRONG_TOKEN_S = 0.5
"""A wrong token is answered late, so that nobody tries many."""

_READING = frozenset({"GET", "HEAD"})

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware. It refuses:

    - a ``Host`` that is neither an address nor a name of this machine: with DNS rebinding a page
      from elsewhere asks under its own name;
    - a change from another origin;
    - a change without the token, and every change where no token is configured.
    """  # noqa: D415  # a list

    def __init__(self, app: Callable[..., Any], token: str | None, names: Iterable[str]) -> None:
        self._app = app
        self._token = token
        self._names = {"localhost", *(name.lower() for name in names if name), *_own_names()}
        self._headers = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        headers = {key.lower(): value for key, value in scope["headers"]}
        refusal = self._refusal(scope["method"], headers)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        code, reason = refusal
        if code == 401:
            await asyncio.sleep(_WRONG_TOKEN_S)
        await _answer(send_with_headers, code, reason)

    def _refusal(self, method: str, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_own(host):
            return 421, "this name is not one of this machine: ask by its address"
        if method in _READING:
            return None
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin.decode("latin-1")).netloc.lower() != host.lower():
            return 403, "a page from elsewhere changes nothing here"
        if self._token is None:
            return 403, "nothing can be changed: the line was started without a token"
        given = headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return 401, "the token is wrong"
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name}.local"} if name else set()


async def _answer(send: Any, code: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
