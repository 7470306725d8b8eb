"""What is taken for a photo, and what is passed over aloud."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import images, own_pictures, photo_files
from edgead.errors import DataError
from tests.conftest import part, write_photo

_PHOTO = part(0)


def names(listing: photo_files.PhotoListing) -> list[str]:
    return [path.name for path in listing.photos]


def reasons(listing: photo_files.PhotoListing) -> dict[str, photo_files.Reason]:
    return {entry.path.name: entry.reason for entry in listing.skipped}


def test_folders_are_searched_to_any_depth_in_order(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a.png", "b/c/1.bmp"):
        write_photo(tmp_path / name, _PHOTO)
    listing = photo_files.find([tmp_path])
    assert names(listing) == ["a.png", "2.JPG", "1.bmp"]
    assert listing.skipped == ()


def _encoded(suffix: str) -> bytes | None:
    if suffix in (".pbm", ".pgm"):
        return b"P2\n2 2\n255\n0 50 100 255\n" if suffix == ".pgm" else b"P1\n2 2\n0 1 1 0\n"
    written_as = ".jpg" if suffix in (".jfif", ".jif") else suffix
    if not cv2.haveImageWriter(f"x{written_as}"):
        return None
    return cv2.imencode(written_as, _PHOTO)[1].tobytes()


@pytest.mark.parametrize("suffix", sorted(photo_files.SUFFIXES))
def test_each_format_that_is_listed_is_read(tmp_path: Path, suffix: str) -> None:
    encoded = _encoded(suffix)
    if encoded is None:
        pytest.skip(f"this OpenCV has no {suffix}")
    (tmp_path / f"a{suffix}").write_bytes(encoded)
    (path,) = photo_files.find([tmp_path]).photos
    assert images.read_image(path).dtype == np.uint8


def test_every_file_that_is_passed_over_is_counted_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(tmp_path / "a.png", _PHOTO)
    for name in ("b.HEIC", "c.nef", "d.txt", "d.mp4", ".DS_Store"):
        (tmp_path / name).write_bytes(b"something")
    (tmp_path / "e.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "f.png")
    (tmp_path / "g.jpg.1").write_bytes(cv2.imencode(".jpg", _PHOTO)[1].tobytes())
    (tmp_path / "h").write_bytes((tmp_path / "a.png").read_bytes())
    write_photo(tmp_path / ".i.png", _PHOTO)
    write_photo(tmp_path / "._a.png", _PHOTO)
    write_photo(tmp_path / "@eaDir/a.png/thumb.png", _PHOTO)
    write_photo(tmp_path / "__MACOSX/a.png", _PHOTO)
    write_photo(tmp_path / ".git/a.png", _PHOTO)
    (tmp_path / "j.png").symlink_to("j.png")
    listing = photo_files.find([tmp_path])
    assert names(listing) == ["a.png"]
    assert reasons(listing) == {
        "b.HEIC": photo_files.OTHER_FORMAT,
        "c.nef": photo_files.OTHER_FORMAT,
        "d.txt": photo_files.FOREIGN,
        "d.mp4": photo_files.VIDEO,
        ".DS_Store": photo_files.FOREIGN,
        "e.png": photo_files.BROKEN_LINK,
        "f.png": photo_files.NO_FILE,
        "g.jpg.1": photo_files.NO_SUFFIX,
        "h": photo_files.NO_SUFFIX,
        ".i.png": photo_files.HIDDEN,
        "._a.png": photo_files.SYSTEM,
        "@eaDir": photo_files.SYSTEM,
        "__MACOSX": photo_files.SYSTEM,
        ".git": photo_files.HIDDEN,
        "j.png": photo_files.BROKEN_LINK,
    }
    assert {entry.path.name for entry in listing.unreadable()} == {"e.png", "f.png", "j.png"}
    photo_files.report(listing)
    said = capsys.readouterr().err
    assert "warning: skipped 2 pictures in unsupported formats (.heic .nef): " in said
    assert "note: skipped 2 files that are not photos (.txt): " in said
    assert said.count("(of 16 files)") == len(said.splitlines()) == 8


def test_linked_folders_are_searched_once_and_never_in_a_circle(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos/sub/a.png", _PHOTO)
    write_photo(tmp_path / "line2/b.png", _PHOTO)
    for name, target in {
        "photos/0again": "sub",
        "photos/line2": "../line2",
        "photos/sub/circle": "..",
        "photos/up": "../..",
        "line2/back": "../photos/sub",
    }.items():
        (tmp_path / name).symlink_to(target, target_is_directory=True)
    listing = photo_files.find([tmp_path / "photos"])
    assert [str(path.relative_to(tmp_path)) for path in listing.photos] == [
        "photos/line2/b.png",
        "photos/sub/a.png",
    ]
    assert reasons(listing) == {"up": photo_files.UPWARDS}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_closed_folder_is_named(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png", _PHOTO)
    (tmp_path / "closed").mkdir(mode=0)
    assert reasons(photo_files.find([tmp_path])) == {"closed": photo_files.CLOSED}


def test_masks_of_a_data_set_are_no_photos(dataset: Path) -> None:
    for folder in (dataset, dataset.parent):
        listing = photo_files.find([folder])
        assert len(listing.photos) == 24
        assert reasons(listing) == {"ground_truth": photo_files.MASKS}
    assert len(photo_files.find([dataset / "ground_truth"]).photos) == 4


def test_own_pictures_and_folders_of_output_are_no_photos(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png", _PHOTO)
    overlay = own_pictures.marked(photo.read_bytes())
    write_photo(tmp_path / "out/old.png", _PHOTO)
    for name in ("a.png.png", "copied.png"):
        (tmp_path / name).write_bytes(overlay)
    assert np.array_equal(images.read_image(tmp_path / "a.png.png"), _PHOTO)
    listing = photo_files.find([tmp_path, tmp_path / "copied.png"], outputs=[tmp_path / "out"])
    assert names(listing) == ["a.png"]
    assert reasons(listing) == {
        "a.png.png": photo_files.OWN,
        "copied.png": photo_files.OWN,
        "out": photo_files.OUTPUT,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rtsp://camera:554/a?b=1", "rtsp://camera:554/a?b=1 is an address"),
        ("https://x.org/a.png", "https://x.org/a.png is an address"),
        ("line.MP4", "line.MP4 is a video"),
        ("*.png", "is a pattern"),
        ("*.tif", "no file matches it as a pattern"),
        ("nowhere", "nowhere does not exist"),
        ("/dev/null", "is a device or a pipe"),
        ("", "is empty"),
        ("empty", "no photos in empty"),
    ],
)
def test_what_is_neither_photo_nor_folder_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / "a.png", _PHOTO)
    (tmp_path / "line.MP4").write_bytes(b"a video")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as refusal:
        photo_files.find([given])
    assert said in str(refusal.value)
