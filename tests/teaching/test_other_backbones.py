"""Taught with a ResNet from a weights file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgead
from edgead import teaching
from edgead.artifact import read_artifact
from edgead.backbones import onnx_resnet, safetensors
from tests.conftest import part
from tests.teaching.conftest import few, refused, run

RESNET = ("--backbone", "resnet18", "--image-size", "64x64")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with torchvision's names; the values are He's initialisation, and need no torch."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in onnx_resnet.shapes("resnet18").items():
        if len(shape) == 4:
            arrays[name] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        else:
            arrays[name] = np.full(shape, name.endswith((".weight", "_var")), np.float32)
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    path.write_bytes(safetensors.packed({k: v.astype(np.float32) for k, v in arrays.items()}))
    return path


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_a_resnet_finds_defects(kind: str, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.onnx"
    words = ("--int8", "--max-drop", "10") if kind == "int8" else ()
    words = (*RESNET, "--backbone-weights", str(weights), *words)
    assert run("teach", few(tmp_path / "parts", 12), "--out", out, *words) == 0
    manifest = read_artifact(out).manifest
    assert manifest.precision == kind
    assert manifest.model.options["backbone"] == "resnet18"
    assert manifest.model.options["stages"] == [2, 3]
    assert manifest.teacher is not None
    assert "resnet18.safetensors" in manifest.teacher.source
    assert "that of the weights file" in manifest.teacher.licence
    more = teaching.add(out, few(tmp_path / "more", 1, 50), tmp_path / "more.onnx")
    for file in (out, more.path):
        with edgead.EdgeDetector(file) as detect:
            good = max(detect(part(index)).score for index in range(310, 316))
            bad = min(detect(part(index, defect=True)).score for index in range(300, 306))
        assert bad > good


def test_bad_weights_are_one_sentence(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = few(tmp_path / "parts", 2), tmp_path / "part.onnx"

    def said(code: int, *words: object) -> str:
        return refused(capsys, code, folder, "--out", out, "--image-size", "64x64", *words)

    assert "choose one of: efficientnet-lite0, resnet18, wide_resnet50_2" in said(
        2, "--backbone", "vgg"
    )
    assert "no weights of resnet18 are installed" in said(2, "--backbone", "resnet18")
    assert "leave out --backbone-weights" in said(2, "--backbone-weights", weights)
    missing = ("--backbone", "resnet18", "--backbone-weights", tmp_path / "none.pth")
    assert "does not exist" in said(2, *missing)
    other = ("--backbone", "wide_resnet50_2", "--backbone-weights", weights)
    assert "is not a wide_resnet50_2: " in said(1, *other)
    assert "from 1 to 3" in said(2, *RESNET[:2], "--backbone-weights", weights, "--stages", "4,5")
    assert not out.exists()
