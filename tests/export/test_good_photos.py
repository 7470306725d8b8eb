"""Which photos an export takes: good ones that the detector has not learned from, and no others."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgead import files
from edgead.calibration.photos import CalibrationPhotos
from edgead.datasets import Dataset
from edgead.errors import DataError, ImageError, UsageError
from edgead.export.good_photos import GoodPhotos, learned_photos
from edgead.photo_reader import PhotoReader
from edgead.view import View
from tests.conftest import part, write_photo


def of_run(dataset: Path, run: Path) -> GoodPhotos:
    """What is known for a training that held out every fourth photo."""
    run.mkdir()
    found = Dataset.from_folder(dataset)
    return GoodPhotos(run, found.train[::4], found)


def names(paths: object) -> list[str]:
    return [path.name for path in paths]  # type: ignore[attr-defined]


def test_of_a_data_set_the_good_training_photos_are_taken(dataset: Path, tmp_path: Path) -> None:
    found = GoodPhotos(tmp_path / "x.onnx").calibration(str(dataset))
    assert list(found) == sorted((dataset / "train/good").iterdir())


@pytest.mark.parametrize("folder", [".", "train/good"])
def test_photos_that_were_learned_from_are_left_out(
    folder: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(dataset / "train/good/000.png", dataset / "train/good/copy.png")  # of a held-out
    known = of_run(dataset, tmp_path / "run")
    known = GoodPhotos(known.source, known.held_out[:4], known.dataset)
    found = known.calibration(str(dataset / folder))
    assert names(found) == ["000.png", "004.png", "008.png", "012.png", "copy.png"]
    assert "12 of 17 photos" in capsys.readouterr().err
    shutil.copytree(dataset / "train/good", tmp_path / "elsewhere")
    assert names(known.calibration(str(tmp_path / "elsewhere"))) == names(found)


def test_only_photos_that_were_learned_from(dataset: Path, tmp_path: Path) -> None:
    known = of_run(dataset, tmp_path / "run")
    assert known.dataset is not None
    for path in learned_photos(known.dataset, known.held_out):
        (tmp_path / "learned").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "learned")
    with pytest.raises(DataError, match="all 12 photos in .*learned are training photos"):
        known.calibration(str(tmp_path / "learned"))


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("test", "holds test photos of the data set .*parts"),
        ("test/good", "holds test photos of 'good' of the data set"),
        ("test/blot", "holds test photos of 'blot' of the data set"),
        ("ground_truth", "holds masks of the data set"),
        ("ground_truth/blot", "holds masks of 'blot' of the data set"),
        ("..", "holds several categories; name one of them: .*parts"),
        ("gone", "gone is not a folder"),
        ("train/good/000.png", "000.png is not a folder"),
    ],
)
def test_other_parts_of_a_data_set_are_refused(
    folder: str, said: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        GoodPhotos(tmp_path / "x.onnx").calibration(str(dataset / folder))


def test_test_photos_under_other_names_are_refused(dataset: Path, tmp_path: Path) -> None:
    mixed = shutil.copytree(dataset / "train/good", tmp_path / "mixed")
    shutil.copy(dataset / "test/blot/001.png", mixed / "renamed.png")
    labelled = Dataset.from_folder(dataset)
    with pytest.raises(DataError, match=r"renamed\.png is the test photo .*'blot'"):
        of_run(dataset, tmp_path / "run").calibration(str(mixed))
    with pytest.raises(DataError, match=r"renamed\.png is the test photo .*'blot'"):
        GoodPhotos(tmp_path / "x.onnx").read((32, 32), str(mixed), labelled)


def test_what_is_skipped_is_named(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = dataset / "train/good"
    (good / "film.mp4").write_bytes(b"")
    (good / "raw.dng").write_bytes(b"")
    (good / "broken.png").symlink_to(tmp_path / "gone.png")
    GoodPhotos(tmp_path / "x.onnx").calibration(str(good))
    said = capsys.readouterr().err
    assert all(name in said for name in ("film.mp4", "raw.dng", "broken.png"))


def test_an_artifact_travels_without_photos(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"validation photos .*x\.onnx.*--calibration DIR"):
        GoodPhotos(tmp_path / "x.onnx").read((32, 32))


def test_copies_are_one_photo(tmp_path: Path) -> None:
    for index in range(10):
        write_photo(tmp_path / f"good/{index}.png", part(index % 2))
    found = CalibrationPhotos.read(sorted((tmp_path / "good").iterdir()), View((32, 32)))
    assert names(found.paths) == ["0.png", "1.png"]
    with pytest.raises(DataError, match="at least 4 different .*there are 2, of 10 photos"):
        found.require_enough()


def test_photos_with_the_same_pixels_are_one_photo(tmp_path: Path) -> None:
    """Overexposed photos of any size are white at the network's input."""
    for index in range(6):
        white = np.full((40 + index, 50, 3), 255, np.uint8)
        write_photo(tmp_path / f"good/{index}.png", white)
    found = CalibrationPhotos.read(sorted((tmp_path / "good").iterdir()), View((32, 32)))
    assert len(found.paths) == 6
    with pytest.raises(DataError, match="there is only 1, of 6 photos"):
        found.require_enough()


def test_of_many_alike_photos_few_cover_the_set(tmp_path: Path) -> None:
    for index in range(70):
        write_photo(tmp_path / f"good/{index:02}.png", np.full((8, 8 + index, 3), 90, np.uint8))
    found = CalibrationPhotos.read(sorted((tmp_path / "good").iterdir()), View((32, 32)))
    assert len(found.paths) == len(set(found.paths)) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_photos_of_a_few_pixels_are_painted_into(size: tuple[int, int], tmp_path: Path) -> None:
    paths = [write_photo(tmp_path / "good/0.png", np.full((*size, 3), 90, np.uint8))]
    found = CalibrationPhotos.read(paths, View((32, 32)))
    assert found.good.shape == (1, 32, 32, 3)
    assert len(found.defective) >= 79


def test_a_damaged_photo_is_named(dataset: Path, tmp_path: Path) -> None:
    good = dataset / "train/good"
    (good / "003.png").write_bytes((good / "003.png").read_bytes()[:200])
    with pytest.raises(ImageError, match=r"003\.png"):
        GoodPhotos(tmp_path / "x.onnx").read((32, 32), str(good))


def test_held_out_photos_that_were_changed_are_named(dataset: Path, tmp_path: Path) -> None:
    known = of_run(dataset, tmp_path / "run")
    digests = tuple(files.sha256_file(path) for path in known.held_out)
    known = dataclasses.replace(known, held_out_sha256=digests)
    assert known.calibration() == known.held_out
    write_photo(dataset / "train/good/004.png", part(77))
    known = dataclasses.replace(known, reader=PhotoReader())
    with pytest.raises(DataError, match=r"validation photo .*004\.png of .*run has changed since"):
        known.calibration()
