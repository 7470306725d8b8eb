from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgead.errors import EdgeadError
from edgead.line.delivery import Delivery
from edgead.line.errors import DisconnectedError, OutputError
from edgead.line.outputs.webhook import Webhook, WebhookOptions
from tests.line.broker import free_port
from tests.line.judged import anomaly, good, until


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.bodies: list[Any] = []
        self.tokens: list[str | None] = []
        self.clients: set[Any] = set()
        self.answers: list[int] = []  # what is answered next, then 200
        self.closes = False


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer == 200:
            self.server.bodies.append(json.loads(body))
        self.server.tokens.append(self.headers["Authorization"])
        self.server.clients.add(self.client_address)
        self.send_response(answer)
        self.send_header("Content-Length", "2")
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = self.server.closes  # without saying so, as a proxy does

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    with Server(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def webhook(port: int, **options: Any) -> Webhook:
    return Webhook(WebhookOptions(f"http://127.0.0.1:{port}/hook?a=1", **options), "left")


def test_verdicts_go_over_one_connection_with_the_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serving() as server:
        output = webhook(server.server_port, token_file=token)
        output.open()
        for judged in (good(1), anomaly(2)):
            output.deliver(judged)
        output.fail("no frame came")
        output.close()
    assert server.bodies[:2] == [good(1).verdict.to_json(), anomaly(2).verdict.to_json()]
    assert server.bodies[2]["state"] == "failing"
    assert server.tokens == ["Bearer secret"] * 3
    assert len(server.clients) == 1


def test_a_connection_that_the_server_closed_costs_nothing() -> None:
    with serving() as server:
        server.closes = True
        output = webhook(server.server_port)
        output.open()
        for number in range(3):
            output.deliver(good(number + 1))
        output.close()
    assert [body["number"] for body in server.bodies] == [1, 2, 3]


def test_a_busy_server_is_asked_again_and_a_refusal_is_not() -> None:
    with serving() as server:
        output = webhook(server.server_port, retries=2)
        output.open()
        server.answers = [503, 429]
        output.deliver(good(1))
        server.answers = [503, 503, 503]
        with pytest.raises(OutputError, match="answers 503"):
            output.deliver(good(2))
        for refusal in (401, 302):  # no redirect is followed
            server.answers = [refusal]
            with pytest.raises(OutputError, match=f"answers {refusal}: check url and token"):
                output.deliver(good(3))
        output.close()
    assert [body["number"] for body in server.bodies] == [1]


def test_a_server_that_comes_back_gets_what_waited() -> None:
    port = free_port()
    delivery = Delivery(webhook(port), "output 1 (webhook)")
    delivery.start()
    delivery.put(good(1))
    until(lambda: delivery.fault)
    assert f"no server answers at http://127.0.0.1:{port} (" in str(delivery.fault)
    with serving(port) as server:
        until(lambda: server.bodies)
        until(lambda: delivery.fault is None)
        delivery.stop()


def test_a_server_that_never_answers_holds_up_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        output = webhook(port, timeout_s=0.05)
        output.open()
        with pytest.raises(DisconnectedError, match="timed out"):
            output.deliver(good())
        delivery = Delivery(output, "output 1 (webhook)")
        delivery.start()
        began = time.monotonic()
        for number in range(1000):
            delivery.put(good(number + 1))
        assert time.monotonic() - began < 1.0, "the queue is appended to, and nothing waited for"
        until(lambda: delivery.status().lost >= 899)
        delivery.stop()


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    for url in ("ftp://a/b", "http://", "http://a:x/", "file:///etc/passwd", "http://a/\r\nb"):
        with pytest.raises(ValueError, match="url"):
            WebhookOptions(url)
    two_lines = tmp_path / "token"
    two_lines.write_text("a\r\nX-Injected: b\n")
    with pytest.raises(EdgeadError, match="must have one line"):
        webhook(1, token_file=two_lines).open()
    with pytest.raises(EdgeadError, match="cannot be read"):
        webhook(1, token_file=tmp_path / "absent").open()
