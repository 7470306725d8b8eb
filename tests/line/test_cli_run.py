from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from edgead.cli import main
from edgead.line.config import LineConfig, place_of, table_of
from edgead.line.control import Controlled
from edgead.line.line import Line
from tests.conftest import part, write_photo
from tests.line.judged import until
from tests.line.parts import THRESHOLD


@pytest.fixture
def line(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> Path:
    """A line that judges a folder and writes JSON lines."""
    for seed in range(3):
        write_photo(tmp_path / "photos" / f"{seed}.png", part(seed, defect=seed == 1))
    path = tmp_path / "line.toml"
    path.write_text(
        f"""
        [[station]]
        name = "left"
        artifact = "{tiny_artifact().path.name}"
        threshold = {THRESHOLD}
        threads = 1
        source = {{ kind = "folder", path = "photos", settled_s = 0 }}
        [[station.output]]
        kind = "jsonl"
        path = "verdicts.jsonl"
        """
    )
    return path


def verdicts(line: Path) -> list[dict[str, object]]:
    path = line.parent / "verdicts.jsonl"
    if not path.exists():
        return []
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_a_folder_is_judged_and_printed(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", tmp_path / "tiny.onnx", "--source", tmp_path / "photos", "--threshold"]
    assert main([*map(str, words), str(THRESHOLD), "--set", "source.watch=false"]) == 0
    out = capsys.readouterr().out.splitlines()
    first = [text.split() for text in out[:3]]
    assert [(words[1], words[3]) for words in first] == [
        ("good", "0.png"),
        ("ANOMALOUS", "1.png"),
        ("good", "2.png"),
    ]
    assert out[3].startswith("line: 3 verdicts: 2 good, 1 anomaly, 0 failure (threshold 0.3")
    assert "p99" in out[4]


def test_the_written_configuration_runs_the_same(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    effective = tmp_path / "other.toml"
    assert main(["run", str(line), "--set", "late_ms=7", "--write-config", str(effective)]) == 0
    config = LineConfig.from_table(table_of(effective), place_of(effective))
    assert config.stations[0].late_ms == 7
    assert main(["run", str(effective), "--frames", "2"]) == 0
    assert [one["frame"] for one in verdicts(line)] == ["0.png", "1.png"]
    capsys.readouterr()
    assert main(["run", str(line), "--write-config", "-"]) == 0
    assert capsys.readouterr().out.startswith("state = ")


@contextlib.contextmanager
def started(line: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edgead", "run", str(line), *words]
    pipe = subprocess.PIPE
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_service_manager_hears_of_the_line_and_ends_it(line: Path, tmp_path: Path) -> None:
    manager = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(manager))
        channel.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(manager), "WATCHDOG_USEC": "300000"}
        with started(line, **environment) as process:
            heard = set()
            while heard < {"READY=1", "WATCHDOG=1", "STATUS=2 good, 1 anomaly, 0 failure"}:
                heard.add(channel.recv(1000).decode())
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
            while "STOPPING=1" not in heard:
                heard.add(channel.recv(1000).decode())
    assert process.returncode == 143
    assert "left: 3 verdicts: 2 good, 1 anomaly" in out
    assert err.splitlines()[-1] == "edgead: stopped"
    assert len(verdicts(line)) == 3


def test_a_line_without_frames_keeps_the_watchdog_waiting(
    line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = tmp_path / "notify"
    text = line.read_text().replace('kind = "folder", path = "photos", settled_s = 0', "KEYS")
    line.write_text(text.replace("KEYS", 'kind = "rtsp", url = "rtsp://127.0.0.1:1/no"'))
    good = line.read_text().split("[[station]]")[1]
    good = good.replace('"left"', '"right"').replace("verdicts.jsonl", "right.jsonl")
    folder = 'kind = "folder", path = "photos", settled_s = 0'
    good = good.replace('kind = "rtsp", url = "rtsp://127.0.0.1:1/no"', folder)
    line.write_text(f"{line.read_text()}\n[[station]]{good}")
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager))
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(manager))
        channel.settimeout(20)
        config = LineConfig.from_table(table_of(line), place_of(line))
        running = Line(config)
        left, right = running.stations
        running.start()  # one of two cameras is enough for that
        try:
            until(lambda: sum(right.status().verdicts.values()) == 3)
            heard = [channel.recv(1000).decode() for _ in range(2)]
            until(lambda: "cannot be opened" in (left.status().fault or ""))
        finally:
            running.stop()
        while "STOPPING=1" not in heard:
            heard.append(channel.recv(1000).decode())
    assert "READY=1" in heard
    assert "WATCHDOG=1" not in heard
    assert any("rtsp://127.0.0.1:1/no cannot be opened" in text for text in heard)
    stations: list[Controlled] = list(running.stations)  # they are what the page takes
    assert [station.name for station in stations] == ["left", "right"]


