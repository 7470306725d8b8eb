"""Masks: which photo they belong to, and what they mark."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead.datasets import Dataset, Photo, read_mask
from edgead.errors import DataError
from tests.conftest import write_photo

_SIZE = (70, 90)


def test_a_mask_of_another_size_is_refused_and_a_good_photo_has_an_empty_one(
    dataset: Path,
) -> None:
    found = Dataset.from_folder(dataset)
    good = next(photo for photo in found.test if not photo.is_anomalous)
    bad = next(photo for photo in found.test if photo.is_anomalous)
    empty = read_mask(good, (70, 90))
    assert empty is not None
    assert not empty.any()
    (mask,) = bad.masks
    cv2.imwrite(str(mask), np.ones((5, 5), np.uint8))
    with pytest.raises(DataError, match=mask.name):
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
    cv2.imwrite(str(photo.masks[0]), stored)
    mask = read_mask(photo, (70, 90))
    assert mask is not None
    assert mask[10:].all()
    assert not mask[:10].any()


def _defective(root: Path) -> Photo:
    return next(photo for photo in Dataset.from_folder(root).test if photo.is_anomalous)


def _shape() -> np.ndarray:
    mask = np.zeros(_SIZE, np.uint8)
    cv2.circle(mask, (40, 30), 15, 255, -1)
    return mask


def _store(root: Path, suffix: str, stored: np.ndarray, *options: int) -> Photo:
    """Put a mask in place of the first one."""
    (root / "ground_truth/blot/000_mask.png").unlink()
    path = root / f"ground_truth/blot/000_mask{suffix}"
    assert cv2.imwrite(str(path), stored, options)
    return _defective(root)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", (cv2.IMWRITE_JPEG_QUALITY, 60)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 40)),
    ],
)
def test_what_compression_leaves_around_a_shape_is_not_marked(
    dataset: Path, suffix: str, options: tuple[int, ...]
) -> None:
    shape = _shape()
    photo = _store(dataset, suffix, cv2.merge([shape] * 3), *options)
    assert ((cv2.imread(str(photo.masks[0]), 0) > 0) != (shape > 0)).sum() > 50
    mask = read_mask(photo, _SIZE)
    assert mask is not None
    assert (mask != (shape > 0)).sum() <= 8


def test_labels_in_a_lossless_webp_count(dataset: Path) -> None:
    stored = cv2.merge([_shape() // 128, _shape() // 64, _shape() * 0])
    photo = _store(dataset, ".webp", stored, cv2.IMWRITE_WEBP_QUALITY, 101)
    mask = read_mask(photo, _SIZE)
    assert np.array_equal(mask, _shape() > 0)


@pytest.mark.parametrize("colour", [0, 255])
def test_the_shape_may_be_in_alpha_alone(dataset: Path, colour: int) -> None:
    stored = np.full((*_SIZE, 4), colour, np.uint8)
    stored[..., 3] = _shape()
    mask = read_mask(_store(dataset, ".png", stored), _SIZE)
    assert np.array_equal(mask, _shape() > 0)


def test_transparent_colour_is_not_marked(dataset: Path) -> None:
    stored = np.full((*_SIZE, 4), 255, np.uint8)
    stored[..., 0] = stored[..., 3] = _shape()
    mask = read_mask(_store(dataset, ".png", stored), _SIZE)
    assert np.array_equal(mask, _shape() > 0)


def test_a_mask_that_marks_nothing_is_named_and_counts_as_none(dataset: Path) -> None:
    photo = _store(dataset, ".png", np.zeros(_SIZE, np.uint8))
    assert read_mask(photo, _SIZE) is None
    (warning,) = Dataset.from_folder(dataset).warnings()
    assert warning.startswith("1 masks of defective photos are empty")
    assert "000_mask.png" in warning


def test_an_inverted_mask_is_named(dataset: Path) -> None:
    _store(dataset, ".png", 255 - _shape())
    (warning,) = Dataset.from_folder(dataset).warnings()
    assert "more than half" in warning
    assert "000_mask.png" in warning


@pytest.mark.parametrize(
    "name",
    [
        "000.png",
        "000_gt.png",
        "000-mask.bmp",
        "000_label.tif",
        "000_mask_mask.png",
        "000_MASK.PNG",
        "mask_000.png",
        "000.png.png",
        "000.ground_truth.png",
        "000/000.png",
    ],
)
def test_masks_are_found_under_the_names_that_tools_give(dataset: Path, name: str) -> None:
    (dataset / "ground_truth/blot/000_mask.png").unlink()
    path = write_photo(dataset / "ground_truth/blot" / name, _shape())
    photo = _defective(dataset)
    assert photo.masks == (path,)
    assert np.array_equal(read_mask(photo, _SIZE), _shape() > 0)


def test_several_masks_in_a_folder_mark_a_photo_together(dataset: Path) -> None:
    (dataset / "ground_truth/blot/000_mask.png").unlink()
    first, second = np.zeros(_SIZE, np.uint8), np.zeros(_SIZE, np.uint8)
    first[:5], second[20:30] = 255, 7
    for name, stored in (("000", first), ("001", second)):
        write_photo(dataset / f"ground_truth/blot/000/{name}.png", stored)
    photo = _defective(dataset)
    assert len(photo.masks) == 2
    assert np.array_equal(read_mask(photo, _SIZE), (first > 0) | (second > 0))
    assert Dataset.from_folder(dataset).warnings() == []


def test_two_masks_with_one_photos_name_are_refused(dataset: Path) -> None:
    write_photo(dataset / "ground_truth/blot/000.png", _shape())
    with pytest.raises(DataError, match="both .*000.png and .*000_mask.png are named as masks"):
        Dataset.from_folder(dataset)


def test_a_good_photo_may_have_a_black_mask_and_no_other(dataset: Path) -> None:
    path = write_photo(dataset / "ground_truth/good/000.png", np.zeros(_SIZE, np.uint8))
    found = Dataset.from_folder(dataset)
    assert found.warnings() == []
    write_photo(path, _shape())
    with pytest.raises(DataError, match="among the good photos"):
        found.warnings()
    with pytest.raises(DataError, match="among the good photos"):
        read_mask(next(photo for photo in found.test if not photo.is_anomalous), _SIZE)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_a_damaged_mask_is_named_before_anything_is_scored(dataset: Path, content: bytes) -> None:
    (dataset / "ground_truth/blot/001_mask.png").write_bytes(content)
    with pytest.raises(DataError, match="a mask cannot be used: .*001_mask.png"):
        Dataset.from_folder(dataset).warnings()
