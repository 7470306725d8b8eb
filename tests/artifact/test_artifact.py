from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact, Manifest, _onnx_file, read_artifact, write_artifact
from edgead.errors import ArtifactError
from tests.conftest import manifest_for, tiny_model


def test_what_was_written_is_read_back(tiny_artifact: Callable[..., Artifact]) -> None:
    written = tiny_artifact()
    assert read_artifact(written.path) == written


def test_onnx_reads_the_file_and_sees_the_manifest(tiny_artifact: Callable[..., Artifact]) -> None:
    artifact = tiny_artifact()
    onnx = pytest.importorskip("onnx", reason="a device has no onnx")
    model = onnx.load(artifact.path)
    onnx.checker.check_model(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["edgead.manifest"])["model"]["name"] == "tiny"
    assert model.graph == onnx.load_model_from_string(tiny_model()).graph


def test_metadata_is_replaced_not_repeated() -> None:
    once = _onnx_file.with_metadata(tiny_model(), "key", "one")
    twice = _onnx_file.with_metadata(once, "key", "two ü")
    assert _onnx_file.read_metadata(twice) == {"key": "two ü"}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tiny_artifact: Callable[..., Artifact], share: float) -> None:
    path = tiny_artifact().path
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match=str(path)):
        read_artifact(path)


def test_every_single_changed_byte_is_noticed(tiny_artifact: Callable[..., Artifact]) -> None:
    path = tiny_artifact().path
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(ArtifactError):
            read_artifact(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(tiny_model())
    with pytest.raises(ArtifactError, match="without an edgead manifest"):
        read_artifact(foreign)
    text = tmp_path / "text.onnx"
    text.write_text("this is not a model")
    with pytest.raises(ArtifactError, match="not a whole ONNX file"):
        read_artifact(text)
    with pytest.raises(ArtifactError, match="is a folder.*edgead export"):
        read_artifact(tmp_path)
    with pytest.raises(ArtifactError, match="cannot read"):
        read_artifact(tmp_path / "missing.onnx")


def _changed(**changes: object) -> str:
    data = json.loads(manifest_for(32, 32, (8, 8)).to_json())
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        (_changed(schema=3), "schema 3, but this version of edgead reads schemas up to 2: upgrade"),
        (_changed(schema="1"), "no valid 'schema'"),
        (_changed(threshold=None), "lacks the key 'threshold'"),
        (_changed(threshold__value=None), "lacks the key 'threshold.value'"),
        (_changed(threshold__value="high"), r"'threshold.value'.*expected float, found str"),
        (_changed(input__height=True), r"'input.height'.*expected int, found bool"),
        (_changed(model=[]), r"'model' of the wrong type .expected an object, found list"),
        (_changed(input__color="RGB"), "input.color = 'RGB'.*only 'BGR'"),
        (_changed(map__height=0), "map.height = 0"),
        (_changed().replace("0.5", "NaN", 1), "not a finite number"),
    ],
)
def test_a_wrong_manifest_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as error:
        Manifest.from_json(text, "a.onnx")
    assert "a.onnx" in str(error.value)


def test_unknown_keys_of_the_same_schema_are_ignored() -> None:
    assert Manifest.from_json(_changed(new_key=1), "a.onnx") == manifest_for(32, 32, (8, 8))


def test_rewriting_keeps_the_graph(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    first = tiny_artifact()
    manifest = first.manifest.replace(precision="fp16")
    second = write_artifact(tmp_path / "second.onnx", first.path.read_bytes(), manifest)
    assert read_artifact(second.path).manifest.precision == "fp16"
    onnx = pytest.importorskip("onnx", reason="a device has no onnx")
    assert onnx.load(second.path).graph == onnx.load(first.path).graph
