"""Sealed artifacts whose graph edgead did not write: refused in a sentence that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgead.artifact import write_artifact
from edgead.errors import ArtifactError
from edgead.export.source import Source
from tests.conftest import manifest_for, tiny_model


def convolution(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == "Conv")


def without_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].ClearField("type")


def other_batch(model: onnx.ModelProto) -> None:
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1


def nameless(model: onnx.ModelProto) -> None:
    convolution(model).name = ""


def computed_weights(model: onnx.ModelProto) -> None:
    convolution(model).input[1] = "w2"
    model.graph.node.insert(0, helper.make_node("Identity", ["w"], ["w2"]))


def shared_weights(model: onnx.ModelProto) -> None:
    again = onnx.NodeProto()
    again.CopyFrom(convolution(model))
    again.name, again.output[0] = "again", "cells2"
    model.graph.node.insert(3, again)


def without_convolution(model: onnx.ModelProto) -> None:
    node = convolution(model)
    node.CopyFrom(
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[4, 4], strides=[4, 4])
    )
    model.graph.node.insert(3, helper.make_node("ReduceMax", ["p"], ["cells"], axes=[1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_type, r"x\.onnx is not valid ONNX"),
        (other_batch, r"x\.onnx has inputs and outputs .* but its manifest says"),
        (nameless, r"x\.onnx has convolutions without names of their own"),
        (computed_weights, r"x\.onnx has a convolution whose weights are computed"),
        (shared_weights, r"x\.onnx has convolutions that share their weights"),
        (without_convolution, r"x\.onnx has no convolution: it was not written by edgead"),
    ],
)
def test_graphs_that_edgead_did_not_write(
    change: Callable[[onnx.ModelProto], None], said: str, tmp_path: Path
) -> None:
    model = onnx.load_from_string(tiny_model())
    change(model)
    artifact = write_artifact(
        tmp_path / "x.onnx", model.SerializeToString(), manifest_for(32, 32, (8, 8))
    )
    with pytest.raises(ArtifactError, match=said):
        Source.open(artifact.path)


def test_a_graph_that_does_not_compute_is_refused_under_its_own_name(tmp_path: Path) -> None:
    model = onnx.load_from_string(tiny_model())
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor) * float("nan")
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    artifact = write_artifact(
        tmp_path / "x.onnx", model.SerializeToString(), manifest_for(32, 32, (8, 8))
    )
    with pytest.raises(ArtifactError, match=r"x\.onnx contradicts its manifest .*not finite"):
        Source.open(artifact.path)
