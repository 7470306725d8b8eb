"""Labelled defects choose the threshold and the stages, and say what that gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import edgead
from edgead.artifact import read_artifact
from edgead.calibration import threshold as thresholds
from edgead.teaching import labelled
from edgead.teaching.patchcore import Design
from tests.conftest import part, write_photo
from tests.teaching.conftest import few, photos_of, refused, run

SMALL = edgead.TeachOptions(image_size=(64, 64), stages=(4, 5))


def blots(folder: Path, count: int) -> Path:
    for index in range(count):
        write_photo(folder / f"{index:03}.png", part(400 + index, defect=True))
    return folder


def test_the_usual_threshold_stays_where_it_makes_no_mistake() -> None:
    good = [1.0, 1.1, 1.2, 1.05, 1.15]
    usual = thresholds.from_good_scores(good, 0.01).value
    assert labelled.fewest_mistakes(good, [50.0, 60.0], 0.01) == usual
    assert labelled.fewest_mistakes(good, [], 0.01) == usual


def test_defects_move_the_threshold_no_further_than_they_have_to() -> None:
    good = [1.0, 1.1, 1.2, 1.05, 1.15]
    usual = thresholds.from_good_scores(good, 0.01).value
    assert usual > 1.35  # misses the first two
    found = labelled.fewest_mistakes(good, [1.3, 1.32, 5.0], 0.01)
    assert found == pytest.approx((1.2 + 1.3) / 2)
    # A defect that looks better than any good part is not worth calling them all anomalous.
    assert labelled.fewest_mistakes(good, [0.5, 1.3, 1.32, 5.0], 0.01) == pytest.approx(1.25)
    # A threshold that all good parts exceed is raised.
    assert labelled.fewest_mistakes([1.0, 1.0, 9.0, 9.0], [20.0], 0.9) == pytest.approx(14.5)


def trial(stages: tuple[int, ...], good: list[float], defective: list[float]) -> labelled.Trial:
    return labelled.Trial(Design((64, 64), stages), np.array(good), np.array(defective))


def test_another_detector_has_to_be_clearly_better() -> None:
    good = [float(value) for value in range(10)]
    first = trial((4, 5), good, [4.5, 5.5, 6.5, 4.5, 5.5, 6.5])
    little = trial((4,), good, [4.5, 5.5, 6.5, 4.5, 5.5, 9.5])
    much = trial((5,), good, [7.5, 8.5, 9.5, 7.5, 8.5, 8.5])
    more = trial((3, 5), good, [9.5, 9.5, 9.5, 9.5, 9.5, 8.5])
    assert labelled.best([first]) == 0
    assert labelled.best([first, little]) == 0
    assert labelled.best([first, little, much]) == 2
    assert labelled.best([first, more, much]) == 1
    assert labelled.best([trial((4, 5), good, [1.0]), trial((4,), good, [9.5])]) == 0


@pytest.mark.parametrize("count", [6, 12])
def test_defects_are_found_and_the_report_says_so(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, defects = few(tmp_path / "parts", count), blots(tmp_path / "blots", 3)
    out = tmp_path / "part.onnx"
    words = ("--image-size", "64x64", "--defects", defects)
    assert run("teach", folder, "--out", out, *words) == 0
    said = capsys.readouterr().out
    assert "of 4 choices; missed 0 of 3 defects and" in said
    assert f"false alarms of {count} in cross-validation" in said
    assert "3 defects show little of what can go wrong" in said
    manifest = read_artifact(out).manifest
    assert manifest.model.options["defects"] == 3
    assert len(manifest.model.options["defects_sha256"]) == 64
    assert "in cross-validation" in manifest.threshold.note
    with edgead.EdgeDetector(out) as detect:
        assert detect(part(500, defect=True)).is_anomalous
        assert not detect(part(501)).is_anomalous


def test_defects_that_the_usual_threshold_misses_lower_it(tmp_path: Path) -> None:
    frames = photos_of(few(tmp_path / "parts", 20))
    bad = photos_of(few(tmp_path / "others", 12, 40))
    for photo in bad:
        photo[20:26, 30:36, 0] += 40  # faint
    usual = edgead.teach(frames, tmp_path / "usual.onnx", SMALL).manifest
    made = edgead.teach(frames, tmp_path / "part.onnx", SMALL, bad).manifest
    assert usual.threshold.false_positive_rate is not None
    assert made.model.options["stages"] == [4, 5]  # chosen by hand
    with edgead.EdgeDetector(tmp_path / "usual.onnx") as detect:
        scores = [detect(photo).score for photo in bad]
    missed = sum(score <= usual.threshold.value for score in scores)
    now = sum(score <= made.threshold.value for score in scores)
    assert missed > 0
    assert now < missed
    assert made.threshold.false_positive_rate is None
    assert made.threshold.value < usual.threshold.value
    assert made.threshold.method == "fewest mistakes on good photos and labelled defects"


def test_the_order_and_names_of_the_defects_do_not_matter(tmp_path: Path) -> None:
    folder = few(tmp_path / "parts", 5)
    paths = sorted(blots(tmp_path / "blots", 4).iterdir())
    seals = {
        edgead.teach(folder, tmp_path / "part.onnx", SMALL, order).sha256
        for order in (paths, paths[::-1], [*paths, paths[0]])
    }
    assert len(seals) == 1


def test_what_would_leak_is_refused(
    tmp_path: Path, shared_dataset: Path, taught: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = few(tmp_path / "parts", 5), tmp_path / "part.onnx"
    defects = blots(tmp_path / "blots", 2)

    def said(code: int, *words: object) -> str:
        return refused(capsys, code, *words, "--out", out, "--image-size", "64x64")

    test = shared_dataset / "test/blot"
    assert "must not choose a threshold" in said(1, folder, "--defects", test)
    shutil.copytree(test, tmp_path / "copied")
    refusal = said(1, shared_dataset, "--defects", tmp_path / "copied")
    assert "is the test photo" in refusal
    shutil.copy(folder / "002.png", defects / "good.png")
    refusal = said(1, folder, "--defects", defects)
    assert "good.png is given as a defect, but is the same photo as" in refusal
    assert "002.png" in refusal
    (tmp_path / "empty").mkdir()
    assert "empty" in said(1, folder, "--defects", tmp_path / "empty")
    assert "at least 4 different good photos" in said(
        1, folder / "000.png", "--defects", tmp_path / "blots/000.png"
    )
    more = ("--add", taught, "--defects", tmp_path / "blots/000.png")
    assert "--defects cannot be given with --add" in refused(capsys, 2, folder, "--out", out, *more)
    assert not out.exists()
