"""What the outputs and the page of a line cost the station, and how they come back.

    python -m studies.line_outputs page ARTIFACT [--frames N] [--rounds N]
    python -m studies.line_outputs broker ARTIFACT [--times N]
    python -m studies.line_outputs disk ARTIFACT FOLDER

``page``: latency from the arrival of a frame of 640x480 px to its verdict at full rate, in turns:
alone, with somebody who looks at the page, with an output whose server never answers. ``broker``:
a mosquitto that is killed and started again while the line judges. ``disk``: FOLDER is on a small
file system of its own (``mount -t tmpfs -o size=4m none FOLDER``), which is filled and emptied.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgead import blas
from edgead.errors import EdgeadError
from edgead.images import Image
from edgead.line.config import StationConfig
from edgead.line.outputs.base import Output
from edgead.line.outputs.jsonl import JsonLines, JsonLinesOptions
from edgead.line.outputs.keep import Keep, KeepOptions
from edgead.line.outputs.mqtt import Mqtt, MqttOptions
from edgead.line.outputs.webhook import Webhook, WebhookOptions
from edgead.line.page.server import Page
from edgead.line.station import Station
from edgead.line.verdict import Judged
from studies.script import told

_SIZE = (480, 640)
_WARM_UP = 50
_SWITCH_S = 0.0005  # as a line sets it
_ALL_GOOD = 1e9  # noise has no defects
_WAYS = ("alone", "page", "slow output")
_LONGEST_S = 30.0
_BALLAST = "ballast"

_LOOKS = """
import http.client, json, sys, time
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
def ask(path):
    connection.request("GET", "/api/stations/line" + path)
    return connection.getresponse().read()
every, last = {"status": 0.5, "picture": 0.5, "defects": 2.0}, 0
due = dict.fromkeys(every, 0.0)
while True:
    what = min(due, key=due.get)
    time.sleep(max(0.0, due[what] - time.monotonic()))
    due[what] = time.monotonic() + every[what]
    if what == "status":
        ask("")
        last = max([last, *json.loads(ask(f"/history?after={last}"))["numbers"]])
    else:
        ask({"picture": "/picture.jpg", "defects": "/defects"}[what])
"""
"""What page.js asks, at its pace, without a browser that draws on the same processor."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of many frames in one way, from arrival to verdict."""

    way: str
    total: tuple[float, ...]
    inference: tuple[float, ...]
    seconds: float

    def row(self) -> str:
        """Return a row of the table."""
        total = np.percentile(self.total, (50, 99, 99.9))
        inference = np.percentile(self.inference, 99)
        cells = [f"{value:.2f}" for value in (*total, inference)]
        return f"| {self.way} | {' | '.join(cells)} | {len(self.total) / self.seconds:.1f} |"


class _Timed(Output):
    """Takes down the stages of each verdict."""

    Options = dict

    def __init__(self) -> None:
        super().__init__({}, "line")
        self.stages: list[tuple[float, float]] = []

    def open(self) -> None:
        """Nothing."""

    def deliver(self, judged: Judged) -> None:
        """Take the stages down."""
        stages = judged.verdict.stages
        if stages is not None:
            self.stages.append((stages.total_ms, stages.inference_ms))

    def fail(self, reason: str) -> None:
        """Nothing."""

    def recover(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def page_cost(artifact: Path, frames: int, rounds: int) -> list[Latency]:
    """Measure the ways in turns, each round in another order."""
    found: dict[str, list[Latency]] = {way: [] for way in _WAYS}
    for count in range(rounds):
        turn = count % len(_WAYS)
        for way in _WAYS[turn:] + _WAYS[:turn]:
            found[way].append(_one_way(artifact, frames, way))
    return [_joined(way, many) for way, many in found.items()]


def broker_kills(artifact: Path, times: int) -> list[float]:
    """Kill a broker and start it again while a line judges; return seconds until it works again.

    Raises:
        EdgeadError: Verdicts were lost, or the line did not go on.
    """
    path = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if path is None:
        raise EdgeadError("mosquitto is not installed: apt install mosquitto")
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        settings = Path(folder) / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\n")
        broker = subprocess.Popen([path, "-c", str(settings)])
        try:
            output = Mqtt(MqttOptions(host="127.0.0.1", port=port), "line")
            with _running(artifact, [output], rate=20.0) as station:
                _until(lambda: _part(station).done)
                for _ in range(times):
                    broker.kill()
                    broker.wait()
                    _until(lambda: _part(station).fault)
                    _goes_on(station)
                    broker = subprocess.Popen([path, "-c", str(settings)])
                    seconds.append(_works_after(station))
                if _part(station).lost:
                    raise EdgeadError(f"{_part(station).lost} verdicts were lost")
        finally:
            broker.kill()
            broker.wait()
    return seconds


def full_disk(artifact: Path, folder: Path) -> float:
    """Fill the file system of a folder while a line writes to it, and empty it again.

    Returns:
        Seconds until both outputs wrote again.

    Raises:
        EdgeadError: A line or a JSON file is not whole.
    """
    free = shutil.disk_usage(folder).free
    if free > 64 << 20:
        raise EdgeadError(f"{folder} is not on a small file system: mount a tmpfs of 4 MB there")
    ballast = folder / _BALLAST
    lines, kept = folder / "verdicts.jsonl", folder / "kept"
    outputs: list[Output] = [
        JsonLines(JsonLinesOptions(lines, max_bytes=200_000, files=2), "line"),
        Keep(KeepOptions(kept, share=1.0, max_files=5, format="jpg"), "line"),
    ]
    with _running(artifact, outputs, rate=20.0) as station:
        _until(lambda: all(_part(station, index).done for index in (0, 1)))
        with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while stream.write(bytes(1 << 12)):
                pass
        _until(lambda: all(_part(station, index).fault for index in (0, 1)))
        ballast.unlink()
        began = time.monotonic()
        _until(lambda: not any(_part(station, index).fault for index in (0, 1)))
        seconds = time.monotonic() - began
    try:
        for file in folder.glob("verdicts.jsonl*"):
            for line in file.read_bytes().split(b"\n")[:-1]:
                json.loads(line)
        for file in kept.glob("*.json"):
            json.loads(file.read_bytes())
    except ValueError as error:
        raise EdgeadError(f"{file} is not whole: {error}") from error
    return seconds


def _one_way(artifact: Path, frames: int, way: str) -> Latency:
    timed = _Timed()
    with contextlib.ExitStack() as stack:
        outputs: list[Output] = [timed]
        if way == "slow output":
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            outputs.append(Webhook(WebhookOptions(url, timeout_s=10.0), "line"))
        timed.queue = frames  # type: ignore[misc]
        stack.enter_context(blas.on_one_thread())
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_S)
        config = StationConfig(artifact, threshold=_ALL_GOOD)
        station = Station(config, source=_photos(frames), outputs=outputs)
        if way == "page":
            page = Page([station], "127.0.0.1:0")
            page.start()
            stack.callback(page.stop)
            port = page.url.rstrip("/").rpartition(":")[2]
            looks = subprocess.Popen([sys.executable, "-c", _LOOKS, port])
            stack.callback(looks.wait)
            stack.callback(looks.kill)
        began = time.monotonic()
        with station:
            station.wait()
            seconds = time.monotonic() - began
    stages = timed.stages[_WARM_UP:]
    total, inference = zip(*stages, strict=True)
    return Latency(way, total, inference, seconds)


