"""The device install on 64-bit Arm: its wheels install, and its scores are those of x86.

Emulated (qemu, user mode), so this says nothing about speed. Skipped where the Arm Python cannot
be made (no Debian, no network); with ``EDGEAD_REQUIRE_ARM=1``, as in CI, that is a failure.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgead.artifact import QuantizationSpec, write_artifact
from edgead.calibration.photos import CalibrationPhotos
from edgead.demo import parts
from edgead.export.parity import FP32_TOLERANCE
from edgead.export.source import Source
from tests.conftest import part

pytestmark = [pytest.mark.arm, pytest.mark.slow]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CPUS = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}


@pytest.fixture(scope="module")
def arm_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter, with the packages that pyproject.toml asks for on a device."""
    folder = tmp_path_factory.mktemp("arm")
    text = (ROOT / "pyproject.toml").read_text()
    wanted = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert wanted is not None
    names = re.findall(r'"([\w-]+)', wanted[1])
    environment = {**os.environ, "PIP": f"{sys.executable} -m pip", "PACKAGES": " ".join(names)}
    made = subprocess.run(
        ["sh", HERE / "make_python.sh", folder],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if made.returncode:
        reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        if os.environ.get("EDGEAD_REQUIRE_ARM"):
            pytest.fail(reason)
        pytest.skip(reason)
    shutil.copytree(ROOT / "edgead", folder / "site" / "edgead")
    return folder / "python"


@pytest.fixture(scope="module")
def device_folder(tmp_path_factory: pytest.TempPathFactory, trained_run: Path) -> Path:
    """What travels to a device: an FP32 and an INT8 artifact; and frames as cameras give them."""
    import onnx

    from edgead.export import qdq
    from edgead.export.static import static_int8

    folder = tmp_path_factory.mktemp("device")
    source = Source.open(trained_run)
    manifest = source.manifest
    write_artifact(folder / "fp32.onnx", source.graph, manifest)
    photos = CalibrationPhotos.read(source.photos.calibration(), manifest.input.size)
    made = static_int8(onnx.load_from_string(source.graph), photos)
    spec = QuantizationSpec("static", qdq.ONNXRUNTIME_SCHEME, "minmax", len(photos.good), None)
    write_artifact(
        folder / "int8.onnx",
        made.onnxruntime.SerializeToString(),
        manifest.replace(precision="int8", quantization=spec),
    )
    rng = np.random.default_rng(0)
    frames = [part(0, defect=True), part(1, (480, 640)), part(2, (96, 128), defect=True)]
    frames += [parts.render(rng)[0] for _ in range(2)]
    frames.append(part(3, (301, 222))[..., 1].copy())  # a grey camera
    for index, frame in enumerate(frames):
        np.save(folder / f"{index}.npy", frame)
    return folder


def score(python: list[str], folder: Path, cpu: str | None = None) -> dict[str, Any]:
    environment = {**os.environ, "CPU": cpu} if cpu else dict(os.environ)
    done = subprocess.run(
        [*python, str(HERE / "score_photos.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("cpu", CPUS)
def test_scores_are_those_of_this_machine(cpu: str, arm_python: Path, device_folder: Path) -> None:
    here = score([sys.executable], device_folder)["artifacts"]
    there = score([str(arm_python)], device_folder, cpu)
    assert there["machine"] == "aarch64"
    assert there["torch_free"]
    # Its wheel reports home like any other, into hidden folders of the home folder.
    assert there["told"] == "1"
    assert there["hidden"] == []
    for name, tolerance in (("fp32.onnx", FP32_TOLERANCE), ("int8.onnx", 1e-2)):
        expected, found = here[name], there["artifacts"][name]
        assert found["pixels"] == expected["pixels"]
        reach = tolerance * float(np.ptp(expected["scores"]))
        np.testing.assert_allclose(found["scores"], expected["scores"], rtol=0, atol=reach)
        print(name, cpu, np.abs(np.subtract(found["scores"], expected["scores"])).max() / reach)
