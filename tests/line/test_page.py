from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from edgead.artifact import Artifact
from edgead.errors import EdgeadError, UsageError
from edgead.line.control import Remembered
from edgead.line.page import metrics
from edgead.line.page.pictures import LEAST_BETWEEN_S
from edgead.line.page.preview import Preview, preview
from edgead.line.page.server import Page
from edgead.line.status import PartStatus
from edgead.line.verdict import Judged
from tests.line.judged import anomaly, good
from tests.line.stations import Stand, rejected, remembered

_TOKEN = "a-token-of-the-test"
_HOSTILE = '<img src=x onerror="alert(1)">\n\x1b[2J"\\.png'


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        try:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        kind = answer.headers.get_content_type()
        value = json.loads(content) if kind == "application/json" else content
        return answer.status, value, {key.lower(): text for key, text in answer.getheaders()}

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        given = {"Authorization": f"Bearer {_TOKEN}", **headers}
        code, value, _ = self("POST", path, body, **given)
        return code, value


@contextmanager
def served(*stations: Stand, token: str | None = _TOKEN) -> Iterator[Client]:
    page = Page(stations, "127.0.0.1:0", token)
    page.start()
    try:
        yield Client(int(page.url.rstrip("/").rpartition(":")[2]))
    finally:
        page.stop()


@pytest.fixture
def station(tiny_artifact: Callable[..., Artifact]) -> Stand:
    """A station that has judged a real frame."""
    judged = rejected(tiny_artifact(), 7, _HOSTILE)
    return Stand(last=judged, rejected=[judged, anomaly(6)])


def test_what_the_page_asks_for(station: Stand) -> None:
    station.remembered = [remembered(5, 0.25), remembered(6, None), remembered(7, 0.75)]
    with served(station, Stand("right")) as ask:
        assert ask("GET", "/api/stations")[1]["stations"] == ["left", "right"]
        code, shown, headers = ask("GET", "/api/stations/left")
        assert code == 200
        assert shown["newest"]["frame"] == _HOSTILE
        assert headers["content-type"] == "application/json"
        assert (shown["can_trigger"], shown["threshold"], shown["faults"]) == (True, 0.5, [])
        history = ask("GET", "/api/stations/left/history?after=5")[1]
        assert (history["numbers"], history["scores"]) == ([6, 7], [None, 0.75])
        assert ask("GET", "/api/stations/right")[1]["newest"] is None
        defects = ask("GET", "/api/stations/left/defects")[1]["defects"]
        assert [(one["number"], one["has_picture"]) for one in defects] == [(7, True), (6, False)]
        for path in ("/", "/page.js", "/page.css", "/icon.svg"):
            assert ask("GET", path)[0] == 200
        for path in (
            *("/api/stations/x", "/api/stations/left/defects/6.jpg", "/../../etc/passwd"),
            *("/api/stations/right/picture.jpg", "/page.py", "/%2e%2e/server.py"),
        ):
            assert ask("GET", path)[0] == 404


def test_pictures_have_the_heat_map_and_are_encoded_seldom(station: Stand) -> None:
    assert station.last is not None
    with served(station) as ask:
        live = "/api/stations/left/picture.jpg"
        code, plain, headers = ask("GET", f"{live}?heat=0")
        assert (code, headers["content-type"], headers["x-verdict"]) == (200, "image/jpeg", "7")
        pictures = [
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
            for data in (plain, ask("GET", live)[1])
        ]
        frame = station.last.picture
        assert frame is not None
        assert abs(pictures[0] - frame).mean() < 4  # JPEG
        assert abs(pictures[1] - frame).max() > 100  # the heat map over it
        small = ask("GET", "/api/stations/left/defects/7.jpg")[1]
        assert cv2.imdecode(np.frombuffer(small, np.uint8), 1).shape == (180, 240, 3)
        large = cv2.resize(frame, (1280, 960))  # of a large camera: a smaller picture of the same
        detection = replace(station.last.detection, photo_size=(960, 1280))
        station.last = Judged(anomaly(8).verdict, large, detection)
        time.sleep(LEAST_BETWEEN_S)
        shown = cv2.imdecode(np.frombuffer(ask("GET", live)[1], np.uint8), 1)
        assert shown.shape == (360, 480, 3)
        same = cv2.resize(pictures[1].astype(np.uint8), (480, 360))
        assert abs(shown.astype(int) - same).mean() < 6
        numbers = set()
        for number in range(9, 29):
            station.last = replace(station.last, verdict=anomaly(number).verdict)
            numbers.add(ask("GET", live)[2]["x-verdict"])
        assert len(numbers) <= 6, "many who look cost no more than one"


