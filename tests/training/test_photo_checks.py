"""Photos that nothing can be learned from, and odd ones among good ones."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead.errors import DataError
from edgead.training import TrainConfig, photo_checks, train
from edgead.training.photos import Split, digest, load
from edgead.view import View
from tests.conftest import part, write_photo


def config(data: Path) -> TrainConfig:
    return TrainConfig("efficientad-n", str(data), image_size=(96, 96), steps=1, batch_size=1)


def checked(paths: list[Path]) -> tuple[int, ...]:
    return photo_checks.check(paths, list(load(paths, View((64, 64)), "reading"))).odd


@pytest.mark.parametrize("kinds", [1, 2, 7])
@pytest.mark.parametrize("seed", range(4))
def test_copies_are_not_enough_with_any_seed(tmp_path: Path, kinds: int, seed: int) -> None:
    photos = [write_photo(tmp_path / f"{i:02}.png", part(i % kinds)) for i in range(20)]
    with pytest.raises(DataError, match=f"has 20 photos .* only {kinds} different .* at least 8"):
        Split.of(photos, seed)


@pytest.mark.parametrize("seed", range(8))
def test_many_copies_of_few_photos_leave_something_to_learn_from(tmp_path: Path, seed: int) -> None:
    photos = [write_photo(tmp_path / f"{i:02}.png", part(i % 8)) for i in range(48)]
    split = Split.of(photos, seed)
    learned = {photo.read_bytes() for photo in split.training}
    held_out = {photo.read_bytes() for photo in split.held_out}
    assert (len(learned), len(held_out)) == (6, 2)
    assert not learned & held_out


def test_one_picture_under_other_bytes_is_one_picture(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(9)]
    for level, path in enumerate(paths):
        cv2.imwrite(str(path), part(0), [cv2.IMWRITE_PNG_COMPRESSION, level])
    with pytest.raises(DataError, match="has 9 photos .* only 1 different"):
        checked(paths)


def test_flat_photos_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for index in range(10):
        write_photo(tmp_path / f"flat/{index}.png", np.full((90 + index, 90, 3), 255, np.uint8))
    with pytest.raises(DataError, match=r"10 of the 10 photos .* \(grey level 255 of 255\)"):
        train(config(tmp_path / "flat"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_nearly_flat_photos_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(128, 0.6, (64, 64, 3)).round().astype(np.uint8) for _ in range(10)]
    paths = [write_photo(tmp_path / f"{i}.png", photo) for i, photo in enumerate(noise)]
    assert checked(paths) == ()
    assert "a dead sensor or a covered lens cannot be detected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "blank"), [(10, 1), (10, 3), (20, 1), (20, 2), (60, 6), (200, 1), (200, 3)]
)
def test_few_blank_photos_are_named(
    tmp_path: Path, count: int, blank: int, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{index:03}.png" for index in range(count)]
    pixels = [part(index, (64, 64)) for index in range(count)]
    odd = tuple(range(3, 3 + blank))
    for index in odd:
        pixels[index] = np.random.default_rng(index).integers(0, 3, (64, 64, 3), np.uint8)
    found = photo_checks.check(paths, pixels)
    assert found.odd == odd
    assert max(found.least) > 20
    said = capsys.readouterr().err
    assert f"{paths[3]} has almost no contrast" in said
    assert said.count("has almost no contrast") == min(blank, 5)


def test_many_blank_photos_are_a_kind_of_good_part_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{index:03}.png" for index in range(20)]
    pixels = [part(index, (64, 64)) for index in range(20)]
    for index in range(10):
        pixels[index] = np.full((64, 64, 3), index, np.uint8)
    found = photo_checks.check(paths, pixels)
    assert found.odd == ()
    assert max(found.least) == 0
    assert "10 of the 20 photos have almost no contrast" in capsys.readouterr().err


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_that_use_a_fraction_of_their_range_are_told(
    tmp_path: Path, bits: int, channels: int, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for index in range(10):
        values = part(index)[..., :channels].astype(np.uint32) * (2**bits - 1) // 255
        paths.append(write_photo(tmp_path / f"{index}.png", values.astype(np.uint16)))
    with contextlib.suppress(DataError):  # of 10 bits, as nearly black, many become the same
        checked(paths)
    said = capsys.readouterr().err
    assert f"look like {bits}-bit values: multiply them by {2 ** (16 - bits)}" in said


def test_dark_photos_of_8_bits_and_whole_ranges_are_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark = [write_photo(tmp_path / f"d{i}.png", part(i) // 4) for i in range(10)]
    whole = [
        write_photo(tmp_path / f"w{i}.png", part(i).astype(np.uint16) * 257) for i in range(10)
    ]
    checked(dark)
    checked(whole)
    assert capsys.readouterr().err == ""


def test_an_odd_score_among_held_out_photos_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [Path(f"{index}.png") for index in range(10)]
    usual = [0.05, 0.06, 0.07, 0.07, 0.08, 0.08, 0.09, 0.10, 0.2]
    photo_checks.warn_of_odd_score(paths, [*usual, 0.15], "it counts")
    photo_checks.warn_of_odd_score(paths, [0.1] * 10, "it counts")
    assert capsys.readouterr().err == ""
    photo_checks.warn_of_odd_score(paths, [*usual, 1.9], "it counts")
    shown = capsys.readouterr().err
    assert "9.png scores 1.900" in shown
    assert "0.200: it counts. If it shows a defect, remove it" in shown


def test_a_photo_that_vanishes_is_one_sentence(tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / f"{index}.png", part(index)) for index in range(9)]
    photos[4].unlink()
    for read in (lambda: Split.of(photos, 0), lambda: digest(photos)):
        with pytest.raises(DataError, match=r"4\.png.*it was there when the photos were listed"):
            read()