def _joined(way: str, many: Sequence[Latency]) -> Latency:
    total = tuple(value for one in many for value in one.total)
    inference = tuple(value for one in many for value in one.inference)
    return Latency(way, total, inference, sum(one.seconds for one in many))


def _photos(count: int, rate: float | None = None) -> Iterator[Image]:
    draw = np.random.default_rng(0)
    some = [draw.integers(0, 256, (*_SIZE, 3), dtype=np.uint8) for _ in range(8)]
    for index in range(count):
        if rate is not None:
            time.sleep(1 / rate)
        yield some[index % len(some)]


@contextlib.contextmanager
def _running(artifact: Path, outputs: Sequence[Output], rate: float) -> Iterator[Station]:
    station = Station(StationConfig(artifact), source=_photos(10**9, rate), outputs=outputs)
    with station:
        yield station


def _goes_on(station: Station) -> None:
    """Wait until the station has judged more frames."""
    before = sum(station.status().verdicts.values())
    _until(lambda: sum(station.status().verdicts.values()) > before + 5)


def _works_after(station: Station) -> float:
    """Return the seconds until the first output delivers again."""
    began, done = time.monotonic(), _part(station).done
    _until(lambda: _part(station).fault is None and _part(station).done > done)
    return time.monotonic() - began


def _part(station: Station, index: int = 0) -> Any:
    parts = [part for part in station.status().parts if part.name.startswith("output")]
    return parts[index]


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + _LONGEST_S
    while not condition():
        if time.monotonic() > end:
            raise EdgeadError(f"it did not happen within {_LONGEST_S:g} s")
        time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _report(args: argparse.Namespace) -> str:
    if args.study == "broker":
        seconds = broker_kills(args.artifact, args.times)
        return f"works again after {max(seconds):.2f} s at most, {args.times} times; none was lost"
    if args.study == "disk":
        return f"both write again after {full_disk(args.artifact, args.folder):.2f} s; all is whole"
    head = "| | p50 | p99 | p99.9 | inference p99 | FPS |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(one.row() for one in page_cost(args.artifact, args.frames, args.rounds))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one study from the command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.line_outputs")
    studies = parser.add_subparsers(dest="study", required=True)
    page = studies.add_parser("page")
    page.add_argument("artifact", type=Path)
    page.add_argument("--frames", type=int, default=1000)
    page.add_argument("--rounds", type=int, default=9)
    broker = studies.add_parser("broker")
    broker.add_argument("artifact", type=Path)
    broker.add_argument("--times", type=int, default=20)
    disk = studies.add_parser("disk")
    disk.add_argument("artifact", type=Path)
    disk.add_argument("folder", type=Path)
    args = parser.parse_args(arguments)
    return told(lambda: _report(args))


if __name__ == "__main__":
    sys.exit(main())
