from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact, Manifest, read_artifact, write_artifact
from edgead.cli import main
from edgead.contrast import GRID, GoodContrast, blank_cells, contrast
from edgead.datasets import Dataset
from edgead.errors import ArtifactError
from edgead.evaluation import evaluate
from edgead.images import Image, read_image
from tests.conftest import tiny_model, write_photo

Make = Callable[..., Artifact]


def textured(seed: int) -> Image:
    return np.random.default_rng(seed).integers(60, 200, (64, 96, 3), np.uint8)


def half_covered(photo: Image, noise: float = 0.0) -> Image:
    covered = photo.copy()
    right = covered[:, photo.shape[1] // 2 :]
    values = np.random.default_rng(0).normal(8, noise, right.shape)
    right[:] = np.clip(values, 0, 255).astype(np.uint8)
    return covered


def test_contrast_is_the_deviation_of_grey_in_each_cell() -> None:
    photo = textured(0)
    grey = photo @ np.array([0.114, 0.587, 0.299])
    expected = grey.reshape(GRID, 64 // GRID, GRID, 96 // GRID).std((1, 3))
    assert contrast(photo) == pytest.approx(expected, rel=0.02)
    assert contrast(photo[..., 0]) == pytest.approx(contrast(np.repeat(photo[..., :1], 3, 2)))


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_the_covered_half_is_blank_and_no_other(noise: float) -> None:
    least = GoodContrast.of([textured(seed) for seed in range(5)]).least
    assert blank_cells(textured(9), least, (640, 960)) == ()
    found = blank_cells(half_covered(textured(9), noise), least, (640, 960))
    assert len(found) == GRID**2 // 2
    assert {cell.box[0] for cell in found} == {480, 720}
    assert all(cell.box[2:] == (240, 160) for cell in found)
    assert all(cell.contrast < 0.3 * cell.least for cell in found)


def test_what_is_even_in_good_photos_may_be_even() -> None:
    least = GoodContrast.of([textured(0), half_covered(textured(1))]).least
    assert blank_cells(half_covered(textured(2)), least, (64, 96)) == ()


def test_a_training_notes_what_there_is_to_see(exported: Path, shared_dataset: Path) -> None:
    manifest = read_artifact(exported).manifest
    photos = [read_image(photo) for photo in Dataset.from_folder(shared_dataset).train_photos()]
    assert manifest.training.least_contrast is not None
    assert min(manifest.training.least_contrast) > 0
    with EdgeDetector(exported) as detect:
        assert not any(detect(photo).blank for photo in photos)
        covered = detect(np.zeros_like(photos[0]))
    assert covered.is_anomalous
    assert "almost no contrast" in str(covered.doubt)
    assert "check camera, lens and light" in str(covered.doubt)


@pytest.fixture
def looking(tiny_artifact: Make) -> Artifact:
    """A detector of red that has seen five textured photos."""
    artifact = tiny_artifact()
    least = GoodContrast.of([textured(seed) for seed in range(5)]).least
    training = dataclasses.replace(artifact.manifest.training, least_contrast=least)
    manifest = artifact.manifest.replace(training=training)
    return write_artifact(artifact.path, tiny_model(), manifest)


def test_a_blank_part_is_never_good_whatever_the_score(looking: Artifact) -> None:
    photo = textured(7)
    with EdgeDetector(looking.path) as detect:
        good, covered = detect([photo, half_covered(photo)])
    assert not good.is_anomalous
    assert good.doubt is None
    assert covered.score < covered.threshold
    assert covered.is_anomalous
    assert covered.regions == ()
    drawn = covered.overlay(half_covered(photo))
    assert (drawn[0, 50] == (0, 0, 255)).all()
    assert (good.overlay(photo)[0, 50] == photo[0, 50]).all()


def test_predict_says_what_is_wrong_with_the_photo(
    looking: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out.json"
    write_photo(photos / "covered.png", half_covered(textured(7)))
    write_photo(photos / "good.png", textured(7))
    assert main(["predict", str(looking.path), str(photos), "--json", str(out)]) == 0
    said = capsys.readouterr()
    assert "ANOMALOUS" in said.out.splitlines()[0]
    assert said.err.count("8 of 16 image regions have almost no contrast (at x=48, y=") == 1
    covered, good = json.loads(out.read_text())
    assert covered["is_anomalous"]
    assert covered["blank"][0] == [48, 0, 24, 16]
    assert good["blank"] == []


def test_evaluation_counts_a_blank_good_photo_as_a_false_alarm(
    looking: Artifact, tmp_path: Path
) -> None:
    write_photo(tmp_path / "parts/train/good/0.png", textured(0))
    write_photo(tmp_path / "parts/test/good/0.png", half_covered(textured(1)))
    write_photo(tmp_path / "parts/test/good/1.png", textured(2))
    write_photo(tmp_path / "parts/test/dark/0.png", half_covered(textured(3)))
    with EdgeDetector(looking.path) as detect:
        found = evaluate(detect, Dataset.from_folder(tmp_path / "parts"))
    assert (found.false_positives, found.misses) == (1, 0)
    assert "blank regions, anomalous at any score: 2, " in found.table()


def test_another_number_of_cells_is_damage(tiny_artifact: Make) -> None:
    manifest = tiny_artifact().manifest
    training = dataclasses.replace(manifest.training, least_contrast=(1.0, 2.0))
    with pytest.raises(ArtifactError, match="least_contrast of 2 cells, but it must be 16"):
        Manifest.from_json(manifest.replace(training=training).to_json(), "x.onnx")
