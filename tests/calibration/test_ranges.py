from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgead.calibration import cache
from edgead.calibration.calibrators import (
    CALIBRATORS,
    LEVELS,
    Histogram,
    Range,
    calibrator,
    minmax,
    mse,
    percentile,
)
from edgead.calibration.photos import CalibrationPhotos, covering, refuse_test_photos
from edgead.datasets import Dataset
from edgead.errors import DataError, UsageError
from edgead.view import View
from tests.conftest import part, write_photo


def histogram(values: np.ndarray) -> Histogram:
    counts, _ = np.histogram(values, 2048, (values.min(), values.max()))
    return Histogram(float(values.min()), float(values.max()), counts)


@pytest.fixture(scope="module")
def heavy_tailed() -> np.ndarray:
    return np.random.default_rng(0).standard_t(3, 200_000)


def rounding_error(values: np.ndarray, found: Range) -> float:
    step = (found.high - found.low) / (LEVELS - 1)
    integers = np.clip(np.rint((values - found.low) / step), 0, LEVELS - 1)
    return float(np.square(values - (found.low + integers * step)).mean())


def test_mse_finds_the_range_with_the_least_error(heavy_tailed: np.ndarray) -> None:
    counted = histogram(heavy_tailed)
    found = rounding_error(heavy_tailed, mse(counted))
    low, high = heavy_tailed.min(), heavy_tailed.max()
    tried = [rounding_error(heavy_tailed, Range(low * s, high * s)) for s in np.linspace(0.05, 1)]
    assert found <= 1.02 * min(tried)
    assert found < 0.75 * rounding_error(heavy_tailed, minmax(counted))


def test_percentile_is_numpys(heavy_tailed: np.ndarray) -> None:
    found = percentile(histogram(heavy_tailed))
    bin_width = np.ptp(heavy_tailed) / 2048
    expected = np.quantile(heavy_tailed, [0.0001, 0.9999])
    np.testing.assert_allclose([found.low, found.high], expected, atol=2 * bin_width)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_no_range_is_wider_than_what_was_seen_and_zero(name: str, heavy_tailed: np.ndarray) -> None:
    for values in (heavy_tailed, np.abs(heavy_tailed), np.full(10, 3.0)):
        found = calibrator(name)(histogram(values))
        assert min(values.min(), 0) <= found.low <= found.high <= values.max() + 1e-9


def test_an_unknown_calibrator_is_named() -> None:
    with pytest.raises(UsageError, match="'median'.*minmax"):
        calibrator("median")


def test_of_many_photos_the_odd_ones_are_chosen(tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / f"{i:02}.png", part(i)) for i in range(10)]
    dark = write_photo(tmp_path / "dark.png", part(0) // 4)
    bright = write_photo(tmp_path / "bright.png", 255 - part(1) // 4)
    assert {dark, bright} < set(covering([*paths, dark, bright], 4))


def test_few_photos_are_checked_with_many_defects(tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / f"{i}.png", part(i)) for i in range(5)]
    photos = CalibrationPhotos.read(paths, View((48, 64)))
    assert photos.good.shape == (5, 48, 64, 3)
    assert len(photos.good) + len(photos.defective) >= 80
    assert len(photos.for_ranges()) == len(photos.good) + len(photos.defective)
    again = CalibrationPhotos.read(paths, View((48, 64)))
    assert photos.sha256 == again.sha256
    np.testing.assert_array_equal(photos.defective, again.defective)
    assert CalibrationPhotos.read(paths[1:], View((48, 64))).sha256 != photos.sha256


def test_other_defects_are_three_times_as_many_and_none_of_the_first(tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / f"{i:02}.png", part(i)) for i in range(20)]
    photos = CalibrationPhotos.read(paths[:5], View((48, 64)), paths[5:])
    others = photos.with_other_defects()
    np.testing.assert_array_equal(others.all_good, photos.all_good)
    assert len(others.defective) == 3 * len(photos.defective)
    seen = {painted.tobytes() for painted in photos.defective}
    assert not seen & {painted.tobytes() for painted in others.defective}
    each = len(others.defective) // len(photos.all_good)
    for index, mask in enumerate(others.defect_masks()):  # painted into the photo they stand beside
        np.testing.assert_allclose(
            others.defective[index][~mask], photos.all_good[index // each][~mask], atol=8
        )


def test_photos_learned_from_join_the_comparison_where_few_were_held_out(tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / f"{i:02}.png", part(i)) for i in range(60)]
    photos = CalibrationPhotos.read(paths[:5], View((48, 64)), paths[5:])
    alone = CalibrationPhotos.read(paths[:5], View((48, 64)))
    np.testing.assert_array_equal(photos.good, alone.good)
    assert photos.paths == tuple(paths[:5])
    assert len(photos.all_good) == len(photos.defective) == 40
    assert set(photos.learned_paths) < set(paths[5:])
    np.testing.assert_array_equal(photos.compared[:5], photos.good)
    enough = CalibrationPhotos.read(paths[:20], View((48, 64)), paths[20:])
    assert enough.learned is None
    assert len(enough.all_good) == 20


def test_a_mask_marks_what_was_painted(tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / f"{i}.png", part(i)) for i in range(5)]
    photos = CalibrationPhotos.read(paths, View((48, 64)))
    masks = photos.defect_masks()
    assert len(masks) == len(photos.defective)
    each = len(photos.defective) // len(photos.good)
    for index, mask in enumerate(masks):
        good = photos.good[index // each].astype(int)
        changed = np.abs(photos.defective[index].astype(int) - good).max(-1)
        assert mask.shape == (48, 64)
        assert (changed[mask] >= 8).all()
        assert (changed[~mask] < 8).all()
    assert 0 < np.mean([mask.mean() for mask in masks]) < 0.2


def test_a_test_photo_is_refused_under_another_name(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "renamed.png"
    copy.write_bytes((dataset / "test/blot/001.png").read_bytes())
    good = sorted((dataset / "train/good").iterdir())
    loaded = Dataset.from_folder(dataset)
    refuse_test_photos(good, loaded)
    with pytest.raises(DataError, match=r"renamed\.png is the test photo .*001\.png.*'blot'"):
        refuse_test_photos([*good, copy], loaded)


def test_a_cache_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path / "file" / "cache"))
    assert cache.remembered("kind", ("a",), lambda: b"content") == b"content"
    assert "$EDGEAD_CACHE" in capsys.readouterr().err


def test_the_cache_makes_once_and_survives_damage() -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"content"

    for _ in range(2):
        assert cache.remembered("kind", ("a", "b"), make) == b"content"
    assert len(made) == 1
    cache.remembered("kind", ("a", "c"), make)
    assert len(made) == 2
    for path in cache.folder().glob("kind-*"):
        path.write_bytes(path.read_bytes()[:-1])
    assert cache.remembered("kind", ("a", "b"), make) == b"content"
    assert len(made) == 3
