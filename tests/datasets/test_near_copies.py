from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead.cli import main
from edgead.datasets import Dataset, near_copies
from edgead.demo import parts
from tests.conftest import write_photo

TRAIN = 24


@pytest.fixture(scope="module")
def rendered() -> list[np.ndarray]:
    """Rendered parts, each another one, uint8 ``[120, 160, 3]``."""
    photos = [parts.render(np.random.default_rng([7, index]))[0] for index in range(TRAIN + 8)]
    return [cv2.resize(photo, (160, 120), interpolation=cv2.INTER_AREA) for photo in photos]


def test_other_parts_are_no_copies_and_changed_photos_are(
    rendered: list[np.ndarray], tmp_path: Path
) -> None:
    train = [
        write_photo(tmp_path / f"train/{index:03}.png", photo)
        for index, photo in enumerate(rendered[:TRAIN])
    ]
    other = [
        write_photo(tmp_path / f"test/{index:03}.png", photo)
        for index, photo in enumerate(rendered[TRAIN:])
    ]
    right = np.asarray([[1, 0, 5], [0, 1, 0]], np.float32)
    moved = cv2.warpAffine(rendered[4], right, (160, 120), borderMode=cv2.BORDER_REPLICATE)
    made = {
        "0.jpg": rendered[0],
        "1.png": np.clip(rendered[1] * 0.7, 0, 255).astype(np.uint8),
        "2.png": cv2.resize(rendered[2], None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA),
        "4.png": moved,
    }
    changed = [write_photo(tmp_path / "made" / name, photo) for name, photo in made.items()]
    found = near_copies(train, [*other, *changed])
    assert {(int(pair.train.stem), pair.test.name) for pair in found} == {
        (int(Path(name).stem), name) for name in made
    }


def test_evaluate_gives_the_accuracy_without_parts_that_are_in_both(
    exported: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Dataset.from_folder(dataset).train[3]
    darker = (cv2.imread(str(good)) * np.float32(0.8)).astype(np.uint8)
    again = write_photo(dataset / "test/good/again.png", darker)
    words = ["evaluate", exported, dataset, "--json", tmp_path / "found.json"]
    assert main([str(word) for word in words]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    copies = found["near_copies"]
    assert {(pair["test"], pair["train"]) for pair in copies["pairs"]} == {(str(again), str(good))}
    kept = [entry for entry in found["scores"] if entry["path"] != str(again)]
    of_defects = [entry["score"] for entry in kept if entry["kind"] != "good"]
    of_good = [entry["score"] for entry in kept if entry["kind"] == "good"]
    above = [defect > one for defect in of_defects for one in of_good]
    assert copies["image_auroc_without"] == pytest.approx(sum(above) / len(above))
    assert "(4 good and 4 defective photos)" in capsys.readouterr().out


def test_a_check_that_is_asked_for_and_impossible_is_said(
    exported: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for photo in Dataset.from_folder(dataset).train:
        photo.unlink()
    (dataset / "train/good").rmdir()
    (dataset / "train").rmdir()
    assert main(["evaluate", str(exported), str(dataset), "--leak-check"]) == 0
    said = capsys.readouterr()
    assert "--leak-check found nothing to compare" in said.err
    assert "near-copies" not in said.out
