"""NVIDIA's real Python bindings without NVIDIA's libraries, and the table of what is in them.

The bindings of TensorRT 10 and 11 are small wheels of Python-to-C++ glue. Over stubs, whose
factories return null pointers, they can be imported anywhere: every class, enum and signature
is there, and nothing computes.

    python -m tests.tensorrt.bindings FOLDER...    writes api.json from unpacked wheels

Each folder holds the wheel of one version. Versions before 10 are only to be had as whole wheels
for Python 3.6 to 3.10; ``PYTHON_8`` names the interpreter for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("api.json")

PACKAGES = {"10.16.1.11": "tensorrt-cu13-bindings", "11.4.0.106": "tensorrt-cu13-bindings"}
"""What the tests install: one version with calibrators and flags, one without."""

_CLASSES = """
Builder INetworkDefinition IBuilderConfig OnnxParser ParserError IOptimizationProfile IHostMemory
ITimingCache Runtime ICudaEngine IExecutionContext EngineInspector ILogger Logger ITensor ILayer
IInt8EntropyCalibrator2 IInt8MinMaxCalibrator NetworkDefinitionCreationFlag BuilderFlag
MemoryPoolType TensorIOMode DataType DeviceType ProfilingVerbosity LayerInformationFormat
PreviewFeature TacticSource
"""

_LIST = """
import json, os, sys
from importlib import import_module
try:
    trt = import_module("tensorrt")
except ImportError:
    trt = import_module("tensorrt_bindings")
found = {}
for name in sys.argv[1].split():
    kind = getattr(trt, name, None)
    if kind is None:
        continue
    found[name] = None
    if name == "ILogger":
        found["ILogger.Severity"] = None
    for member in dir(kind):
        if not member.startswith("_"):
            text = (getattr(kind, member).__doc__ or "").strip().splitlines()
            signature = text[0] if text and text[0].startswith(member + "(") else None
            found[name + "." + member] = signature
print(json.dumps({"version": trt.__version__, "names": found}))
sys.stdout.flush()
os._exit(0)
"""


def stub_libraries(wheel: Path, target: Path) -> Path:
    """Compile libraries that satisfy the loader and return null pointers.

    Args:
        wheel: Folder of an unpacked wheel.
        target: Where the libraries shall be.
    """
    (glue,) = wheel.glob("*/tensorrt.so")
    needed = subprocess.run(
        ["readelf", "-d", glue], check=True, capture_output=True, text=True
    ).stdout
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", glue], check=True, capture_output=True, text=True
    ).stdout
    begins = ("createInfer", "createNv", "getNv", "getPlugin", "getBuilder", "initLibNv", "nvinfer")
    begins += ("createUff", "createCaffe", "shutdown", "getInferLib")
    names = {line.split()[-1].partition("@")[0] for line in symbols.splitlines()}
    source = target / "stub.c"
    target.mkdir(parents=True, exist_ok=True)
    source.write_text(
        "".join(
            f"void *{name}(void) {{ return 0; }}\n" for name in names if name.startswith(begins)
        )
    )
    for line in needed.splitlines():
        library = line.partition("[")[2].rstrip("]")
        if "NEEDED" in line and library.startswith("libnv"):
            subprocess.run(
                [
                    "gcc",
                    "-shared",
                    "-fPIC",
                    f"-Wl,-soname,{library}",
                    "-o",
                    target / library,
                    source,
                ],
                check=True,
            )
    return target


def environment(wheel: Path, libraries: Path) -> dict[str, str]:
    """Return the environment in which the bindings of a wheel can be imported."""
    return {**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(wheel)}


def surface(wheel: Path, libraries: Path, python: str = sys.executable) -> dict[str, Any]:
    """List the public names of one version, each with its signature where it has one."""
    done = subprocess.run(
        [python, "-c", _LIST, _CLASSES],
        check=True,
        capture_output=True,
        text=True,
        env=environment(wheel, libraries),
    )
    listed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return listed


def presence() -> dict[str, dict[str, bool]]:
    """Read the table: for each version, which names it has."""
    table = json.loads(TABLE.read_text())
    return {
        version: {name: bits[index] == "1" for name, bits in table["names"].items()}
        for index, version in enumerate(table["versions"])
    }


def main(folders: list[str]) -> None:
    """Write the table."""
    import tempfile

    found = {}
    for folder in folders:
        with tempfile.TemporaryDirectory() as scratch:
            old = Path(folder, "tensorrt/libnvparsers.so.8").exists()
            python = os.environ["PYTHON_8"] if old else sys.executable
            listed = surface(Path(folder), stub_libraries(Path(folder), Path(scratch)), python)
        found[listed["version"]] = listed["names"]
    versions = sorted(found, key=lambda version: [int(part) for part in version.split(".")])
    names = sorted({name for listed in found.values() for name in listed})
    rows = [
        f"  {json.dumps(name)}: "
        + json.dumps("".join("1" if name in found[version] else "0" for version in versions))
        for name in names
    ]
    TABLE.write_text(
        '{\n "versions": '
        + json.dumps(versions)
        + ',\n "names": {\n'
        + ",\n".join(rows)
        + "\n }\n}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
