from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgead.datasets import Dataset
from edgead.datasets._good_names import reads_like_good
from edgead.errors import DataError
from tests.conftest import part, write_photo


def test_reads_mvtecs_layout(dataset: Path) -> None:
    found = Dataset.from_folder(dataset)
    assert (found.layout, len(found.train), len(found.test)) == ("mvtec", 16, 8)
    assert {photo.kind for photo in found.test} == {"good", "blot"}
    assert all(bool(photo.masks) == photo.is_anomalous for photo in found.test)
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
    with pytest.raises(DataError, match=r"1 photo outside .*one.png; move them into train/good"):
        Dataset.from_folder(dataset).train_photos()


def test_photos_in_sub_folders_of_a_label_are_taken_with_their_masks(dataset: Path) -> None:
    for index in range(3):
        write_photo(dataset / f"train/good/cam2/{index:03}.png", part(50 + index))
        write_photo(dataset / f"test/good/cam2/{index:03}.png", part(60 + index))
    (dataset / "test/blot/cam2").mkdir()
    (dataset / "ground_truth/blot/cam2").mkdir()
    (dataset / "test/blot/003.png").rename(dataset / "test/blot/cam2/000.png")
    (dataset / "ground_truth/blot/003_mask.png").rename(
        dataset / "ground_truth/blot/cam2/000_mask.png"
    )
    found = Dataset.from_folder(dataset)
    assert (len(found.train), len(found.test)) == (19, 11)
    for photo in found.test:
        for mask in photo.masks:
            assert mask.parent.name in (photo.path.parent.name, "blot")
            assert mask.name == f"{photo.path.stem}_mask.png"
    assert sum(bool(photo.masks) for photo in found.test) == 4
    assert found.warnings() == []
    said = "\n".join(found.notes())
    assert f"3 photos of {dataset / 'train/good'} are in sub-folders" in said
    assert f"1 photos of {dataset / 'test/blot'} are in sub-folders" in said


def test_what_a_layout_has_no_place_for_is_named(dataset: Path) -> None:
    photo = part(70)
    for name in (
        "loose.png",
        "test/loose.png",
        "train/loose.png",
        "train/OK/000.png",
        "validation/good/000.png",
        "test/blot/masks/000.png",
        "ground_truth/000_mask.png",
    ):
        write_photo(dataset / name, photo)
    (dataset / "train/good/lost.png").symlink_to("gone.png")
    (dataset / "train/good/index.csv").write_text("a,b")
    (dataset / "readme.txt").write_text("about")
    found = Dataset.from_folder(dataset)
    assert (len(found.train), len(found.test)) == (16, 8)
    said = "\n".join(found.warnings())
    for words in (
        "skipped 3 photos outside the labelled folders",
        "skipped 1 folder in train that is not called good",
        "train/OK; --good NAME",
        "skipped 1 folder of photos beside train and test",
        "validation",
        "skipped 1 file in a folder of masks between photos",
        "skipped 1 mask directly in ground_truth",
        "skipped 1 broken link",
    ):
        assert words in said
    (note,) = found.notes()
    assert "1 file that is not a photo (.csv)" in note


def test_sub_folders_of_a_plain_folder_are_named(tmp_path: Path) -> None:
    for index in range(9):
        write_photo(tmp_path / f"{index}.png", part(index))
    write_photo(tmp_path / "cam2/deeper/0.png", part(9))
    (tmp_path / "notes").mkdir()
    found = Dataset.from_folder(tmp_path)
    assert len(found.train) == 9
    (warning,) = found.warnings()
    assert "skipped 1 sub-folder of a plain folder" in warning
    assert "cam2" in warning


@pytest.mark.parametrize(
    "name", ["Good", "OK", "normal", "iO", "non-defective", "ok_parts", "合格"]
)
def test_good_parts_under_another_name(dataset: Path, name: str) -> None:
    (dataset / "test/good").rename(dataset / "test" / name)
    warning, *_ = Dataset.from_folder(dataset).warnings()
    assert f"test/{name} is counted as a kind of defect (4 photos)" in warning
    assert "--good" in warning
    (dataset / "train/good").rename(dataset / "train" / name)
    with pytest.raises(DataError, match="train holds: .* give --good"):
        Dataset.from_folder(dataset)
    found = Dataset.from_folder(dataset, good=[name]).require_good()
    assert found.warnings() == []
    assert len(found.train) == 16
    assert [photo.kind for photo in found.test if not photo.is_anomalous] == ["good"] * 4


def test_good_parts_in_two_folders_count_together(dataset: Path) -> None:
    (dataset / "test/OK").mkdir()
    (dataset / "test/good/003.png").rename(dataset / "test/OK/003.png")
    assert sum(photo.is_anomalous for photo in Dataset.from_folder(dataset).test) == 5
    found = Dataset.from_folder(dataset, good=["OK"])
    assert sum(photo.is_anomalous for photo in found.test) == 4
    with pytest.raises(DataError, match="no folder train/Ok or test/Ok .*OK, blot, good"):
        Dataset.from_folder(dataset, good=["Ok"]).require_good()


def test_a_test_set_without_good_photos_asks_which_folder_has_them(dataset: Path) -> None:
    (dataset / "test/good").rename(dataset / "test/lot 7")
    warning, *_ = Dataset.from_folder(dataset).warnings()
    assert "has no good photos" in warning
    assert "blot, lot 7" in warning


@pytest.mark.parametrize("name", ["scratch", "not_good", "NOK", "non-ok", "abnormal", "broken"])
def test_a_defects_name_does_not_read_like_good_parts(name: str) -> None:
    assert not reads_like_good(name)


def test_mvtec_3d_is_refused_by_name(tmp_path: Path) -> None:
    for kind in ("rgb", "xyz", "gt"):
        write_photo(tmp_path / f"test/hole/{kind}/000.png", part(0))
    with pytest.raises(DataError, match="MVTec 3D-AD"):
        Dataset.from_folder(tmp_path)


@pytest.mark.parametrize("names", [("Train", "Test"), ("TRAIN", "testing")])
def test_folders_that_nearly_have_the_layouts_names_are_named(
    dataset: Path, names: tuple[str, str]
) -> None:
    for before, after in zip(("train", "test"), names, strict=True):
        (dataset / before).rename(dataset / after)
    with pytest.raises(DataError, match=f"{names[0]}.*rename its folders to train and test"):
        Dataset.from_folder(dataset)