def test_nothing_changes_without_the_token(station: Stand) -> None:
    changes = [("threshold", {"value": 0.9}), ("recipe", {"name": "other.onnx"}), ("trigger", {})]
    tokens = [
        "",
        "Bearer",
        "Bearer wrong",
        f"bearer {_TOKEN}",
        f"Basic {_TOKEN}",
        f"Bearer {_TOKEN} ",
    ]
    for configured, headers in ((_TOKEN, tokens), (None, [f"Bearer {_TOKEN}", "Bearer None"])):
        with served(station, token=configured) as ask:
            answers: list[tuple[int, Any]] = []

            def change(
                path: str, body: Any, header: str, ask: Client = ask, to: Any = answers
            ) -> None:
                to.append(ask.post(f"/api/stations/left/{path}", body, Authorization=header)[:2])

            threads = [
                threading.Thread(target=change, args=(*one, header))
                for one in changes
                for header in headers
                if not header.endswith(" ")  # spaces at the end are no part of a header
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            code = 403 if configured is None else 401
            assert {answer[0] for answer in answers} == {code}
            words = "without a token" if configured is None else "the token is wrong"
            assert all(words in answer[1]["error"] for answer in answers)
    assert (station.shown.threshold, station.shown.artifact, station.fired) == (
        *(0.5, "part.onnx"),
        0,
    )


def test_changes_with_the_token(station: Stand) -> None:
    with served(station) as ask:
        assert ask.post("/api/stations/left/threshold", {"value": 0.9})[1]["threshold"] == 0.9
        assert ask.post("/api/stations/left/recipe", {"name": "other.onnx"})[0] == 200
        assert station.shown.artifact == "other.onnx"
        assert ask.post("/api/stations/left/trigger", {}) == (202, {"schema": 1, "fired": True})
        station.has_room = False
        code, refused = ask.post("/api/stations/left/trigger", {})
        assert (code, "missed" in refused["error"]) == (503, True)
        shown = station.shown
        station.shown = replace(shown, parts=(PartStatus("trigger", "gpio"),))
        assert ask.post("/api/stations/left/trigger", {})[0] == 409
        assert station.fired == 1


def test_bad_requests_are_refused_in_one_sentence(station: Stand) -> None:
    before = replace(station.shown)
    requests: list[tuple[str, Any, int]] = [
        ("threshold", b"{", 400),
        ("threshold", b"[" * 4000, 400),
        ("threshold", {"value": "0.5"}, 400),
        ("threshold", {"value": True}, 400),
        ("threshold", {"value": 10**400}, 400),
        ("threshold", b'{"value": NaN}', 400),
        ("threshold", b'{"value": 1e999}', 400),
        ("threshold", {"wrong": 1}, 400),
        ("threshold", b" " * 10_000, 413),
        ("recipe", {"name": "../../secret.onnx"}, 400),
        ("recipe", {"name": 3}, 400),
    ]
    with served(station) as ask:
        for path, body, code in requests:
            found, refused = ask.post(f"/api/stations/left/{path}", body)
            assert (found, set(refused)) == (code, {"error"}), (path, body)
    assert station.shown == before


def test_pages_from_elsewhere_get_and_change_nothing(station: Stand) -> None:
    with served(station) as ask:
        local = f"127.0.0.1:{ask.port}"
        for host in ("evil.example", f"evil.example:{ask.port}", "127.0.0.1.evil.example", "", "["):
            assert ask("GET", "/api/stations", Host=host)[0] in (400, 421)
            assert ask.post("/api/stations/left/trigger", {}, Host=host)[0] in (400, 421)
        for host in (local, "localhost", f"localhost:{ask.port}", "192.168.1.7:80", "[::1]:80"):
            assert ask("GET", "/api/stations", Host=host)[0] == 200
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"http://{local}.evil"):
            code, refused = ask.post("/api/stations/left/trigger", {}, Origin=origin)
            assert (code, refused["error"]) == (403, "a page from elsewhere changes nothing here")
        assert ask.post("/api/stations/left/trigger", {}, Origin=f"http://{local}")[0] == 202
        policy = ask("GET", "/")[2]["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_health_says_all_that_is_wrong(station: Stand) -> None:
    with served(station) as ask:
        assert ask("GET", "/health")[:2] == (
            200,
            {"schema": 1, "status": "ok", "faults": {"left": []}},
        )
        broken = PartStatus("output 1 (mqtt)", "mqtt", "output 1 (mqtt): no broker answers")
        station.shown = replace(station.shown, fault="no frame came", parts=(broken,))
        code, shown, _ = ask("GET", "/health")
        assert (code, shown["status"]) == (503, "failing")
        assert shown["faults"]["left"] == ["no frame came", "output 1 (mqtt): no broker answers"]


def test_metrics_are_prometheus_text_whatever_a_name_holds(station: Stand) -> None:
    hostile = 'a"b\\c\nevil{} 1'
    station.shown = replace(station.shown, artifact=hostile, judged_ago_s=None)
    with served(station) as ask:
        code, content, headers = ask("GET", "/metrics")
    assert code == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = content.decode().splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert 'edgead_verdicts_total{station="left",state="anomaly"} 2.0' in samples
    assert 'edgead_latency_seconds{station="left",stage="total",quantile="0.99"} 0.0035' in samples
    assert 'edgead_part_lost_total{station="left",part="source",kind="camera"} 6.0' in samples
    (info,) = (line for line in samples if line.startswith("edgead_artifact_info"))
    assert 'artifact="a\\"b\\\\c\\\\nevil{} 1"' in info
    assert not any(line.startswith("evil") for line in lines)
    assert not any("judged_ago" in line for line in lines)
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert metrics.text([]) == ""


def test_a_camera_that_reports_nonsense_of_itself_is_shown(station: Stand) -> None:
    source = PartStatus("source", "camera", settings={"exposure": float("nan"), "name": "a"})
    station.shown = replace(station.shown, parts=(source,))
    with served(station) as ask:
        shown = ask("GET", "/api/stations/left")[1]
    assert shown["parts"][0]["settings"] == {"exposure": None, "name": "a"}


def test_another_threshold_is_tried_on_the_history(station: Stand) -> None:
    scores = [0.1, 0.2, 0.3, 0.6, 0.7, None]
    station.remembered = [remembered(number, score) for number, score in enumerate(scores, 1)]
    # Blank: an anomaly whose score is not above its threshold.
    station.remembered.append(Remembered(7, 1007.0, "anomaly", 0.15, 0.5))
    assert preview(station.remembered, 0.5) == Preview(6, 0, 0)
    assert preview(station.remembered, 0.2) == Preview(6, 1, 0)  # 0.2 itself is not above it
    assert preview(station.remembered, 0.65) == Preview(6, 0, 1)
    assert preview(station.remembered, 9.0) == Preview(6, 0, 2)
    with served(station) as ask:
        found = ask("GET", "/api/stations/left/preview?threshold=0.15")[1]
        assert found == {"schema": 1, "threshold": 0.15, "of": 6, "to_anomaly": 2, "to_good": 0}
        for value in ("", "nan", "x"):
            assert ask("GET", f"/api/stations/left/preview?threshold={value}")[0] == 400


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        page = Page([Stand()], address)
        with pytest.raises(EdgeadError) as refused:
            page.start()
        page.stop()
    assert str(refused.value) == (
        f"the page cannot be served at {address} (Address already in use): end the program that "
        "uses the port, or choose another with --serve HOST:PORT"
    )


@pytest.mark.parametrize("address", ["", "8080", "a:b", "a:99999", "http://a:1", "u@a:1", "a:1/x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="must be HOST:PORT"):
        Page([Stand()], address)


def test_a_short_token_is_refused() -> None:
    with pytest.raises(UsageError, match="has .* characters, and must have at least 8 ASCII"):
        Page([Stand()], token="short")


def test_many_idle_connections_do_not_end_the_page(station: Stand) -> None:
    with served(station) as ask:
        idle = [socket.create_connection(("127.0.0.1", ask.port)) for _ in range(100)]
        assert ask("GET", "/health")[0] in (200, 503)
        for one in idle:
            one.close()
        while ask("GET", "/api/stations")[0] != 200:
            pass


def test_the_page_needs_nothing_until_it_is_served() -> None:
    program = (
        "import sys, edgead, edgead.line.page.server, edgead.line.delivery, edgead.line.parts\n"
        "wanted = {'starlette', 'uvicorn', 'paho', 'pymodbus', 'gpiod'} & set(sys.modules)\n"
        "assert not wanted, wanted\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_picture_that_is_grey_is_shown(station: Stand) -> None:
    grey = np.full((40, 60), 90, np.uint8)
    station.last = Judged(good(9).verdict, picture=grey)
    with served(station) as ask:
        assert ask("GET", "/api/stations/left/picture.jpg")[0] == 200
