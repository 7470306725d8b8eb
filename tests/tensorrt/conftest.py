"""A GPU and a TensorRT to test with where there is none: see fake_driver.c and fake_tensorrt.py."""

from __future__ import annotations

import ctypes
import importlib.machinery
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgead.artifact import Artifact, write_artifact
from edgead.export import fp16
from edgead.export.tensorrt.onnx_nodes import cast_first
from edgead.runtimes.tensorrt import libcuda
from tests.conftest import manifest_for, tiny_model
from tests.tensorrt import fake_tensorrt

NEEDS_COMPILER = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("nm") is None,
    reason="the stand-in for the GPU's driver is compiled, and there is no gcc here",
)


class Gpu:
    """The fake GPU: what it is, and what on it is still alive."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.driver = ctypes.CDLL(str(library))

    def set(self, **values: int) -> None:
        for what, value in values.items():
            self.driver.fake_set(what.encode(), ctypes.c_long(value))

    def rename(self, name: str) -> None:
        self.driver.fake_name(name.encode())

    def alive(self) -> dict[str, int]:
        kinds = ("contexts", "streams", "events", "graphs", "pushed", "memory", "pinned")
        return {kind: self.driver.fake_alive(kind.encode()) for kind in kinds}


NOTHING = dict.fromkeys(
    ("contexts", "streams", "events", "graphs", "pushed", "memory", "pinned"), 0
)


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("driver") / "libcuda.so"
    source = Path(__file__).with_name("fake_driver.c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-pthread", "-o", target, source]
    subprocess.run(command, check=True)
    return target


@pytest.fixture
def gpu(driver_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A GPU of its own for each test: a copy of a library is loaded as another one."""
    library = shutil.copy(driver_library, tmp_path / "libcuda.so")
    monkeypatch.setattr(libcuda, "LIBRARY", str(library))
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEAD_CUDA", "libcuda")
    return Gpu(library)


@pytest.fixture
def install(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], types.ModuleType]]:
    """Install one version of tensorrt; at the end nothing may have crashed or leaked."""
    installed: list[types.ModuleType] = []

    def put(version: str = "10.3.0") -> types.ModuleType:
        trt = fake_tensorrt.package(version, gpu.driver)
        trt.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        installed.append(trt)
        return trt

    yield put
    assert [trt.problems for trt in installed] == [[] for _ in installed]
    assert gpu.alive() == NOTHING


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put Q/DQ pairs before the convolution, as TensorRT wants them."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    position, conv = next((i, n) for i, n in enumerate(graph.node) if n.op_type == "Conv")
    weight = numpy_helper.to_array(next(t for t in graph.initializer if t.name == conv.input[1]))
    scales = {0: np.float32(2), 1: np.float32(np.abs(weight).max() / 127)}
    for index, scale in scales.items():
        name = conv.input[index]
        pair = [f"{name}_scale", f"{name}_zero"]
        graph.initializer.append(numpy_helper.from_array(np.asarray(scale), pair[0]))
        graph.initializer.append(numpy_helper.from_array(np.asarray(0, np.int8), pair[1]))
        for kind, source, target in (
            ("QuantizeLinear", name, f"{name}_q"),
            ("DequantizeLinear", f"{name}_q", f"{name}_dq"),
        ):
            node = helper.make_node(kind, [source, *pair], [target], f"{name}/{kind}")
            graph.node.insert(position, node)
            position += 1
        conv.input[index] = f"{name}_dq"
    onnx.checker.check_model(changed)
    return changed


@pytest.fixture
def onnx_artifact(tmp_path: Path) -> Callable[[str], Artifact]:
    """Make the artifact that an engine of a precision is built from."""

    def make(precision: str) -> Artifact:
        model = onnx.load_from_string(tiny_model())
        kind = {"int8": "int8-tensorrt"}.get(precision, precision)
        if precision == "fp16":
            model = fp16.for_gpus(model, {})
        elif precision == "int8":
            model = quantized(model)
        data = model.SerializeToString()
        manifest = manifest_for(32, 32, (8, 8)).replace(precision=kind)
        if precision != "fp32":
            data = cast_first(data)
        return write_artifact(tmp_path / f"{manifest.name}.onnx", data, manifest)

    return make
