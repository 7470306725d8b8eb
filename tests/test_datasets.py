from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead.datasets import Dataset, read_mask
from edgead.errors import DataError, ImageError
from tests.conftest import part, write_photo


def test_reads_mvtecs_layout(dataset: Path) -> None:
    found = Dataset.from_folder(dataset)
    assert (found.layout, len(found.train), len(found.test)) == ("mvtec", 16, 8)
    assert {photo.kind for photo in found.test} == {"good", "blot"}
    assert all((photo.mask is not None) == photo.is_anomalous for photo in found.test)
    assert found.warnings() == []


def test_reads_a_plain_folder(tmp_path: Path) -> None:
    for index in range(9):
        write_photo(tmp_path / f"{index}.jpg", part(index))
    (tmp_path / "notes.txt").write_text("no photo")
    found = Dataset.from_folder(tmp_path)
    assert (found.layout, len(found.train_photos()), found.test) == ("folder", 9, ())
    with pytest.raises(DataError, match="nothing to evaluate on"):
        found.test_photos()


def test_reports_photos_that_are_in_train_and_in_test(dataset: Path) -> None:
    shutil.copy(dataset / "train/good/003.png", dataset / "test/good/copy.png")
    (warning,) = Dataset.from_folder(dataset).warnings()
    assert "003.png" in warning
    assert "copy.png" in warning


def test_names_a_mask_without_a_photo(dataset: Path) -> None:
    (dataset / "test/blot/002.png").unlink()
    with pytest.raises(DataError, match="002_mask.png"):
        Dataset.from_folder(dataset)


def test_refuses_what_it_cannot_train_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        Dataset.from_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="MVTec AD's layout"):
        Dataset.from_folder(tmp_path)
    write_photo(tmp_path / "one.png", part(0))
    with pytest.raises(DataError, match="has 1 photo of good parts"):
        Dataset.from_folder(tmp_path).train_photos()


def test_names_the_categories_when_given_the_folder_above_them(dataset: Path) -> None:
    with pytest.raises(DataError, match="parts"):
        Dataset.from_folder(dataset.parent)


def test_a_mask_of_another_size_is_refused_and_a_good_photo_has_an_empty_one(
    dataset: Path,
) -> None:
    found = Dataset.from_folder(dataset)
    good = next(photo for photo in found.test if not photo.is_anomalous)
    bad = next(photo for photo in found.test if photo.is_anomalous)
    empty = read_mask(good, (70, 90))
    assert empty is not None
    assert not empty.any()
    assert bad.mask is not None
    cv2.imwrite(str(bad.mask), np.ones((5, 5), np.uint8))
    with pytest.raises((DataError, ImageError), match=bad.mask.name):
        read_mask(bad, (70, 90))


@pytest.mark.parametrize(
    "stored",
    [
        np.full((70, 90), 1, np.uint16),
        np.full((70, 90, 3), (1, 0, 0), np.uint8),
        np.full((70, 90, 4), (0, 2, 0, 255), np.uint16),
    ],
)
def test_every_value_above_0_marks_a_defect(dataset: Path, stored: np.ndarray) -> None:
    photo = next(photo for photo in Dataset.from_folder(dataset).test if photo.is_anomalous)
    stored[:10] = 0
    cv2.imwrite(str(photo.mask), stored)
    mask = read_mask(photo, (70, 90))
    assert mask is not None
    assert mask[10:].all()
    assert not mask[:10].any()


def test_photos_that_are_there_twice_are_named_once(dataset: Path) -> None:
    for name in ("b.png", "c.png"):
        shutil.copy(dataset / "train/good/003.png", dataset / "train/good" / name)
    shutil.copy(dataset / "train/good/003.png", dataset / "test/good/copy.png")
    leak, copies = Dataset.from_folder(dataset).warnings()
    assert leak.startswith("1 test photos")
    assert copies.startswith("2 photos to train on are byte-identical to others")


def test_photos_beside_a_test_folder_are_said_to_be_unread(dataset: Path) -> None:
    shutil.rmtree(dataset / "train")
    write_photo(dataset / "one.png", part(0))
    with pytest.raises(DataError, match=r"directly in a folder that has .*train/good"):
        Dataset.from_folder(dataset).train_photos()
