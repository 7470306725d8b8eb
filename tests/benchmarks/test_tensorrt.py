from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from edgead.benchmarks import tensorrt
from tests.conftest import part, write_photo
from tests.tensorrt.conftest import NEEDS_COMPILER, driver_library, onnx_artifact

__all__ = ["driver_library", "onnx_artifact"]
pytestmark = NEEDS_COMPILER

ROOT = Path(__file__).parents[2]
_SHIM = """
import ctypes, os, sys
sys.path.insert(0, {root!r})
from tests.tensorrt import fake_tensorrt
trt = fake_tensorrt.package("8.6.0", ctypes.CDLL("libcuda.so.1"))
trt.drift = float(os.environ["DRIFT"])
sys.modules["tensorrt"] = trt
"""


@pytest.fixture
def machine(driver_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give other processes the fake GPU and the fake TensorRT."""
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(driver_library, site / "libcuda.so.1")
    (site / "tensorrt.py").write_text(_SHIM.format(root=str(ROOT)))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    monkeypatch.setenv("EDGEAD_CUDA", "libcuda")


@pytest.mark.parametrize(("drift", "code"), [("1", 0), ("1.2", 1)])
def test_engines_are_built_tried_and_judged(
    drift: str,
    code: int,
    machine: None,
    onnx_artifact: Callable[[str], Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DRIFT", drift)
    artifact = onnx_artifact("fp16")
    exports = tmp_path / "exports"
    exports.mkdir()
    shutil.move(artifact.path, exports / artifact.path.name)
    for seed in range(4):
        write_photo(tmp_path / f"photos/{seed}.png", part(seed, defect=bool(seed % 2)))
    out = tmp_path / "out"
    assert tensorrt.main([str(out), str(exports), "--photos", str(tmp_path / "photos")]) == code
    (found,) = json.loads((out / "tensorrt.json").read_text())["engines"]
    assert found["tensorrt"] == "8.6.0"
    assert found["threads"] == "0 of 320 scores differ"
    assert found["damage"] == "refused"
    assert found["left_after_closing_mib"] == 0
    assert found["cuda_graph"] == "in use"
    assert found["latency"]["8"]["host_to_host_ms"] >= found["latency"]["8"]["compute_ms"]
    assert (found["failed"] == []) == (code == 0)
    text = (out / "tensorrt.md").read_text()
    assert "| exports-tiny-fp16 fp16 |" in text
    assert ("passed" in text) == (code == 0)


def test_a_machine_without_a_gpu(
    onnx_artifact: Callable[[str], Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx_artifact("fp16")
    write_photo(tmp_path / "photos/0.png", part(0))
    words = [str(tmp_path / "out"), str(tmp_path), "--photos", str(tmp_path / "photos")]
    assert tensorrt.main(words) == 1
    assert "there is no NVIDIA driver" in capsys.readouterr().err
