"""INT8 products of large pixels and large weights, which overflow 16 bits two at a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgead import cpu
from edgead.artifact import Artifact, QuantizationSpec, write_artifact
from edgead.calibration.calibrators import Range
from edgead.calibration.probe import probe
from edgead.errors import RuntimeUnavailableError
from edgead.export import qdq
from edgead.export.qdq import scales
from edgead.runtimes import open_runtime
from tests.conftest import SIDE, manifest_for, tiny_model

openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")

STEP = 2 / 255  # of the INT8 output, whose range is -1 to 1
WHITE = np.full((1, SIDE, SIDE, 3), 255, np.uint8)


def int8_model() -> onnx.ModelProto:
    """How bright each cell is, as the mean of 16 equal channels: one alone takes another kernel."""
    model = onnx.load_from_string(tiny_model())
    del model.graph.initializer[:]
    weights = np.full((16, 3, 4, 4), 1 / (48 * 255), np.float32)
    for name, values in (("w", weights), ("b", np.zeros(16, np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    for node in model.graph.node:
        if node.op_type == "Squeeze":
            node.CopyFrom(
                helper.make_node(
                    "ReduceMean", ["cells"], ["anomaly_map"], axes=[1], keepdims=0, name="head"
                )
            )
    return qdq.for_onnxruntime(model, {"cells": Range(-1.0, 1.0)})


def artifact_of(folder: Path, quantization: QuantizationSpec) -> Artifact:
    manifest = manifest_for(SIDE, SIDE, (SIDE // 4, SIDE // 4)).replace(
        precision="int8", quantization=quantization
    )
    return write_artifact(folder / "bright.onnx", int8_model().SerializeToString(), manifest)


@pytest.fixture
def small_weights(tmp_path: Path) -> Artifact:
    """What is exported."""
    bounded = QuantizationSpec("static", "", None, 0, None, largest_weight=qdq.LARGEST_WEIGHT)
    return artifact_of(tmp_path, bounded)


@pytest.fixture
def large_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """All that INT8 holds, in a file whose manifest says nothing of a bound."""
    monkeypatch.setattr(scales, "LARGEST_WEIGHT", 127)
    return artifact_of(tmp_path, QuantizationSpec("static", "", None, 0, None))


@pytest.mark.parametrize("weights", ["small_weights", "large_weights"])
def test_onnxruntime_adds_them_exactly(weights: str, request: pytest.FixtureRequest) -> None:
    with open_runtime(request.getfixturevalue(weights), "onnxruntime").runtime as runtime:
        np.testing.assert_allclose(runtime.infer(WHITE).anomaly_map, 1.0, atol=STEP)


def test_so_does_the_probe_that_the_head_is_fitted_with(large_weights: Artifact) -> None:
    ((cells,),) = probe(onnx.load(large_weights.path), ["anomaly_map"], [WHITE])
    np.testing.assert_allclose(cells, 1.0, atol=STEP)


@openvino
def test_openvino_adds_small_weights_exactly(small_weights: Artifact) -> None:
    with open_runtime(small_weights, "openvino").runtime as runtime:
        np.testing.assert_allclose(runtime.infer(WHITE).anomaly_map, 1.0, atol=STEP)


@openvino
def test_openvino_adds_large_weights_exactly_or_refuses(large_weights: Artifact) -> None:
    if cpu.adds_int8_exactly():
        with open_runtime(large_weights, "openvino").runtime as runtime:
            np.testing.assert_allclose(runtime.infer(WHITE).anomaly_map, 1.0, atol=STEP)
    else:
        with pytest.raises(RuntimeUnavailableError, match="neither VNNI nor AMX.*ONNX Runtime"):
            open_runtime(large_weights, "openvino")


@openvino
def test_auto_leaves_openvino_out_where_large_weights_overflow(
    large_weights: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"avx2", "fma"}))
    selection = open_runtime(large_weights)
    with selection.runtime as runtime:
        assert runtime.name == "onnxruntime"
    assert "neither VNNI nor AMX" in selection.passed_over["openvino"]
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"avx2", "avx_vnni"}))
    assert cpu.adds_int8_exactly()
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"asimd"}))
    assert cpu.adds_int8_exactly()
