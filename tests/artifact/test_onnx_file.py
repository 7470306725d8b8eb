"""Models whose tensors lie elsewhere, and files that two readers would read in two ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgead.artifact import Artifact, _onnx_file, read_artifact, write_artifact
from edgead.artifact._onnx_file import NotOnnxError, tagged
from edgead.errors import ArtifactError
from tests.conftest import manifest_for, tiny_model


def _external(name: str = "far") -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return tensor


def _near() -> TensorProto:
    return numpy_helper.from_array(np.zeros(1, np.int64), "near")


def _initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(_external())


def _location_alone(model: onnx.ModelProto) -> None:
    tensor = _near()
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(tensor)


def _sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(values=_near(), indices=_external(), dims=[4])


def _constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=_external()))


def _sparse_constant(model: onnx.ModelProto) -> None:
    sparse = onnx.SparseTensorProto(values=_external(), indices=_near(), dims=[4])
    model.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))


def _list_of_tensors(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Custom", [], ["c"], many=[_near(), _external()]))


def _subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [_external()])
    for _ in range(3):
        loop = helper.make_node("Loop", ["", "near"], ["c"], body=inner)
        inner = helper.make_graph([loop], "outer", [], [], [])
    model.graph.node.append(helper.make_node("If", ["near"], ["c"], then_branch=inner))


def _function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=_external())
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "F", [], ["c"], [node], imports))


def _default_of_a_function(model: onnx.ModelProto) -> None:
    _function(model)
    del model.functions[0].node[:]
    model.functions[0].attribute_proto.append(helper.make_attribute("value", _external()))


def _training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(_external())


@pytest.mark.parametrize(
    "hide",
    [
        _initializer,
        _location_alone,
        _sparse,
        _constant,
        _sparse_constant,
        _list_of_tensors,
        _subgraph,
        _function,
        _default_of_a_function,
        _training,
    ],
)
def test_tensors_in_other_files_are_refused_wherever_they_hide(
    hide: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    model = onnx.load_model_from_string(tiny_model())
    hide(model)
    path = tmp_path / "external.onnx"
    write_artifact(path, model.SerializeToString(), manifest_for(32, 32, (8, 8)))
    with pytest.raises(ArtifactError, match="external data"):
        read_artifact(path)


def test_the_fields_are_those_of_onnx() -> None:
    """The numbers that the reader has of its own, against the package's description."""
    for message, parts in {"ModelProto": _onnx_file._MODEL_PARTS, **_onnx_file._PARTS}.items():
        known = {
            field.number: field.message_type.name
            for field in getattr(onnx, message).DESCRIPTOR.fields
            if field.message_type is not None
        }
        expected = {n: kind for n, kind in known.items() if kind in _onnx_file._PARTS}
        assert parts == expected, message


def test_what_two_readers_would_read_in_two_ways_is_refused(
    tiny_artifact: Callable[..., Artifact],
) -> None:
    path = tiny_artifact().path
    data = path.read_bytes()
    graph = next(content for number, content, _ in _onnx_file.fields(data) if number == 7)
    manifest = manifest_for(64, 64, (16, 16)).to_json()
    entry = tagged(1, b"edgead.manifest") + tagged(2, manifest.encode())
    # Protobuf drops what does not fit into 32 bits, and would see a second graph here.
    hidden = bytes([0xBA, 0x80, 0x80, 0x80, 0x10]) + tagged(7, graph or b"")[1:]
    for name, added, message in (
        ("two graphs", tagged(7, graph or b""), "2 graphs"),
        ("two manifests", tagged(14, entry), "two metadata entries 'edgead.manifest'"),
        ("a number above 32 bits", hidden, "without a valid number"),
    ):
        path.write_bytes(data + added)
        with pytest.raises(ArtifactError, match=message):
            pytest.fail(f"{name} was read: {read_artifact(path)}")
    path.write_bytes(data[:4] + b"ORTM" + data[8:])
    with pytest.raises(ArtifactError, match="another format"):
        read_artifact(path)


def test_the_seal_is_its_own_entry_and_not_a_copy_of_its_text(
    tiny_artifact: Callable[..., Artifact],
) -> None:
    """What lies where the last copy of the seal's text is would not be hashed."""
    artifact = tiny_artifact()
    data = artifact.path.read_bytes()
    copy = tagged(1, b"note") + tagged(2, artifact.sha256.encode())
    artifact.path.write_bytes(data + tagged(14, copy))
    with pytest.raises(ArtifactError, match="changed or damaged"):
        read_artifact(artifact.path)


def test_many_and_deep_messages_end_in_an_error() -> None:
    with pytest.raises(NotOnnxError, match="fields"):
        _onnx_file.read_metadata(b"\x08\x08" * 2_100_000)
    deep = b""
    for number in (6, 5, 1) * 40:
        deep = tagged(number, deep)
    with pytest.raises(NotOnnxError, match="inside one another"):
        _onnx_file.has_external_data(tagged(7, deep))


def test_content_is_what_was_read_or_an_error(tiny_artifact: Callable[..., Artifact]) -> None:
    artifact = tiny_artifact()
    data = artifact.path.read_bytes()
    assert artifact.content() == data
    tiny_artifact(bias=0.25)  # a whole artifact again, but another one
    with pytest.raises(ArtifactError, match="replaced or changed after it was opened"):
        artifact.content()
    artifact.path.write_bytes(data[:-1])
    with pytest.raises(ArtifactError, match="not a whole ONNX file"):
        artifact.content()
    artifact.path.unlink()
    with pytest.raises(ArtifactError, match="cannot read"):
        artifact.content()


def test_endings_in_capitals(tiny_artifact: Callable[..., Artifact]) -> None:
    artifact = read_artifact(tiny_artifact("MODEL.ONNX").path)
    assert not artifact.is_engine
