"""Does every name that the code uses exist in every TensorRT that it claims to work with?"""

from __future__ import annotations

import ast
import ctypes
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tensorrt import bindings, fake_tensorrt
from tests.tensorrt.conftest import NEEDS_COMPILER

ROOT = Path(__file__).parents[2]
FILES = [*(ROOT / "export/tensorrt").glob("*.py"), *(ROOT / "runtimes/tensorrt").glob("*.py")]

OBJECTS = {
    "export/tensorrt/builder.py": {
        "builder": "Builder",
        "network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "parser": "OnnxParser",
        "parser.get_error(index)": "ParserError",
        "profile": "IOptimizationProfile",
        "cache": "ITimingCache",
        "layer": "ILayer",
        "output": "ITensor",
        "image": "ITensor",
        "network.get_input(0)": "ITensor",
        "network.get_output(index)": "ITensor",
        "runtime": "Runtime",
        "engine": "ICudaEngine",
        "inspector": "EngineInspector",
        "kinds": "NetworkDefinitionCreationFlag",
    },
    "export/tensorrt/trial.py": {"runtime": "Runtime"},
    "runtimes/tensorrt/session.py": {
        "engine": "ICudaEngine",
        "self._context": "IExecutionContext",
    },
    "runtimes/tensorrt/runtime.py": {
        "self._runtime": "Runtime",
        "self._engine": "ICudaEngine",
    },
}
"""Which expressions hold which of TensorRT's objects."""

BEHIND = {
    "BuilderFlag.FP16": [
        "BuilderFlag.INT8",
        "BuilderFlag.PREFER_PRECISION_CONSTRAINTS",
        "ILayer.precision",
        "ILayer.set_output_type",
    ],
    "IInt8EntropyCalibrator2": [
        "IInt8MinMaxCalibrator",
        "IBuilderConfig.int8_calibrator",
        "IBuilderConfig.set_calibration_profile",
    ],
}
"""A name that the code asks for, and the names that it uses once that one is there."""


def used() -> Iterator[tuple[str, ast.Attribute]]:
    """Every name of TensorRT in the code."""
    for path in FILES:
        objects = OBJECTS.get(path.relative_to(ROOT).as_posix(), {})
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            owner = ast.unparse(node.value)
            if owner in ("trt", "self._trt"):
                if not node.attr.startswith("__"):
                    yield node.attr, node
            elif re.fullmatch(r"trt(\.\w+)+", owner) and not node.attr.startswith("__"):
                yield f"{owner[4:]}.{node.attr}", node
            elif owner in objects and not node.attr.startswith("_"):
                yield f"{objects[owner]}.{node.attr}", node


def asked_for() -> set[str]:
    """Every name that the code looks for before it uses it."""
    found = {"IInt8EntropyCalibrator2", "IInt8MinMaxCalibrator"}  # by getattr, from a table
    kinds = {"kinds": "NetworkDefinitionCreationFlag"}
    for path in FILES:
        for enum, name in re.findall(r'\bhas\(([\w.]+), "(\w+)"\)', path.read_text()):
            found.add(f"{kinds.get(enum, enum.removeprefix('trt.'))}.{name}")
    return found


def test_every_name_exists_in_every_version() -> None:
    table = bindings.presence()
    names = {name for name, _ in used()}
    assert len(names) > 60  # the code is really looked at
    asked = asked_for()
    behind = {name: guard for guard, guarded in BEHIND.items() for name in guarded}
    assert set(BEHIND) <= asked
    assert set(behind) <= names | asked
    for name in sorted(names | asked):
        versions = {version for version, present in table.items() if present.get(name)}
        assert versions, f"{name} exists nowhere"
        if name in asked:
            continue
        needed = set(table)
        if name in behind:
            needed = {version for version in table if table[version][behind[name]]}
        assert versions >= needed, f"{name} is missing in {sorted(needed - versions)}"


def test_precision_can_be_chosen_one_way_or_the_other() -> None:
    for version, present in bindings.presence().items():
        strongly = present["NetworkDefinitionCreationFlag.STRONGLY_TYPED"]
        assert strongly or present["BuilderFlag.FP16"], version


@NEEDS_COMPILER
@pytest.mark.parametrize("version", list(bindings.presence()))
def test_the_stand_in_has_no_name_that_the_real_one_lacks(
    version: str, driver_library: Path
) -> None:
    trt = fake_tensorrt.package(version, ctypes.CDLL(str(driver_library)))
    assert trt.invented == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_code_is_python_3_9(path: Path) -> None:
    """TensorRT 8.5 has bindings up to 3.10 only, and machines that build engines are old."""
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    zips = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "zip"]
    assert not [call for call in zips for word in call.keywords if word.arg == "strict"]


