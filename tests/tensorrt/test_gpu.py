"""The same, on a real GPU with a real TensorRT: ``pytest -m gpu``."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import read_artifact
from edgead.calibration.photos import CalibrationPhotos
from edgead.errors import ArtifactError, EdgeadError
from edgead.export import ExportOptions, export
from edgead.export.tensorrt import EngineOptions, export_engine
from edgead.export.tensorrt.check import TOLERANCE
from edgead.runtimes.tensorrt import TensorRT, library

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(library.problem() is not None, reason=str(library.problem())),
]


@pytest.fixture(scope="module")
def exports(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu")
    export(trained_run, out, ExportOptions(fp16=True, int8="static", max_drop=100))
    return out


@pytest.fixture(scope="module")
def photos(shared_dataset: Path) -> CalibrationPhotos:
    return CalibrationPhotos.read(sorted((shared_dataset / "train/good").iterdir()), (96, 128))


@pytest.fixture(scope="module")
def engine(exports: Path, photos: CalibrationPhotos) -> Path:
    export_engine(exports / "efficientad-n-fp16.onnx", exports, EngineOptions("fp16"), photos)
    return exports / "efficientad-n-fp16.engine"


@pytest.mark.parametrize(
    ("suffix", "precision"), [("", "fp32"), ("-fp16", "fp16"), ("-int8-tensorrt", "int8")]
)
def test_scores_are_onnx_runtimes(
    suffix: str, precision: str, exports: Path, photos: CalibrationPhotos
) -> None:
    source = exports / f"efficientad-n{suffix}.onnx"
    made = export_engine(source, exports, EngineOptions(precision), photos, max_drop=100)
    parity = made.variants[1].parity
    assert parity.max_score_diff_relative < TOLERANCE.get(precision, 0.1)
    assert parity.label_flips == 0 or precision == "int8"
    assert made.details["layers"]


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
