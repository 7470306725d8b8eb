"""Manifests whose values are of the right type and cannot be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from edgead.artifact import (
    EngineSpec,
    Manifest,
    read_artifact,
    rebuild_command,
    sidecar_path,
    write_artifact,
    write_engine,
)
from edgead.errors import ArtifactError, UsageError
from edgead.models.registry import create_model, register_model
from tests.conftest import manifest_for, tiny_model

ENGINE = EngineSpec(
    "10.3.0.26",
    "Orin",
    "8.7",
    8,
    "linux-aarch64",
    "fp16",
    (1, 1, 8),
    True,
    {"workspace_mib": None, "dla_core": None, "calibrator": None},
    "tiny.onnx",
    "0" * 64,
    "0" * 64,
    12.5,
)


def _manifest(**changes: Any) -> str:
    data = dataclasses.asdict(manifest_for(32, 32, (8, 8)).replace(engine=ENGINE))
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        target[last] = value
    return json.dumps(data)


def test_the_manifest_that_is_changed_below_is_read() -> None:
    assert Manifest.from_json(_manifest(), "a.onnx").engine == ENGINE


@pytest.mark.parametrize(
    "name",
    ["../../X", "/abs/X", "a/b", "..", ".hidden", "-x", "a b", "", "a\nb", "ü", "n" * 101, "a\x00"],
)
@pytest.mark.parametrize("key", ["model__name", "precision", "engine__precision"])
def test_what_names_a_file_is_a_name(key: str, name: str) -> None:
    with pytest.raises(ArtifactError, match=key.replace("__", ".")) as error:
        Manifest.from_json(_manifest(**{key: name}), "a.onnx")
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input__height", 8193),
        ("input__width", 0),
        ("map__height", 33),
        ("map__width", 0),
        ("map__bottom", 5e-324),
        ("map__bottom", 1e38),
        ("map__top", -100.0),
        ("model__parameters", -1),
        ("model__gmac", 1e9),
        ("threshold__value", 1e308),
        ("threshold__value", -1e39),
        ("threshold__false_positive_rate", 1.5),
        ("threshold__false_positive_interval", [0.1, -0.1]),
        ("threshold__false_positive_interval", [0.1]),
        ("threshold__note", "n" * 4097),
        ("threshold__images", 10**19),
        ("score_statistics__std", -1.0),
        ("score", "mean of anomaly_map"),
        ("input__resize", "opencv: INTER_CUBIC"),
        ("source_sha256", "../x"),
        ("training__least_contrast", [1.0] * 15),
        ("training__least_contrast", [-1.0] * 16),
        ("training__photo_sizes", {"lowest": 0, "highest": 1, "narrowest": 1, "widest": 1}),
        ("model__options", {"o" * 5000: 1}),
        ("model__options", {"o": ["v" * 5000]}),
        ("gate", {"deep": [[[[1e300]]]]}),
        ("engine__batch", [1, 8]),
        ("engine__batch", [8, 1, 8]),
        ("engine__onnx", "../../tiny.onnx"),
        ("engine__onnx", "tiny\n.onnx"),
        ("engine__onnx", ".."),
        ("engine__options", {"workspace_mib": "1; rm"}),
        ("engine__options", {"dla_core": True}),
        ("engine__options", {"calibrator": "$(reboot)"}),
        ("engine__sha256", "0" * 63),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_line(key: str, value: Any) -> None:
    with pytest.raises(ArtifactError, match=r"the manifest of a\.onnx") as error:
        Manifest.from_json(_manifest(**{key: value}), "a.onnx")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "levels"),
        (_manifest().replace("0.5", "1" + "0" * 400, 1), "does not fit into 64 bits"),
        (_manifest().replace("0.5", "1e400", 1), "not a finite number"),
        (_manifest()[:-1] + ', "score": "x"}', "occurs twice"),
        (_manifest(threshold__note="\ud800"), "surrogates"),
        (" " * (1 << 20) + _manifest(), "characters"),
    ],
)
def test_json_that_would_end_a_parser(text: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Manifest.from_json(text, "a.onnx")


def test_what_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    manifest = manifest_for(32, 32, (8, 8))
    outside = manifest.replace(model=manifest.model.replace(name="../X"))
    with pytest.raises(ArtifactError, match="model.name"):
        write_artifact(tmp_path / "a.onnx", tiny_model(), outside)
    engine = dataclasses.replace(ENGINE, onnx="a/b.onnx")
    with pytest.raises(ArtifactError, match="engine.onnx"):
        write_engine(tmp_path / "a.engine", b"plan", manifest.replace(engine=engine))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="must match"):
        register_model("../X")(type("X", (), {}))  # type: ignore[arg-type, type-var]
    with pytest.raises(UsageError, match="8192 px a side"):
        create_model("efficientad-n", (8193, 256))


def test_an_engine_in_capitals_and_exchanged(tmp_path: Path) -> None:
    path = tmp_path / "TINY.ENGINE"
    write_engine(path, b"plan", manifest_for(32, 32, (8, 8)).replace(engine=ENGINE))
    artifact = read_artifact(path)
    assert artifact.is_engine
    assert artifact.content() == b"plan"
    write_engine(path, b"another", manifest_for(32, 32, (8, 8)).replace(engine=ENGINE))
    with pytest.raises(ArtifactError, match="was replaced"):
        artifact.content()
    sidecar_path(path).write_bytes(b"\xff")
    with pytest.raises(ArtifactError, match="is not text"):
        read_artifact(path)


def test_an_onnx_file_is_no_engine(tmp_path: Path) -> None:
    written = tmp_path / "a.onnx"
    write_artifact(written, tiny_model(), manifest_for(32, 32, (8, 8)).replace(engine=ENGINE))
    with pytest.raises(ArtifactError, match="with the manifest of a TensorRT engine"):
        read_artifact(written)


def test_the_command_that_builds_again_is_quoted() -> None:
    spec = dataclasses.replace(ENGINE, onnx="-my $(part).onnx")
    assert rebuild_command(spec) == ("edgead export './-my $(part).onnx' --out . --tensorrt fp16")


def test_a_manifest_of_the_first_version_opens() -> None:
    """What was added since then may be missing."""
    data = dataclasses.asdict(manifest_for(32, 32, (8, 8)))
    for key in ("parity", "quantization", "gate", "engine", "compression"):
        del data[key]
    del data["threshold"]["false_positive_interval"]
    del data["training"]["photo_sizes"], data["training"]["least_contrast"]
    assert Manifest.from_json(json.dumps(data), "a.onnx") == manifest_for(32, 32, (8, 8))
