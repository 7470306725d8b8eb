from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from edgead.artifact import Artifact
from edgead.cli import main
from tests.conftest import part
from tests.documented import documented, keys


@pytest.fixture
def line(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> Path:
    writer = cv2.VideoWriter(
        str(tmp_path / "part.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (90, 70)
    )
    for seed in range(4):
        writer.write(part(seed, defect=seed == 2))
    writer.release()
    path = tmp_path / "line.toml"
    path.write_text(
        f"""
        [[station]]
        artifact = "{tiny_artifact().path.name}"
        rate = 200
        threads = 1
        source = {{ kind = "video", path = "part.avi", loop = true }}
        output = [{{ kind = "jsonl", path = "verdicts.jsonl" }}]
        """
    )
    return path


def test_a_line_is_measured_as_it_runs(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "--line", str(line), "--duration", "0.3", "--samples", "20"]
    assert main([*words, "--json", str(tmp_path / "line.json")]) == 0
    text = capsys.readouterr().out
    result = json.loads((tmp_path / "line.json").read_text())
    (station,) = result["stations"]
    assert station["samples"] >= 20
    assert station["verdict"] in ("VALID", "INVALID")
    assert f"verdict      {station['verdict']}" in text
    stages = station["latency_ms"]
    parts = ("wait", "preprocess", "inference", "postprocess", "output")
    assert sum(stages[name]["mean"] for name in parts) == pytest.approx(
        stages["total"]["mean"], rel=0.01, abs=0.05
    )
    is_told = any("samples are too few for a p90" in one for one in station["invalid_because"])
    assert is_told == (station["samples"] < 64)
    judged = (tmp_path / "verdicts.jsonl").read_text().splitlines()
    assert len(judged) >= 40  # its outputs are used, from the first frame on
    assert not (tmp_path / "line-state.json").exists()
    foreign = ("device", "parts", "verdicts", *stages)
    assert set(keys(result, foreign)) - {"device"} <= documented("bench --line --json")


def test_what_is_no_line_is_refused(line: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (["--threads", "2"], "leave out --threads"),
        (["--set-governor", "performance"], "leave out --set-governor"),
    ):
        assert main(["bench", "--line", str(line), *words]) == 2
        assert expected in capsys.readouterr().err
    line.write_text(line.read_text().replace(", loop = true", ""))
    assert main(["bench", "--line", str(line), "--duration", "1"]) == 1
    assert "station 'line' gave nothing to measure" in capsys.readouterr().err
