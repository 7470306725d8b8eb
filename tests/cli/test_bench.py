from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgead import EdgeDetector, cpu
from edgead.artifact import Artifact
from edgead.cli import main
from edgead.settings import Settings
from tests.conftest import part, write_photo
from tests.documented import documented

QUICK = ("--duration", "0.2", "--frame-size", "60x80")


def bench(*words: object) -> int:
    return main(["bench", *map(str, words)])


def own_process(*words: object) -> str:
    """Run a benchmark in a process that sees all cores: OpenVINO only looks when it is loaded."""
    command = [sys.executable, "-m", "edgead", "bench", *map(str, words)]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert bench(*words) == 2
    errors = capsys.readouterr().err
    (sentence,) = (line for line in errors.splitlines() if line.startswith("edgead: error: "))
    assert "Traceback" not in errors
    return sentence


@pytest.fixture
def measured(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> tuple[Path, Path]:
    artifact, figures = tiny_artifact().path, tmp_path / "a.json"
    assert bench(artifact, *QUICK, "--threads", "1", "--json", figures) == 0
    return artifact, figures


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_the_json_has_everything_and_can_be_run_again(
    measured: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, figures = measured
    found = read(figures)
    top = {*found, *found["artifact"], *found["latency_ms"], *found["stages_ms"], *found["cpu"]}
    assert top - documented("bench --json") == set()
    assert {"p50", "p90", "p99", "mean", "max"} <= set(found["latency_ms"])
    assert {"preprocess", "inference", "postprocess"} <= set(found["stages_ms"])
    assert found["stages_ms"]["host_to_device"] is None
    assert found["fps"] == pytest.approx(1000 / found["latency_ms"]["mean"])
    assert 20 < found["peak_rss_mib"] < 300
    for values in ("total", "inference", "started_s"):
        assert len(found["raw_ms"][values]) == found["samples"] >= 64
    assert found["verdict"] in ("VALID", "INVALID")
    assert bool(found["invalid_because"]) == (found["verdict"] == "INVALID")
    assert found["device"]["cpu"]
    again, page = tmp_path / "b.json", tmp_path / "b.html"
    capsys.readouterr()
    assert bench("--rerun", figures, "--json", again, "--html", page) == 0
    assert read(again)["config"] == found["config"]
    assert "ratio" in capsys.readouterr().out
    text = page.read_text()
    assert "://" not in text
    for svg in text.split("<svg")[1:]:
        ET.fromstring("<svg" + svg.partition("</svg>")[0] + "</svg>")
    assert text.count("<svg") == 3
    other = tmp_path / "other.onnx"
    other.write_bytes(artifact.read_bytes())
    assert bench(other, "--rerun", figures) == 0  # the same file elsewhere


def test_photos_batches_cameras_and_streams(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_photo(tmp_path / "photos/a.png", part(0))
    figures = tmp_path / "f.json"
    artifact = tiny_artifact().path
    quick = ("--duration", "0.2", "--samples", "5", "--images", photo, "--json", figures)
    assert bench(artifact, *quick, "--batch", "3") == 0
    found = read(figures)
    assert found["frames_per_call"] == 3
    assert found["fps"] == pytest.approx(3000 / found["latency_ms"]["mean"])
    assert bench(artifact, *quick, "--camera-fps", "30", "--streams", "2") == 0
    found = read(figures)
    assert found["config"]["images"] == [str(photo)]
    assert found["camera"]["frames"] >= found["samples"]
    assert "2 cameras" in capsys.readouterr().out
    # Five samples support no p90, and strict makes that an exit code.
    assert found["latency_ms"]["p90"] is None
    assert any("too few" in reason for reason in found["invalid_because"])
    assert bench(artifact, *quick, "--strict") == 3


@pytest.mark.usefixtures("all_cores")
def test_precision_and_hint_are_used_recorded_and_run_again(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("openvino") is None:  # importing it would send telemetry
        pytest.skip("openvino is not installed")
    precision = "bf16" if cpu.has_bfloat16() else "f32"
    artifact, figures, again = tiny_artifact().path, tmp_path / "a.json", tmp_path / "b.json"
    # ONNX Runtime, which auto would take otherwise, has no setting for throughput.
    words = (*QUICK, "--streams", "2", "--precision", precision, "--hint", "throughput")
    own_process(artifact, *words, "--json", figures)
    printed = own_process("--rerun", figures, "--json", again)
    for found in (read(figures), read(again)):
        config, details = found["config"], found["runtime"]["details"]
        assert (config["precision"], config["hint"]) == (precision, "throughput")
        assert (details["precision"], details["hint"]) == (precision, "throughput")
        assert details["streams"] == min(2, cpu.physical_cores())
        assert found["runtime"]["name"] == "openvino"
        assert found["peak_rss_mib"] > 20
    assert f"float layers in {precision} · for throughput" in " ".join(printed.split())
    plain = tmp_path / "c.json"
    assert bench(artifact, *QUICK, "--runtime", "openvino", "--json", plain) == 0
    old = read(plain)
    assert (old["config"]["precision"], old["config"]["hint"]) == (None, "latency")
    del old["config"]["precision"], old["config"]["hint"]  # as earlier versions wrote it
    plain.write_text(json.dumps(old))
    assert bench("--rerun", plain) == 0
    capsys.readouterr()
    assert bench("--compare", plain, figures) == 0
    assert "tiny" in capsys.readouterr().out


def test_a_runtime_without_the_choice_is_one_sentence(
    tiny_artifact: Callable[..., Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = tiny_artifact().path
    for words, sentence in (
        (("--hint", "throughput"), "ONNX Runtime has no setting for throughput: leave out"),
        (
            ("--precision", "bf16"),
            "ONNX Runtime computes in f32 only on a CPU, not in bf16: leave out",
        ),
    ):
        for where in (artifact, artifact.parent):
            assert bench(where, *QUICK, "--runtime", "onnxruntime", *words) == 1
            (line,) = capsys.readouterr().err.splitlines()
            assert sentence in line
    words = ("--tune", "--save-settings", "--precision", "f32")
    assert "--precision" in refused(capsys, artifact, *words)


def test_a_folder_takes_turns_and_can_be_compared(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_artifact("one.onnx")
    tiny_artifact("two.onnx", bias=0.1)
    (tmp_path / "broken.onnx").write_bytes(b"no")
    (tmp_path / "report.json").write_text("{}")
    figures, page = tmp_path / "out/turns.json", tmp_path / "out/turns.html"
    words = (tmp_path, *QUICK, "--runtime", "onnxruntime", "--json", figures, "--html", page)
    assert bench(*words) == 0
    said = capsys.readouterr()
    assert "not measured: broken.onnx" in said.err
    assert "two.onnx" in said.out
    found = read(figures)
    assert found["in_turns"]
    assert found["ratios"][0]["value"] == 1
    assert found["ratios"][1]["low"] <= found["ratios"][1]["value"] <= found["ratios"][1]["high"]
    assert all(result["samples"] >= 64 for result in found["results"])
    assert page.read_text().count("<svg") == 1 + 3 * 2
    assert bench("--compare", figures, figures) == 0
    table = capsys.readouterr().out
    assert "(4)" in table
    assert "95 %" in table


def test_tuning_proposes_and_the_settings_are_used_only_when_asked_for(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = tiny_artifact()
    words = (artifact.path, *QUICK, "--runtime", "onnxruntime", "--tune", "--save-settings")
    assert bench(*words) == 0
    assert "best here: --runtime onnxruntime --threads" in capsys.readouterr().out
    settings = Settings.read(artifact.path, artifact.sha256)
    with EdgeDetector.with_settings(artifact.path) as detect:
        assert detect.runtime.threads == settings.threads
    figures = tmp_path / "s.json"
    assert bench(artifact.path, *QUICK, "--settings", "--json", figures) == 0
    assert read(figures)["config"]["threads"] == settings.threads
    path = Settings.path_for(artifact.path)
    for change, word in (("device", "this is"), ("sha256", "another export")):
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, change: "0" * 64}))
        assert word in refused(capsys, artifact.path, "--settings")
        path.write_text(json.dumps(data))
    path.write_text("[]")
    assert "not a settings file" in refused(capsys, artifact.path, "--settings")
    path.unlink()
    assert "--tune --save-settings" in refused(capsys, artifact.path, "--settings")


def test_bad_input_is_one_sentence(
    measured: tuple[Path, Path],
    tiny_artifact: Callable[..., Artifact],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    artifact, figures = measured
    assert "above 0 seconds" in refused(capsys, artifact, "--duration", "0")
    assert "ARTIFACT" in refused(capsys)
    assert "--tune" in refused(capsys, artifact, "--save-settings")
    assert "two results" in refused(capsys, "--compare", figures)
    assert "--threads" in refused(capsys, "--rerun", figures, "--threads", "2")
    assert "--duration" in refused(capsys, "--compare", figures, figures, "--duration", "3")
    assert "--images" in refused(capsys, artifact, "--images", artifact, "--frame-size", "9")
    assert "offline" in refused(capsys, artifact, "--batch", "2", "--streams", "2")
    (tmp_path / "empty").mkdir()
    assert "edgead export" in refused(capsys, tmp_path / "empty")
    assert "unknown runtime 'fast'" in refused(capsys, tmp_path, "--runtime", "fast")
    other = tiny_artifact("other.onnx", bias=0.5).path
    assert "another file" in refused(capsys, other, "--rerun", figures)
    data = read(figures)
    for content, word in (
        ("{", "not valid JSON"),
        ("{}", "was not written by"),
        (json.dumps({**data, "schema": 1}), "schema 1, but this version of edgead reads schema 2"),
        (json.dumps({**data, "schema": 99}), "upgrade edgead"),
        (json.dumps({key: data[key] for key in data if key != "raw_ms"}), "lacks the key 'raw_ms'"),
        (json.dumps({"schema": 2, "results": []}), "holds no results"),
    ):
        bad = tmp_path / "bad.json"
        bad.write_text(content)
        assert word in refused(capsys, "--compare", bad, figures)
    assert "gone.json" in refused(capsys, "--rerun", tmp_path / "gone.json")


def test_more_threads_than_cores_is_a_warning(
    tiny_artifact: Callable[..., Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tiny_artifact().path, *QUICK, "--threads", "99") == 0
    assert "warning: 99 threads compete for" in capsys.readouterr().err
