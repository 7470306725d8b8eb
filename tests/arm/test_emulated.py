"""The device install on 64-bit Arm: its wheels install, and its scores are those of x86.

Emulated (qemu, user mode), so this says nothing about speed. Skipped where the Arm Python cannot
be made (no Debian, no network); with ``EDGEAD_REQUIRE_ARM=1``, as in CI, that is a failure.
"""

from __future__ import annotations

import dataclasses
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

from edgead import EdgeDetector, resizing
from edgead.artifact import Manifest, QuantizationSpec, ViewSpec, write_artifact
from edgead.calibration.photos import CalibrationPhotos
from edgead.demo import parts
from edgead.export import qdq
from edgead.export.parity import FP32_TOLERANCE
from edgead.export.source import Source
from edgead.view import View
from tests.conftest import manifest_for, part

pytestmark = [pytest.mark.arm, pytest.mark.slow]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOLERANCES = {
    "fp32.onnx": FP32_TOLERANCE,
    "int8.onnx": 1e-2,
    "tiled-int8.onnx": 1e-2,
    "taught-fp32.onnx": 1e-4,
    "taught-int8.onnx": 1e-2,
    "lite-int8.onnx": 3e-2,  # of four deep cells, where one value that is rounded otherwise counts
}
"""Largest difference of a score from this machine's, as a share of the range of the scores."""

CPUS = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}


