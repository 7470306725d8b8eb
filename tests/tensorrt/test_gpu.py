"""The same, on a real GPU with a real TensorRT: ``pytest -m gpu``.

A device has no torch to train a detector with. There, ``$EDGEAD_EXPORTS`` names a folder that
``edgead export RUN --fp16 --int8 static`` wrote elsewhere, and ``$EDGEAD_PHOTOS`` a folder of good
photos of its part.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact, read_artifact
from edgead.benchmarks.tensorrt import sources
from edgead.calibration.photos import CalibrationPhotos
from edgead.errors import ArtifactError, EdgeadError
from edgead.export.tensorrt import EngineOptions, export_engine
from edgead.export.tensorrt.check import TOLERANCE
from edgead.runtimes.tensorrt import TensorRT, library
from edgead.view import View

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(library.problem() is not None, reason=str(library.problem())),
]


@pytest.fixture(scope="module")
def artifacts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Artifact]:
    """What engines are built from, by the engine's precision."""
    named = os.environ.get("EDGEAD_EXPORTS")
    if named is not None:
        folder = Path(named)
    else:
        from edgead.export import ExportOptions, export

        folder = tmp_path_factory.mktemp("gpu")
        options = ExportOptions(fp16=True, int8="static", max_drop=100)
        export(request.getfixturevalue("trained_run"), folder, options)
    return {str(found.manifest.kind.engine): found for found in sources(folder)}


@pytest.fixture(scope="module")
def photos(request: pytest.FixtureRequest, artifacts: dict[str, Artifact]) -> CalibrationPhotos:
    named = os.environ.get("EDGEAD_PHOTOS")
    folder = (
        Path(named)
        if named is not None
        else request.getfixturevalue("shared_dataset") / "train/good"
    )
    return CalibrationPhotos.read(sorted(folder.iterdir()), View.of(artifacts["fp16"].manifest))


@pytest.fixture(scope="module")
def engine(
    artifacts: dict[str, Artifact],
    photos: CalibrationPhotos,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("engine")
    return export_engine(artifacts["fp16"].path, out, EngineOptions("fp16"), photos).path


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_scores_are_onnx_runtimes(
    precision: str, artifacts: dict[str, Artifact], photos: CalibrationPhotos, tmp_path: Path
) -> None:
    source = artifacts[precision].path
    made = export_engine(source, tmp_path, EngineOptions(precision), photos, max_drop=100)
    parity = made.variants[1].parity
    assert parity.max_score_diff_relative < TOLERANCE.get(precision, 0.1)
    assert parity.label_flips == 0 or precision == "int8"
    assert made.details["layers"]


def test_calibration_by_tensorrt(
    artifacts: dict[str, Artifact], photos: CalibrationPhotos, tmp_path: Path
) -> None:
    if not hasattr(library.load(), "IInt8EntropyCalibrator2"):
        pytest.skip("this TensorRT has no calibrators")
    options = EngineOptions("int8", calibrator="entropy")
    made = export_engine(artifacts["fp32"].path, tmp_path, options, photos, max_drop=100)
    assert made.variants[1].parity.max_score_diff_relative < 0.5


def test_the_second_build_reuses_timings(
    artifacts: dict[str, Artifact], photos: CalibrationPhotos, engine: Path, tmp_path: Path
) -> None:
    made = export_engine(artifacts["fp16"].path, tmp_path, EngineOptions("fp16"), photos)
    assert made.details["timing_cache"] == "reused"


def test_frames_run_as_a_cuda_graph(engine: Path, photos: CalibrationPhotos) -> None:
    with EdgeDetector(engine, "tensorrt") as detect:
        first = [detect(photo).score for photo in photos.good[:4]]
        assert detect.runtime.details["cuda_graph"] == "in use"
        assert [detect(photo).score for photo in photos.good[:4]] == first


@pytest.mark.parametrize("backend", ["pycuda", "libcuda"])
def test_every_batch_thread_and_backend_gives_the_same(
    backend: str, engine: Path, photos: CalibrationPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "pycuda":
        pytest.importorskip("pycuda")
    monkeypatch.setenv("EDGEAD_CUDA", backend)
    found: dict[int, list[float]] = {}
    with EdgeDetector(engine, "tensorrt") as detect:
        assert detect.runtime.details["memory"] == backend
        expected = [detect(photo).score for photo in photos.good[:8]]
        assert [d.score for d in detect([*photos.good[:8]])] == pytest.approx(expected, rel=1e-2)

        def work(worker: int) -> None:
            found[worker] = [detect(photo).score for photo in photos.good[:8] for _ in range(10)]

        workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        with pytest.raises(EdgeadError, match="takes batches of 1 to 8"):
            detect([photos.good[0]] * 9)
    assert [scores[::10] for scores in found.values()] == [expected] * 4


def test_memory_comes_back(engine: Path, photos: CalibrationPhotos) -> None:
    from edgead.runtimes.tensorrt.device import open_device

    device = open_device()
    free = []
    for _ in range(6):
        with TensorRT(read_artifact(engine)) as runtime:
            assert np.isfinite(runtime.infer(photos.good[:1]).score).all()
        with device.current():
            free.append(device.memory()[0])
    device.close()
    assert free[-1] >= free[1] - (8 << 20)


def test_a_changed_engine_is_refused(engine: Path, tmp_path: Path) -> None:
    plan = bytearray(engine.read_bytes())
    plan[len(plan) // 2] ^= 1
    copy = tmp_path / engine.name
    copy.write_bytes(bytes(plan))
    beside = engine.with_name(engine.name + ".json")
    copy.with_name(beside.name).write_bytes(beside.read_bytes())
    with pytest.raises(ArtifactError, match="truncated, changed"):
        EdgeDetector(copy)
