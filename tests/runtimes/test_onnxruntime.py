from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgead.artifact import Artifact, write_artifact
from edgead.errors import ArtifactError
from edgead.runtimes.onnxruntime import OnnxRuntime
from tests.conftest import manifest_for, tiny_model


def test_the_graph_computes_what_it_should(tiny_artifact: Callable[..., Artifact]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    cells = photo[0].astype(np.float64).reshape(8, 4, 8, 4, 3).mean((1, 3)) / 255
    expected = cells[..., 2] - 0.5 * cells[..., 0] - 0.5 * cells[..., 1]
    with OnnxRuntime(tiny_artifact()) as runtime:
        output = runtime.infer(photo)
    np.testing.assert_allclose(output.anomaly_map[0], expected, atol=1e-6)
    assert output.score[0] == output.anomaly_map[0].max()


def test_a_sealed_file_that_the_runtime_cannot_load_is_one_sentence(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="a device has no onnx")

    model = onnx.load_model_from_string(tiny_model())
    model.graph.node[2].op_type = "NoSuchOperator"
    path = tmp_path / "odd.onnx"
    artifact = write_artifact(path, model.SerializeToString(), manifest_for(32, 32, (8, 8)))
    with pytest.raises(ArtifactError, match=r"cannot load .*odd\.onnx") as error:
        OnnxRuntime(artifact).open()
    assert "\n" not in str(error.value)