def test_a_source_that_cannot_be_opened_ends_the_command(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "tiny.onnx"), "--source", "/dev/video77"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("edgead: error: /dev/video77 does not exist")
    assert printed.out == ""
    folder = ["--source", str(tmp_path / "photos"), "--set", "source.watch=false"]
    output = ["--output", "jsonl:path=/proc/no/where"]
    assert main(["run", str(tmp_path / "tiny.onnx"), *folder, *output]) == 1
    assert "3 verdicts lost: /proc/no" in capsys.readouterr().out
    assert main(["run", str(line), "--set", "product=cap"]) == 2
    assert "is an artifact for another product" in capsys.readouterr().err
    (tmp_path / "line-state.json").write_text('{"schema": 1, "stations": {"left": 3}}')
    assert main(["run", str(line)]) == 2
    assert "line-state.json" in capsys.readouterr().err


def test_a_page_that_cannot_be_served_ends_the_command_before_a_part_is_judged(
    line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["run", str(line), "--serve", address]) == 1
    assert address in capsys.readouterr().err
    assert verdicts(line) == []


def test_a_unit_is_written_that_systemd_takes(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = tmp_path / "edgead.service"
    assert main(["run", str(line), "--install-service", "--unit", str(unit)]) == 0
    printed = capsys.readouterr()
    assert printed.out == unit.read_text()
    assert "systemctl enable --now edgead.service" in printed.err
    lines = printed.out.splitlines()
    for wanted in ("Type=notify", "Restart=always", "WatchdogSec=30", "ProtectSystem=strict"):
        assert wanted in lines
    assert f"ReadWritePaths=-{tmp_path}" in lines
    text = line.read_text()
    line.write_text(text.replace('"verdicts.jsonl"', '"kept\\nExecStartPre=true/verdicts.jsonl"'))
    assert main(["run", str(line), "--install-service", "--unit", str(unit)]) == 2
    assert "a systemd unit does not take" in capsys.readouterr().err
    line.write_text(text)
    assert main(["run", str(line), "--install-service", "--rate", "3"]) == 2
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the unit was not checked")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    complaints = [text for text in done.stderr.splitlines() if "edgead.service" in text]
    assert [text for text in complaints if "User" not in text] == []


_IMPORTS = """
import importlib, pkgutil, sys
import edgead
from edgead.cli import main
main(["--help"])
parts = {"paho", "pymodbus", "starlette", "uvicorn", "gpiod", "tomli_w", "edgead.line"}
assert not parts & set(sys.modules), parts & set(sys.modules)
before = set(sys.modules)
import edgead.line
for module in pkgutil.walk_packages(edgead.line.__path__, "edgead.line."):
    importlib.import_module(module.name)
training = {"torch", "onnx", "edgead.training", "edgead.export", "edgead.teaching"}
found = {name for name in set(sys.modules) - before if name.startswith(tuple(training))}
assert not found, found
"""


def test_the_device_imports_no_part_of_a_line_and_a_line_no_training() -> None:
    subprocess.run([sys.executable, "-c", _IMPORTS], check=True, stdout=subprocess.DEVNULL)
