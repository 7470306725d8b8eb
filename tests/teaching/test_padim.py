from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

import edgead
from edgead.artifact import read_artifact
from edgead.runtimes import available, open_runtime
from edgead.teaching import padim
from edgead.view import View
from tests.conftest import part
from tests.teaching.conftest import SIZE, few, refused, run

CELLS = (4, 6)
CHANNELS = 12


def vectors_of(photos: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    places = rng.normal(size=(24, CHANNELS))
    mixed = rng.normal(size=(photos, 24, CHANNELS)) @ rng.normal(size=(CHANNELS, CHANNELS))
    return (places + 0.3 * mixed).astype(np.float32)


def learned(photos: np.ndarray) -> padim.Padim:
    learner = padim.Padim(CELLS)
    for owner, vectors in enumerate(photos):
        learner.add(vectors, owner)
    return learner


def block(values: np.ndarray, row: int, column: int) -> np.ndarray:
    """Of ``[photos, 24, channels]`` the 2x2 cells whose first one is at that place."""
    return values.reshape(len(values), *CELLS, -1)[:, row : row + 2, column : column + 2]


def test_distances_are_those_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    # All directions but one: then nothing is approximated.
    monkeypatch.setattr(padim, "_RIDGE", 0.0)
    monkeypatch.setattr(padim, "kept_of", lambda channels: channels - 1)
    photos = vectors_of(40)
    means = (photos.sum(0) + 2 * photos.mean((0, 1))) / 42
    apart = photos - means
    shared = np.cov(apart.reshape(-1, CHANNELS).T, bias=True)
    shared += np.outer(*[apart.reshape(-1, CHANNELS).mean(0)] * 2)
    found = learned(photos).head().distances(photos[3]).reshape(CELLS)
    for row, column in ((0, 0), (2, 4)):
        own = block(apart, row, column).reshape(-1, CHANNELS)
        covariance = 0.7 * own.T @ own / (len(own) - 1) + 0.3 * shared
        expected = mahalanobis(
            photos[3].reshape(*CELLS, -1)[row, column],
            means.reshape(*CELLS, -1)[row, column],
            np.linalg.inv(covariance),
        )
        assert found[row, column] == pytest.approx(expected / CHANNELS**0.5, rel=1e-3)


def test_a_photo_that_is_left_out_was_never_there() -> None:
    photos = vectors_of(5)
    left = learned(photos).without(photos[4], 4)
    assert left is not None
    expected = learned(photos[:4]).head()
    np.testing.assert_allclose(left.distances(photos[4]), expected.distances(photos[4]), rtol=1e-3)


@pytest.fixture(scope="module")
def taught_padim(tmp_path_factory: pytest.TempPathFactory, shared_dataset: Path) -> Path:
    out = tmp_path_factory.mktemp("padim") / "part.onnx"
    words = ("--detector", "padim", "--image-size", SIZE)
    assert run("teach", shared_dataset, "--out", out, *words) == 0
    return out


def test_a_file_that_every_runtime_here_runs_alike(
    taught_padim: Path, shared_dataset: Path
) -> None:
    artifact = read_artifact(taught_padim)
    assert artifact.manifest.name == "padim"
    assert artifact.manifest.model.options == {"backbone": "efficientnet-lite0", "stages": [5]}
    assert artifact.manifest.parity is not None  # with NumPy, on photos of the judge
    photos = np.stack([part(index) for index in range(300, 303)])
    pixels = np.stack([View.of(artifact.manifest).prepare(photo) for photo in photos])
    scores = []
    for name, reason in available().items():
        if reason is None and name != "torch":
            with open_runtime(artifact, name).runtime as runtime:
                scores.append(np.concatenate([runtime.infer(one[None]).score for one in pixels]))
    np.testing.assert_allclose(scores, np.broadcast_to(scores[0], np.shape(scores)), rtol=1e-4)


def test_it_finds_defects(taught_padim: Path, shared_dataset: Path) -> None:
    with edgead.EdgeDetector(taught_padim) as detect:
        bad = [detect(path).score for path in sorted((shared_dataset / "test/blot").iterdir())]
        good = [detect(path).score for path in sorted((shared_dataset / "test/good").iterdir())]
    assert min(bad) > max(good)


def test_nothing_is_added_to_it(
    taught_padim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = few(tmp_path / "more", 1)
    said = refused(capsys, 2, more, "--add", taught_padim, "--out", tmp_path / "out.onnx")
    assert "was taught with padim, which cannot learn more photos" in said


def test_few_photos_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (few(tmp_path / "parts", 7), "--detector", "padim", "--out", tmp_path / "out.onnx")
    assert "padim needs at least 8 photos" in refused(capsys, 1, *words)


def test_a_coreset_does_not_apply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--detector", "padim", "--coreset", 40, "--out", tmp_path / "out.onnx")
    assert "padim remembers no patches" in refused(capsys, 2, few(tmp_path / "more", 1), *words)
