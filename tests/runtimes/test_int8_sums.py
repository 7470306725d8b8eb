"""INT8 products of large pixels and large weights, which overflow 16 bits two at a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgead import cpu
from edgead.artifact import Artifact, write_artifact
from edgead.calibration.calibrators import Range
from edgead.calibration.probe import probe
from edgead.errors import RuntimeUnavailableError
from edgead.export import qdq
from edgead.runtimes import open_runtime
from tests.conftest import SIDE, manifest_for, tiny_model

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


@pytest.fixture
def int8_artifact(tmp_path: Path) -> Artifact:
    manifest = manifest_for(SIDE, SIDE, (SIDE // 4, SIDE // 4)).replace(precision="int8")
    return write_artifact(tmp_path / "bright.onnx", int8_model().SerializeToString(), manifest)


def test_onnxruntime_adds_them_exactly(int8_artifact: Artifact) -> None:
    with open_runtime(int8_artifact, "onnxruntime").runtime as runtime:
        np.testing.assert_allclose(runtime.infer(WHITE).anomaly_map, 1.0, atol=STEP)


def test_so_does_the_probe_that_the_head_is_fitted_with() -> None:
    ((cells,),) = probe(int8_model(), ["anomaly_map"], [WHITE])
    np.testing.assert_allclose(cells, 1.0, atol=STEP)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")
def test_openvino_adds_them_exactly_or_refuses(int8_artifact: Artifact) -> None:
    if cpu.adds_int8_exactly():
        with open_runtime(int8_artifact, "openvino").runtime as runtime:
            np.testing.assert_allclose(runtime.infer(WHITE).anomaly_map, 1.0, atol=STEP)
    else:
        with pytest.raises(RuntimeUnavailableError, match="neither VNNI nor AMX.*ONNX Runtime"):
            open_runtime(int8_artifact, "openvino")


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")
def test_auto_leaves_openvino_out_on_a_cpu_that_overflows(
    int8_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"avx2", "fma"}))
    selection = open_runtime(int8_artifact)
    with selection.runtime as runtime:
        assert runtime.name == "onnxruntime"
    assert "neither VNNI nor AMX" in selection.passed_over["openvino"]
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"avx2", "avx_vnni"}))
    assert cpu.adds_int8_exactly()
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"asimd"}))
    assert cpu.adds_int8_exactly()