@pytest.fixture(scope="session", params=list(bindings.PACKAGES))
def real(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """Unpack NVIDIA's bindings of one version, with stub libraries."""
    version = request.param
    if shutil.which("readelf") is None:
        pytest.skip("stub libraries are made with gcc, nm and readelf, which are not here")
    folder = tmp_path_factory.mktemp("bindings")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    wanted = f"{bindings.PACKAGES[version]}=={version}"
    done = subprocess.run([*pip, wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        pytest.skip(f"{wanted} cannot be downloaded here: {said}")
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "wheel")
    return version, folder / "wheel", bindings.stub_libraries(folder / "wheel", folder / "stubs")


@NEEDS_COMPILER
def test_the_table_is_what_the_real_bindings_have(real: tuple[str, Path, Path]) -> None:
    version, wheel, libraries = real
    listed = bindings.surface(wheel, libraries)
    assert listed["version"] == version
    present = {name for name, is_there in bindings.presence()[version].items() if is_there}
    assert set(listed["names"]) == present


@NEEDS_COMPILER
def test_calls_fit_the_real_signatures(real: tuple[str, Path, Path]) -> None:
    version, wheel, libraries = real
    signatures = bindings.surface(wheel, libraries)["names"]
    checked = 0
    for path in FILES:
        objects = OBJECTS.get(path.relative_to(ROOT).as_posix(), {})
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            kind = objects.get(ast.unparse(node.func.value))
            text = signatures.get(f"{kind}.{node.func.attr}") if kind else None
            if not text or "*args" in text:
                continue
            parameters = text[text.index("(") + 1 : text.rindex(")")].split(", ")[1:]
            most, least = len(parameters), sum(" = " not in entry for entry in parameters)
            assert least <= len(node.args) <= most, f"{ast.unparse(node)} against {text}"
            checked += 1
    assert checked > 15, version


_OVER_REAL_BINDINGS = """
import sys, tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
from edgead.errors import EdgeadError
from edgead.export.tensorrt import builder, calibrator
from edgead.export.tensorrt.options import EngineOptions
from edgead.runtimes.tensorrt import libcuda, library
from edgead.runtimes.tensorrt.device import open_device
from edgead.runtimes.tensorrt.machine import Machine
libcuda.LIBRARY = sys.argv[1]
trt, device = library.load(), open_device()
print(Machine.here(trt, device))
log = library.new_log(trt)
log.log(trt.ILogger.ERROR, "first"); log.log(trt.ILogger.INFO, "nothing")
assert library.reason(log) == "first" and log.warnings == []
for precision in ("fp32", "fp16", "int8"):
    strong = builder._can_type_strongly(trt, EngineOptions(precision), None)
    print(precision, strong, builder._network_flags(trt, strong))
    with device.current():
        try:
            builder.build(trt, device, b"", EngineOptions(precision))
        except EdgeadError as error:
            print(error)
try:
    with device.current():
        made = calibrator.calibrator(trt, device, "entropy", [], ("key",))
    print("calibrator", isinstance(made, trt.IInt8EntropyCalibrator2), made.get_batch_size())
except EdgeadError as error:
    print(error)
sys.stdout.flush()
import os
os._exit(0)
"""


@NEEDS_COMPILER
def test_the_code_runs_on_the_real_bindings_as_far_as_stubs_go(
    real: tuple[str, Path, Path], driver_library: Path
) -> None:
    """Loggers, flags and calibrators are NVIDIA's own classes here; a builder cannot be had."""
    version, wheel, libraries = real
    environment = bindings.environment(wheel, libraries)
    done = subprocess.run(
        [sys.executable, "-c", _OVER_REAL_BINDINGS, driver_library],
        env={**environment, "EDGEAD_CUDA": "libcuda"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0].startswith(
        f"Machine(tensorrt='{version}', gpu='Orin', compute_capability='8.7'"
    )
    has_flags = bindings.presence()[version]["BuilderFlag.FP16"]
    for index, precision in enumerate(("fp32", "fp16", "int8")):
        assert lines[1 + 2 * index] == f"{precision} True {3 if has_flags else 1}"
        assert f"TensorRT {version} cannot start a build on Orin" in lines[2 + 2 * index]
    assert lines[-1] == ("calibrator True 1" if has_flags else lines[-1])
    assert has_flags or "no longer has calibrators" in lines[-1]
