"""Small real things that many tests need: photos, an artifact without torch, a trained run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import notices
from edgead.artifact import (
    Artifact,
    InputSpec,
    Manifest,
    MapSpec,
    ModelSpec,
    ScoreStatistics,
    TeacherSpec,
    ThresholdSpec,
    TrainingSpec,
    write_artifact,
)
from edgead.images import RESIZE_METHOD
from tests import onnx_bytes
from tests.leaks import nothing_is_left_behind  # noqa: F401

SIDE = 32

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""Those that this process started with; empty where the system does not tell."""


def pytest_configure() -> None:
    """Keep each worker of pytest-xdist on a core of its own, with one thread in all it starts.

    On two cores, two workers of two threads each take twice the CPU time: a thread that waits for
    another one spins, on a core that the other one needs.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if CORES and worker.startswith("gw"):
        os.sched_setaffinity(0, {CORES[int(worker[2:]) % len(CORES)]})


@pytest.fixture
def all_cores() -> Iterator[None]:
    """Run a test on all cores: one whose threads must really meet each other."""
    if not CORES:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield
    os.sched_setaffinity(0, own)


def part(seed: int, size: tuple[int, int] = (70, 90), defect: bool = False) -> np.ndarray:
    """A disc on a grey ground, uint8 BGR; with a bright blot when defective."""
    rng = np.random.default_rng(seed)
    photo = np.full((*size, 3), (60, 70, 80), np.uint8)
    centre = (size[1] // 2 + int(rng.integers(-2, 3)), size[0] // 2)
    cv2.circle(photo, centre, min(size) // 3, (150, 140, 130), -1)
    if defect:
        cv2.circle(photo, (centre[0] - 8, centre[1] + 5), 6, (20, 20, 240), -1)
    noise = rng.normal(0, 3, photo.shape)
    return np.clip(photo + noise, 0, 255).astype(np.uint8)


def write_photo(path: Path, photo: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), photo)
    return path


def write_dataset(root: Path, train: int = 16, good: int = 4, defects: int = 4) -> Path:
    """A data set in MVTec AD layout with masks."""
    for index in range(train):
        write_photo(root / f"train/good/{index:03}.png", part(index))
    for index in range(good):
        write_photo(root / f"test/good/{index:03}.png", part(100 + index))
    for index in range(defects):
        defective, clean = part(200 + index, defect=True), part(200 + index)
        write_photo(root / f"test/blot/{index:03}.png", defective)
        mask = (np.abs(defective.astype(int) - clean).max(-1) > 30).astype(np.uint8) * 255
        write_photo(root / f"ground_truth/blot/{index:03}_mask.png", mask)
    return root


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "parts")


def manifest_for(height: int, width: int, cells: tuple[int, int]) -> Manifest:
    return Manifest(
        edgead_version="0.1.0",
        model=ModelSpec("tiny", 100, 0.001, {}),
        input=InputSpec(height, width, "uint8", "NHWC", "BGR", RESIZE_METHOD),
        map=MapSpec(*cells, 0.0, 0.0, float(height), float(width)),
        score="maximum of anomaly_map",
        threshold=ThresholdSpec(0.5, "test", 0.01, 10, ""),
        score_statistics=ScoreStatistics(10, 0.1, 0.01, 0.08, 0.1, 0.12),
        precision="fp32",
        source_sha256="0" * 64,
        teacher=TeacherSpec("none", "test", "Apache-2.0", "0" * 64),
        training=TrainingSpec("parts", 10, 2, 5, 0, "2026-01-01T00:00:00+00:00"),
    )


def tiny_model(size: tuple[int, int] = (SIDE, SIDE), bias: float = 0.0) -> bytes:
    """An ONNX graph with edgead's contract: how red each 4x4 cell is, in 0..1, plus a bias."""
    weight = np.zeros((1, 3, 4, 4), np.float32)
    weight[0, 2] = 1 / (16 * 255)
    weight[0, :2] = -0.5 / (16 * 255)
    nodes = [
        onnx_bytes.node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        onnx_bytes.node("Cast", ["nchw"], ["x"], to=onnx_bytes.FLOAT),
        onnx_bytes.node("Conv", ["x", "w", "b"], ["cells"], "net/conv", strides=[4, 4]),
        onnx_bytes.node("Squeeze", ["cells", "axis"], ["anomaly_map"]),
        onnx_bytes.node("ReduceMax", ["anomaly_map"], ["score"], axes=[1, 2], keepdims=0),
    ]
    height, width = size
    cells: onnx_bytes.Sizes = ("batch", height // 4, width // 4)
    graph = onnx_bytes.graph(
        nodes,
        [onnx_bytes.value("image", onnx_bytes.UINT8, ("batch", height, width, 3))],
        [
            onnx_bytes.value("anomaly_map", onnx_bytes.FLOAT, cells),
            onnx_bytes.value("score", onnx_bytes.FLOAT, ("batch",)),
        ],
        [
            onnx_bytes.weight("w", weight),
            onnx_bytes.weight("b", np.array([bias], np.float32)),
            onnx_bytes.weight("axis", np.array([1], np.int64)),
        ],
    )
    return onnx_bytes.model(graph)


@pytest.fixture
def tiny_artifact(tmp_path: Path) -> Callable[..., Artifact]:
    """Make an artifact whose score is how red the reddest cell of a photo is."""

    def make(
        name: str = "tiny.onnx", size: tuple[int, int] = (SIDE, SIDE), bias: float = 0.0
    ) -> Artifact:
        manifest = manifest_for(*size, (size[0] // 4, size[1] // 4))
        return write_artifact(tmp_path / name, tiny_model(size, bias), manifest)

    return make


@pytest.fixture(scope="session")
def shared_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that no test changes."""
    return write_dataset(tmp_path_factory.mktemp("data") / "parts")


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, shared_dataset: Path) -> Path:
    """A finished training of efficientad-n; a few steps on small photos, but the real thing."""
    pytest.importorskip("torch", reason="a device has no torch")
    from edgead.training import TrainConfig, train

    out = tmp_path_factory.mktemp("runs") / "run"
    # FP32: in bfloat16, which some processors have, it would be another detector.
    config = TrainConfig(
        "efficientad-n",
        str(shared_dataset),
        image_size=(96, 128),
        steps=12,
        batch_size=2,
        precision="32-true",
    )
    train(config, out, device="cpu")
    return out


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, trained_run: Path) -> Path:
    """The artifact exported from ``trained_run``."""
    from edgead.export import export

    out = tmp_path_factory.mktemp("exports")
    (variant,) = export(trained_run, out)
    return out / str(variant.file)


_LONGEST = (
    "tests/arm/test_emulated.py",
    "tests/export/test_int8.py",
    "tests/export/compress/test_compress.py",
    "tests/compare/test_compare.py",
    "tests/test_privacy.py",
    "tests/kill/test_kill.py",
    "tests/tensorrt/test_engine.py",
    "tests/demo/test_demo.py",
    "tests/training/test_stopping.py",
    "tests/export/test_every_detector.py",
    "tests/fuzz/test_fuzz.py",
    "tests/models/test_new_detector.py",
    "tests/view/test_viewed_detectors.py",
)
"""Files that are begun first: one that is begun last keeps one worker busy when all others are
done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, and count what needs a training as slow.

    Setting up a training takes most of a minute.
    """
    turns = {file: turn for turn, file in enumerate(_LONGEST)}
    items.sort(key=lambda item: turns.get(item.nodeid.partition("::")[0], len(turns)))
    for item in items:
        if "trained_run" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests out of the user's calibration cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEAD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _shown_notices() -> Iterator[None]:
    """Let tests that call the library read its warnings as a command prints them."""
    with notices.shown():
        yield
