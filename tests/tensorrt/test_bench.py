"""``edgead bench`` on an engine: stages of a GPU, a folder with engines, another GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgead.benchmarks import memory
from edgead.cli import main
from tests.tensorrt.conftest import NEEDS_COMPILER, Gpu
from tests.tensorrt.test_engine import Install, Make, built

pytestmark = NEEDS_COMPILER

QUICK = ("--duration", "0.2", "--frame-size", "60x80")


def test_an_engine_has_its_transfers_and_takes_turns_with_its_source(
    install: Install,
    onnx_artifact: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install()
    engine = built(onnx_artifact, "fp32", tmp_path / "out")
    shutil.copy(tmp_path / "tiny.onnx", tmp_path / "out")
    # The process that measures memory has no stand-in for TensorRT: its failure costs no figures.
    figures = tmp_path / "f.json"
    assert main(["bench", str(engine), *QUICK, "--json", str(figures)]) == 0
    assert "memory was not measured" in capsys.readouterr().err
    found = json.loads(figures.read_text())
    assert found["on_gpu"]
    assert found["peak_rss_mib"] is None
    assert found["stages_ms"]["host_to_device"] >= 0
    assert len(found["raw_ms"]["device_to_host"]) == found["samples"]
    monkeypatch.setattr(memory, "peak", lambda *_, **__: memory.Peak(100.0, 50.0))
    assert main(["bench", str(engine.parent), *QUICK, "--json", str(figures)]) == 0
    names = [result["runtime"]["name"] for result in json.loads(figures.read_text())["results"]]
    assert {"tensorrt", "onnxruntime"} <= set(names)


def test_an_engine_of_another_gpu_is_one_sentence(
    install: Install,
    onnx_artifact: Make,
    tmp_path: Path,
    gpu: Gpu,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install()
    engine = built(onnx_artifact, "fp16", tmp_path / "out")
    gpu.set(minor=9)
    capsys.readouterr()
    for target in (engine, engine.parent):
        assert main(["bench", str(target), *QUICK]) == 1
        errors = capsys.readouterr().err
        (sentence,) = (line for line in errors.splitlines() if line.startswith("edgead: error: "))
        assert "compute capability 8.7 (here 8.9)" in sentence
        assert "edgead export tiny-fp16.onnx" in sentence
        assert "Traceback" not in errors


def test_what_an_engine_has_settled_is_refused_and_not_ignored(
    install: Install, onnx_artifact: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install()
    engine = built(onnx_artifact, "fp16", tmp_path / "out")
    for words, sentence in (
        (("--precision", "f32"), "was built in fp16, which cannot be changed"),
        (("--hint", "throughput"), "no setting for throughput"),
    ):
        assert main(["bench", str(engine), *QUICK, "--runtime", "tensorrt", *words]) == 1
        assert sentence in capsys.readouterr().err