@pytest.fixture(scope="module")
def arm_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter, with the packages of a device that also teaches (``edgead[teach]``)."""
    folder = tmp_path_factory.mktemp("arm")
    text = (ROOT / "pyproject.toml").read_text()
    wanted = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    extra = re.search(r"^teach = \[(.*)\]", text, re.MULTILINE)
    assert wanted is not None
    assert extra is not None
    names = [*re.findall(r'"([\w-]+)', wanted[1]), *re.findall(r'"([^"]+)"', extra[1])]
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
def device_folder(
    tmp_path_factory: pytest.TempPathFactory, trained_run: Path, shared_dataset: Path
) -> Path:
    """What travels to a device: FP32 and INT8 artifacts; and frames as cameras give them."""
    import onnx

    from edgead import teaching
    from edgead.export.static import static_int8

    folder = tmp_path_factory.mktemp("device")
    source = Source.open(trained_run)
    manifest = source.manifest
    write_artifact(folder / "fp32.onnx", source.graph, manifest)
    photos = CalibrationPhotos.read(source.photos.calibration(), View.of(manifest))
    made = static_int8(onnx.load_from_string(source.graph), photos)
    spec = QuantizationSpec("static", qdq.ONNXRUNTIME_SCHEME, "minmax", len(photos.good), None)
    write_artifact(
        folder / "int8.onnx",
        made.onnxruntime.SerializeToString(),
        manifest.replace(precision="int8", quantization=spec),
    )
    small = manifest.replace(precision="int8", quantization=spec)
    view = ViewSpec(1.3, (0.1, 0.0, 0.9, 0.9), rows=2, columns=2, overlap=48)
    write_artifact(
        folder / "tiled-int8.onnx", made.onnxruntime.SerializeToString(), small.replace(view=view)
    )
    for name, is_int8 in (("taught-fp32.onnx", False), ("taught-int8.onnx", True)):
        options = teaching.TeachOptions(int8=is_int8, image_size=(128, 128), max_drop=2)
        teaching.teach(shared_dataset, folder / name, options)
    write_artifact(folder / "lite-int8.onnx", *lite_int8("efficientad-lite0"))
    rng = np.random.default_rng(0)
    frames = [part(0, defect=True), part(1, (480, 640)), part(2, (96, 128), defect=True)]
    frames += [parts.render(rng)[0] for _ in range(2)]
    frames.append(part(3, (301, 222))[..., 1].copy())  # a grey camera
    for index, frame in enumerate(frames):
        np.save(folder / f"{index}.npy", frame)
    return folder


def lite_int8(name: str) -> tuple[bytes, Manifest]:
    """An INT8 file of a detector on EfficientNet-Lite0 whose trained networks are random."""
    import onnx
    import torch

    from edgead.export import graph
    from edgead.export.static import static_int8
    from edgead.models import create_model
    from tests.models.reference import randomise

    size = (64, 64)
    torch.manual_seed(0)
    model = create_model(name, size)
    randomise(model)
    good = np.stack([part(seed, size) for seed in range(8)])
    batch = torch.from_numpy(good)
    model.eval().fit(lambda: iter([batch]))
    model.fit_normalisation(lambda: iter([batch]))
    photos = CalibrationPhotos((Path("x"),) * 8, good, good[:4], (size,) * 8, "0" * 64)
    made = static_int8(onnx.load_from_string(graph.to_onnx(model)), photos)
    spec = QuantizationSpec(
        "static", qdq.ONNXRUNTIME_SCHEME, "minmax", 8, None, runtimes=("onnxruntime",)
    )
    manifest = manifest_for(*size, (model.map_spec.height, model.map_spec.width))
    exact = dataclasses.replace(manifest.input, resize=resizing.HALVED)  # bytes as on x86
    manifest = manifest.replace(precision="int8", quantization=spec, input=exact)
    return made.onnxruntime.SerializeToString(), manifest


def score(
    python: list[str], folder: Path, cpu: str | None = None, files: str = "*.onnx"
) -> dict[str, Any]:
    environment = {**os.environ, "CPU": cpu} if cpu else dict(os.environ)
    done = subprocess.run(
        [*python, str(HERE / "score_photos.py"), str(folder), files],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("cpu", CPUS)
def test_scores_are_those_of_this_machine(cpu: str, arm_python: Path, device_folder: Path) -> None:
    on_this = score([sys.executable], device_folder)
    here = on_this["artifacts"]
    # Processors differ in their integer instructions: float files run on one of them.
    files = "*.onnx" if cpu == next(iter(CPUS)) else "*int8.onnx"
    there = score([str(arm_python)], device_folder, cpu, files)
    assert there["machine"] == "aarch64"
    assert there["torch_free"]
    # Its wheel reports home like any other, into hidden folders of the home folder.
    assert there["told"] == "1"
    assert there["hidden"] == []
    assert there["halved"] == on_this["halved"]
    expected = [name for name in TOLERANCES if files == "*.onnx" or name.endswith("int8.onnx")]
    assert sorted(there["artifacts"]) == sorted(expected)
    for name in there["artifacts"]:
        tolerance, mine, theirs = TOLERANCES[name], here[name], there["artifacts"][name]
        assert theirs["pixels"] == mine["pixels"]
        reach = tolerance * float(np.ptp(mine["scores"]))
        np.testing.assert_allclose(theirs["scores"], mine["scores"], rtol=0, atol=reach)
        print(name, cpu, np.abs(np.subtract(theirs["scores"], mine["scores"])).max() / reach)


def test_what_is_taught_there_has_the_scores_of_this_machine(
    arm_python: Path, tmp_path: Path
) -> None:
    for index in range(8):
        np.save(tmp_path / f"good-{index}.npy", part(index))
    made = []
    for python in ([sys.executable], [str(arm_python)]):
        out = tmp_path / f"{len(made)}.onnx"
        words = [HERE / "teach_parts.py", tmp_path, tmp_path / f"cache{len(made)}", out]
        done = subprocess.run([*python, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        made.append(out)
    frames = [part(20 + index, defect=index % 2 == 0) for index in range(6)]
    scores, thresholds = [], []
    for path in made:
        with EdgeDetector(path, "onnxruntime", threads=1) as detect:
            scores.append([detect(frame).score for frame in frames])
            thresholds.append(detect.threshold)
    reach = 1e-4 * float(np.ptp(scores[0]))
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=reach)
    np.testing.assert_allclose(thresholds[1], thresholds[0], rtol=0, atol=reach)
