"""FP16, INT8 and the input of TensorRT engines, made of a file that was taught."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgead.artifact import read_artifact
from edgead.export.tensorrt.onnx_nodes import tail
from edgead.export.tensorrt_rules import violations
from edgead.runtimes.select import order
from edgead.teaching import patchcore
from edgead.teaching.extract import Extractor
from edgead.view import View
from tests.teaching.conftest import photos_of, run


@pytest.fixture(scope="module")
def exports(taught: Path, shared_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports")
    words = ("--fp16", "--int8", "--tensorrt", "int8", "--max-drop", "3")
    assert run("export", taught, "--out", out, *words, "--calibration", shared_dataset) == 0
    return out


@pytest.mark.parametrize("kind", ["fp16", "int8", "int8-tensorrt"])
def test_other_precisions_keep_bank_and_verdicts(
    exports: Path, taught: Path, shared_dataset: Path, tmp_path: Path, kind: str
) -> None:
    file = exports / f"patchcore-{kind}.onnx"
    out = tmp_path / "found.json"
    words = ("--runtime", "onnxruntime", "--json", out)
    assert run("evaluate", file, shared_dataset, *words) == 0
    assert json.loads(out.read_text())["image_auroc"] == 1
    bank = patchcore.bank_of(onnx.load(taught))
    assert (patchcore.bank_of(onnx.load(file)) == bank).all()
    manifest = read_artifact(file).manifest
    assert manifest.gate is not None
    assert manifest.parity is not None
    assert manifest.parity.max_score_diff_relative < (0.01 if kind == "fp16" else 0.15)


def test_the_gaussian_knows_the_noise_of_int8(
    exports: Path, taught: Path, shared_dataset: Path
) -> None:
    view = View.of(read_artifact(taught).manifest)
    photos = [view.prepare(photo) for photo in photos_of(shared_dataset / "train/good")]

    def surface(path: Path) -> np.ndarray:
        extractor = Extractor(onnx.load(path))
        return np.concatenate([extractor.patches(photo).surface for photo in photos])

    def gaussian(path: Path) -> np.ndarray:
        moments = patchcore.texture_of(onnx.load(path)).moments(1.0)
        return np.concatenate([moments.total[None], moments.products])

    def seen(vectors: np.ndarray) -> np.ndarray:
        return np.concatenate([vectors.mean(0)[None], vectors.T @ vectors / len(vectors)])

    before = seen(surface(taught))
    for kind in ("int8", "int8-tensorrt"):
        file = exports / f"patchcore-{kind}.onnx"
        change = seen(surface(file)) - before
        off = gaussian(file) - gaussian(taught) - change
        assert np.linalg.norm(off) < 0.05 * np.linalg.norm(change)


def test_tensorrt_can_read_them(exports: Path) -> None:
    for kind in ("fp16", "int8-tensorrt"):
        graph = onnx.load(exports / f"patchcore-{kind}.onnx")
        assert violations(graph) == []
    operators = [node.op_type for node in graph.graph.node]
    assert operators.count("Clip") == 1  # TensorRT documents no fusion for it; the first is float
    # 43 of the backbone's 45 convolutions and their weights, and the shortcuts of its 10 sums.
    assert operators.count("QuantizeLinear") >= 86


def test_the_search_stays_float(exports: Path) -> None:
    for kind in ("fp16", "int8-tensorrt"):
        names = tail((exports / f"patchcore-{kind}.onnx").read_bytes())
        assert {"head/features", "head/bank", "head/distance"} <= names
        assert not any(name.endswith(("expand", "depthwise", "project")) for name in names)
    half = onnx.shape_inference.infer_shapes(onnx.load(exports / "patchcore-fp16.onnx"))
    kinds = {value.name: value.type.tensor_type.elem_type for value in half.graph.value_info}
    for name, kind in kinds.items():
        if name.startswith("head/"):
            assert kind != onnx.TensorProto.FLOAT16
        elif name.startswith("backbone/") and not name.endswith("_float"):
            assert kind == onnx.TensorProto.FLOAT16


def test_auto_takes_the_runtime_that_the_gate_measured(exports: Path) -> None:
    assert order(read_artifact(exports / "patchcore-int8.onnx"))[0] == "onnxruntime"


def test_what_is_not_made_is_one_sentence(
    taught: Path,
    taught_int8: Path,
    tmp_path: Path,
    shared_dataset: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file, words, said in (
        (taught, ["--compress"], "--compress and --max-latency apply to trained detectors only"),
        (taught, ["--int8", "dynamic"], "only static INT8 is made of it"),
        (taught, ["--int8", "--calibrator", "mse"], "leave out --calibrator"),
        (taught_int8, ["--fp16"], "no longer has the FP32 weights"),
        (taught_int8, ["--tensorrt", "int8"], "'edgead export FP32FILE --tensorrt int8"),
    ):
        given = ("--out", tmp_path / "exports", "--calibration", shared_dataset)
        assert run("export", file, *given, *words) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "exports").exists()
