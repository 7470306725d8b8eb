from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies import baselines


@pytest.fixture
def without_the_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling for torch and calibrating for NNCF take a minute each."""

    def fails(*_: object) -> None:
        raise RuntimeError("left out in this test")

    monkeypatch.setattr(baselines, "_compiled", fails)
    monkeypatch.setattr(baselines, "_nncf", fails)


@pytest.mark.usefixtures("without_the_slow")
def test_ratios_are_to_torch_and_what_cannot_run_is_told(
    trained_run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"{trained_run}={exported.parent}", "--out", str(tmp_path), "--rounds", "2"]
    assert baselines.main(words) == 0
    (found,) = json.loads((tmp_path / "baselines.json").read_text()).values()
    names = list(found["ms"])
    assert names[0] == "torch eager, FP32"
    assert {"plain ONNX Runtime, FP32", "edgead, onnxruntime, FP32"} <= set(names)
    assert all(len(values) == 2 for values in found["ms"].values())
    said = capsys.readouterr().out
    assert "| torch eager, FP32 |" in said
    assert "NNCF INT8: left out in this test" in said


def test_a_folder_without_an_fp32_file(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert baselines.main([f"{trained_run}={tmp_path}", "--out", str(tmp_path)]) == 2
    assert "holds no FP32 artifact: edgead export" in capsys.readouterr().err
