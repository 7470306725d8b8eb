from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edgead import images
from edgead.datasets import Dataset, read_mask
from edgead.errors import EdgeadError
from studies.accuracy.protocols import (
    MVTEC_AD,
    MVTEC_AD_2,
    VISA,
    LabelledSet,
    categories,
    labelled_sets,
)
from tests.conftest import write_photo

MASK = np.zeros((70, 90), np.uint8)
MASK[30:40, 30:40] = 2  # VisA's masks number the kinds of defect


def as_ad_2(source: Path, category: Path) -> Path:
    """Write a category in MVTec AD 2's layout, with photos of the test sets without labels."""
    for part, name in (
        ("train/good", "train/good"),
        ("test_public/good", "test/good"),
        ("test_public/bad", "test/blot"),
        ("test_public/ground_truth/bad", "ground_truth/blot"),
        ("validation/good", "test/good"),
        ("test_private", "test/blot"),
        ("test_private_mixed", "test/blot"),
    ):
        (category / part).mkdir(parents=True)
        for path in (source / name).iterdir():
            (category / part / path.name).hardlink_to(path)
    return category


def as_visa(source: Path, root: Path) -> Path:
    """Write VisA with one category; the first normal photos are test photos."""
    rows = []
    normal = sorted((source / "train/good").iterdir())
    for number, path in enumerate(normal):
        image = f"candle/Data/Images/Normal/{number:04}.png"
        write_photo(root / image, images.read_image(path))
        rows.append(["candle", "test" if number < 4 else "train", "normal", image, ""])
    for number, path in enumerate(sorted((source / "test/blot").iterdir())):
        image = f"candle/Data/Images/Anomaly/{number:03}.png"
        mask = f"candle/Data/Masks/Anomaly/{number:03}.png"
        write_photo(root / image, images.read_image(path))
        write_photo(root / mask, MASK)
        rows.append(["candle", "test", "anomaly", image, mask])
    rows.append(["capsules", "train", "normal", "capsules/Data/Images/Normal/000.JPG", ""])
    write_split(root, rows)
    return root


def write_split(root: Path, rows: list[list[str]]) -> None:
    (root / "split_csv").mkdir(exist_ok=True)
    with (root / "split_csv/1cls.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["object", "split", "label", "image", "mask"], *rows])


def one(pair: str, views: Path) -> tuple[LabelledSet, Dataset]:
    (found,) = labelled_sets([pair], views)
    return found, Dataset.from_folder(found.data)


def test_the_categories_of_mvtec_ad_are_measured_where_they_are(
    shared_dataset: Path, tmp_path: Path
) -> None:
    for name in ("bottle", "cable"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(shared_dataset)
    found = labelled_sets([f"mvtec={tmp_path / 'data'}"], tmp_path / "views")
    assert [entry.name for entry in found] == ["mvtec/bottle", "mvtec/cable"]
    assert [entry.layout for entry in found] == [MVTEC_AD, MVTEC_AD]
    assert found[0].data == tmp_path / "data/bottle"
    assert categories(found) == {"mvtec": frozenset({"bottle", "cable"})}


def test_of_mvtec_ad_2_the_public_test_photos_are_measured(
    shared_dataset: Path, tmp_path: Path
) -> None:
    as_ad_2(shared_dataset, tmp_path / "data" / "can")
    found, dataset = one(f"ad2={tmp_path / 'data'}", tmp_path / "views")
    assert (found.name, found.layout, found.collection) == ("ad2/can", MVTEC_AD_2, "ad2")
    assert len(dataset.train) == 16
    assert [photo.kind for photo in dataset.test] == ["bad"] * 4 + ["good"] * 4
    assert not dataset.warnings()
    mask = read_mask(dataset.test[0], (70, 90))
    assert mask is not None
    assert 0 < mask.sum() < mask.size / 2


def test_visa_is_split_as_its_table_says(shared_dataset: Path, tmp_path: Path) -> None:
    root = as_visa(shared_dataset, tmp_path / "data")
    pair, views = f"visa={root}", tmp_path / "views"
    found, dataset = one(pair, views)
    assert (found.name, found.layout) == ("visa/candle", VISA)
    assert [path.name for path in dataset.train] == [f"{n:04}.png" for n in range(4, 16)]
    normal = [photo.path.name for photo in dataset.test if not photo.is_anomalous]
    assert normal == [f"{n:04}.png" for n in range(4)]
    for photo in dataset.test:
        mask = read_mask(photo, (70, 90))
        assert mask is not None
        assert mask.sum() == (100 if photo.is_anomalous else 0)
    assert all(path.is_symlink() for path in dataset.train)

    with (root / "split_csv/1cls.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    rows[0][1] = "train"  # another table: nothing is left of the first
    write_split(root, rows)
    _, again = one(pair, views)
    assert (len(again.train), len(again.test)) == (13, 7)
    assert len(list((root / "candle/Data/Images/Normal").iterdir())) == 16


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (["candle", "train", "anomaly", "{image}", ""], "line 2: a photo of train cannot be"),
        (["candle", "train", "normal", "../secret.png", ""], "line 2 names ../secret.png, which"),
        (["candle", "train"], "line 2: expected the columns object, split, label, image, mask"),
        (["pcb1", "train", "normal", "{image}", ""], "has no folder of a category that"),
    ],
)
def test_a_table_that_cannot_be_is_refused(row: list[str], says: str, tmp_path: Path) -> None:
    image = "candle/Data/Images/Normal/0000.png"
    for path in (tmp_path / "data" / image, tmp_path / "secret.png"):
        write_photo(path, MASK)
    write_split(tmp_path / "data", [[word.format(image=image) for word in row]])
    with pytest.raises(EdgeadError, match="1cls.csv") as error:
        labelled_sets([f"visa={tmp_path / 'data'}"], tmp_path / "views")
    assert says in str(error.value)
    assert not (tmp_path / "views").exists()


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (["data"], "not of the form SET=DATA"),
        (["a={whole}", "a={whole}"], "given twice"),
        (["a={good}"], "no labelled test photos"),
        (["a={other}"], "in none of the layouts that can be measured: MVTec AD "),
        (["a={unsplit}"], "has photos of VisA, but no split_csv/1cls.csv"),
        (["a={half}"], "is in MVTec AD 2's layout, but has no folder"),
        (["a={nothing}"], "is not a folder"),
    ],
)
def test_sets_that_cannot_be_measured(
    pairs: list[str], says: str, shared_dataset: Path, tmp_path: Path
) -> None:
    places = {
        "whole": shared_dataset,
        "good": shared_dataset / "train/good",
        "other": tmp_path / "other",
        "unsplit": tmp_path / "visa",
        "half": tmp_path / "ad_2",
        "nothing": tmp_path / "nothing",
    }
    for folder in ("other/ok", "visa/candle/Data/Images", "ad_2/can/test_public/good"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(EdgeadError, match=says):
        labelled_sets([pair.format(**places) for pair in pairs], tmp_path / "views")
