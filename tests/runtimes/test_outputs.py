"""Graphs whose seal is right and whose inputs or outputs are not those of their manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgead import EdgeDetector
from edgead.artifact import Artifact, write_artifact
from edgead.errors import ArtifactError, EdgeadError
from edgead.runtimes import RawOutput, Runtime, RuntimeOptions, open_runtime
from edgead.runtimes.onnxruntime import OnnxRuntime
from edgead.runtimes.openvino import OpenVinoRuntime
from tests.conftest import manifest_for, part

SIDE, CELLS = 32, 8
ONE_THREAD = RuntimeOptions(threads=1)
SIZE = ["n", SIDE, SIDE, 3]
value = helper.make_tensor_value_info
node = helper.make_node


def constant(name: str, values: npt.ArrayLike, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


# Each is what comes after [N, 1, 8, 8] mean brightness "cells": nodes, constants.
MAP = node("Squeeze", ["cells", "one"], ["anomaly_map"])
SCORE = node("ReduceMax", ["anomaly_map"], ["score"], axes=[1, 2], keepdims=0)
INSTEAD = node("Identity", ["value"], ["score"])
WRONG: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto]]] = {
    "map of another size": (
        [
            node("MaxPool", ["cells"], ["fewer"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Squeeze", ["fewer", "one"], ["anomaly_map"]),
            SCORE,
        ],
        [],
    ),
    "map with its channel": (
        [
            node("Identity", ["cells"], ["anomaly_map"]),
            node("ReduceMax", ["cells"], ["score"], axes=[1, 2, 3], keepdims=0),
        ],
        [],
    ),
    "score without a batch": (
        [MAP, node("ReduceMax", ["anomaly_map"], ["score"], keepdims=0)],
        [],
    ),
    "two scores": ([MAP, INSTEAD], [constant("value", [1, 2])]),
    "score in a column": ([MAP, INSTEAD], [constant("value", [[1]])]),
    "no score": ([MAP, INSTEAD], [constant("value", [])]),
    "integer score": ([MAP, INSTEAD], [constant("value", [7], np.int64)]),
    "double score": ([MAP, INSTEAD], [constant("value", [1], np.float64)]),
    "score that is no number": ([MAP, INSTEAD], [constant("value", [np.nan])]),
    "infinite score": ([MAP, INSTEAD], [constant("value", [np.inf])]),
    "infinite cells": (
        [
            node("Log", ["nothing"], ["infinite"]),
            node("Add", ["cells", "infinite"], ["low"]),
            node("Squeeze", ["low", "one"], ["anomaly_map"]),
            SCORE,
        ],
        [constant("nothing", [0])],
    ),
    "score beside its map": ([MAP, INSTEAD], [constant("value", [5])]),
    "mean of the map": (
        [MAP, node("ReduceMean", ["anomaly_map"], ["score"], axes=[1, 2], keepdims=0)],
        [],
    ),
    "minimum of the map": (
        [MAP, node("ReduceMin", ["anomaly_map"], ["score"], axes=[1, 2], keepdims=0)],
        [],
    ),
}


def model(
    after: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto] = (),
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
) -> bytes:
    types = {tensor.name: tensor.data_type for tensor in constants}
    score_type = types.get("value", TensorProto.FLOAT)
    nodes = [
        node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        node("ReduceMean", ["nchw"], ["grey"], axes=[1], keepdims=1),
        node("AveragePool", ["grey"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        *after,
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        list(inputs or [value("image", TensorProto.UINT8, SIZE)]),
        [value("anomaly_map", TensorProto.FLOAT, None), value("score", score_type, None)],
        [constant("one", [1], np.int64), *constants],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def written(folder: Path, content: bytes) -> Artifact:
    manifest = manifest_for(SIDE, SIDE, (CELLS, CELLS))
    return write_artifact(folder / "odd.onnx", content, manifest)


@pytest.fixture(params=[OnnxRuntime, OpenVinoRuntime])
def kind(request: pytest.FixtureRequest) -> type[Runtime]:
    reason = request.param.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return request.param  # type: ignore[no-any-return]


def refused(kind: type[Runtime], artifact: Artifact) -> str:
    runtime = kind(artifact, ONE_THREAD)
    with pytest.raises(ArtifactError) as raised:
        runtime.open()
    with pytest.raises(EdgeadError, match="not open"):
        runtime.infer(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    said = str(raised.value)
    assert "odd.onnx" in said
    assert "\n" not in said
    return said


def test_outputs_as_they_should_be_are_taken(kind: type[Runtime], tmp_path: Path) -> None:
    with kind(written(tmp_path, model([MAP, SCORE])), ONE_THREAD) as runtime:
        output = runtime.infer(np.full((2, SIDE, SIDE, 3), 7, np.uint8))
    np.testing.assert_allclose(output.score, [7, 7])


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_outputs_are_refused_when_the_file_is_opened(
    fault: str, kind: type[Runtime], tmp_path: Path
) -> None:
    said = refused(kind, written(tmp_path, model(*WRONG[fault])))
    assert "export it again" in said


@pytest.mark.parametrize(
    "inputs",
    [
        [value("image", TensorProto.FLOAT, SIZE)],
        [value("image", TensorProto.UINT8, ["n", 3, SIDE, SIDE])],
        [value("image", TensorProto.UINT8, ["n", SIDE * 2, SIDE * 2, 3])],
        [value("image", TensorProto.UINT8, SIZE), value("value", TensorProto.FLOAT, [1])],
    ],
)
def test_wrong_inputs_are_refused_when_the_file_is_opened(
    inputs: list[onnx.ValueInfoProto], kind: type[Runtime], tmp_path: Path
) -> None:
    after = [MAP, INSTEAD] if len(inputs) > 1 else [MAP, SCORE]
    refused(kind, written(tmp_path, model(after, inputs=inputs)))


def test_auto_names_the_fault_of_the_file_alone(tmp_path: Path) -> None:
    artifact = written(tmp_path, model(*WRONG["two scores"]))
    with pytest.raises(
        ArtifactError, match=r"'score' is float32 \[2\], not float32 \[1\]"
    ) as error:
        open_runtime(artifact)
    assert "tensorrt" not in str(error.value)


def test_a_score_that_is_not_finite_for_one_photo_gives_no_verdict(tmp_path: Path) -> None:
    brightness = node("Reciprocal", ["cells"], ["dark"])
    after = [brightness, node("Squeeze", ["dark", "one"], ["anomaly_map"]), SCORE]
    black = np.zeros((50, 60, 3), np.uint8)
    with EdgeDetector(written(tmp_path, model(after)).path) as detect:
        assert detect(part(0)).score > 0
        with pytest.raises(EdgeadError, match=r"odd\.onnx .*not finite.*there is no verdict"):
            detect(black)
        with pytest.raises(EdgeadError, match="not finite"):
            detect([part(0), black])
        assert detect(part(0)).score > 0


def test_outputs_of_another_packages_runtime_are_checked_too(
    tiny_artifact: Callable[..., Artifact],
) -> None:
    class Theirs(OnnxRuntime):
        name: ClassVar[str] = "theirs"
        factor: ClassVar[float] = 1.0

        def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
            output = super()._infer(images)
            return RawOutput(output.anomaly_map, output.score * np.float32(self.factor))

    with Theirs(tiny_artifact(), ONE_THREAD) as runtime:
        image = np.full((1, SIDE, SIDE, 3), (0, 0, 200), np.uint8)
        assert runtime.infer(image).score.shape == (1,)
        Theirs.factor = 1.5
        with pytest.raises(EdgeadError, match="theirs runtime: its score .* is not the maximum"):
            runtime.infer(image)
    with pytest.raises(ArtifactError, match="theirs runtime"):
        Theirs(tiny_artifact(), ONE_THREAD).open()


@pytest.mark.parametrize("name", [b"image", b"anomaly_map", b"score", b"Squeeze", b"axes"])
def test_names_in_a_graph_that_are_not_text_are_one_sentence(
    name: bytes, kind: type[Runtime], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = model([MAP, SCORE]).replace(name, b"\xff\xfe" + name[2:])
    refused(kind, written(tmp_path, content))
    assert capfd.readouterr().out == ""


def test_a_file_whose_name_is_not_utf_8_is_opened(
    kind: type[Runtime], tiny_artifact: Callable[..., Artifact]
) -> None:
    artifact = tiny_artifact(os.fsdecode(b"\xff\xfe.onnx"))
    with kind(artifact, ONE_THREAD) as runtime:
        assert runtime.infer(np.zeros((1, SIDE, SIDE, 3), np.uint8)).score.shape == (1,)


def test_a_file_that_was_exchanged_after_it_was_checked_is_not_run(
    kind: type[Runtime], tiny_artifact: Callable[..., Artifact]
) -> None:
    artifact = tiny_artifact("one.onnx")
    other = tiny_artifact("two.onnx", bias=0.5)
    other.path.replace(artifact.path)
    with pytest.raises(ArtifactError, match="replaced or changed"):
        kind(artifact, ONE_THREAD).open()
