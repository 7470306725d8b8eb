"""``edgead predict``: every photo that was given has its line, its entry and its overlay."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgead import own_pictures
from edgead.artifact import Artifact
from edgead.cli import _overlays, main
from edgead.detection import Detection
from edgead.errors import EdgeadError
from tests.conftest import part, write_photo

Predict = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def predict(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> Predict:
    artifact = tiny_artifact().path
    scores = tmp_path / "scores.json"

    def run(*words: object) -> tuple[int, list[dict[str, Any]]]:
        scores.unlink(missing_ok=True)
        code = main(["predict", str(artifact), *map(str, words), "--json", str(scores)])
        return code, json.loads(scores.read_bytes()) if scores.exists() else []

    return run


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_overlays_are_not_scored_the_next_night(predict: Predict, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for index in range(2):
        write_photo(photos / f"{index}.png", part(index))
    for folder in ("photos/overlays", "photos/overlays", "photos/elsewhere", "photos", "photos"):
        code, results = predict(photos, "--out", tmp_path / folder)
        assert code == 0
        assert [Path(result["path"]).name for result in results] == ["0.png", "1.png"]
    assert _names(photos) == ["0.png", "0.png.png", "1.png", "1.png.png", "elsewhere", "overlays"]
    assert _names(photos / "overlays") == ["0.png.png", "1.png.png"]


def test_what_edgead_before_drew_into_the_same_folder_is_not_scored(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_photo(tmp_path / "photos/a.png", part(0))
    write_photo(tmp_path / "photos/overlays/a.png.png", part(1))
    _, results = predict(photo.parent, "--out", photo.parent / "overlays")
    assert len(results) == 1
    assert "note: skipped 1 output folder of this command" in capsys.readouterr().err


def test_the_longest_names_have_overlays(predict: Predict, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    stems = ["a" * 251, "b" * 250, "c" * 247, "é" * 125, "d" * 248 + "1", "d" * 248 + "2"]
    for stem in stems:
        write_photo(photos / f"{stem}.png", part(0))
    code, results = predict(photos, "--out", out)
    assert (code, len(results)) == (0, 6)
    names = _names(out)
    assert len(names) == 6
    assert "c" * 247 + ".png.png" in names
    assert max(len(os.fsencode(name)) for name in names) <= 255
    predict(photos, "--out", out)
    assert _names(out) == names


def test_overlays_of_like_names_do_not_replace_each_other(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é.png")
    photos = [
        Path(name)
        for name in ("/p/A.png", "/p/a.png", "/q/a.png", "/P/a.png", "/p/é.png", f"/q/{decomposed}")
    ]
    names = _overlays.names(photos, tmp_path)
    keys = {unicodedata.normalize("NFC", name).casefold() for name in names.values()}
    assert len(keys) == len(photos)
    assert names[photos[0]] == "A.png.png"


def test_a_photo_is_never_replaced_by_another_ones_overlay(
    predict: Predict, tmp_path: Path
) -> None:
    for name in ("a.png", "a.png.png"):
        write_photo(tmp_path / "photos" / name, part(0))
    before = (tmp_path / "photos/a.png.png").read_bytes()
    for _ in range(2):
        code, results = predict(tmp_path / "photos", "--out", tmp_path / "photos")
        assert (code, len(results)) == (0, 2)
    assert (tmp_path / "photos/a.png.png").read_bytes() == before
    assert len(_names(tmp_path / "photos")) == 4


def test_one_overlay_that_fails_costs_no_other(
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for index in range(3):
        write_photo(tmp_path / "photos" / f"{index}.png", part(index))
    (tmp_path / "out/1.png.png").mkdir(parents=True)
    code, results = predict(tmp_path / "photos", "--out", tmp_path / "out")
    assert (code, len(results)) == (1, 3)
    assert all("error" not in result for result in results)
    assert (tmp_path / "out/2.png.png").is_file()
    assert capsys.readouterr().err.count("1.png.png") == 1

    def fails(*_: object, **__: object) -> None:
        raise EdgeadError("no overlay")

    monkeypatch.setattr(Detection, "overlay", fails)
    for index in range(3, 9):
        write_photo(tmp_path / "photos" / f"{index}.png", part(index))
    code, results = predict(tmp_path / "photos", "--out", tmp_path / "out")
    assert (code, len(results)) == (1, 9)
    said = capsys.readouterr().err
    assert said.count("no overlay") == 3
    assert "the remaining ones are not drawn" in said


def test_names_that_are_not_utf8_are_in_the_json(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    source = write_photo(tmp_path / "a.png", part(0))
    photos.mkdir()
    name = b"l\xf6ten.png"
    shutil.copy(source, os.fsencode(photos) + b"/" + name)
    code, (result,) = predict(photos, "--out", tmp_path / "out")
    assert code == 0
    assert os.fsencode(Path(result["path"]).name) == name
    assert "l\\udcf6ten.png" in capsys.readouterr().out
    assert [os.fsencode(entry) for entry in _names(tmp_path / "out")] == [name + b".png"]


def test_a_name_forges_no_line(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = "a\nANOMALOUS     9.9999  fake.png"
    write_photo(tmp_path / "photos" / forged, part(0))
    (tmp_path / "photos/b\nwarning: \x1b[31m.png").write_bytes(b"no photo")
    (tmp_path / "photos/c\nnote: forged").write_bytes(b"no photo")
    code, results = predict(tmp_path / "photos", "--out", tmp_path / "out")
    assert (code, len(results)) == (1, 2)
    output = capsys.readouterr()
    assert [line.split()[0] for line in output.out.splitlines()] == ["good", "0"]
    assert [line.split()[0] for line in output.err.splitlines()] == ["note:", "edgead:"]
    assert "\x1b" not in output.out + output.err


def test_what_has_a_photos_name_and_cannot_be_read_has_its_entry(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    write_photo(photos / "a.png", part(0))
    (photos / "b.png").symlink_to("gone.png")
    os.mkfifo(photos / "c.png")
    (photos / "d.heic").write_bytes(b"....ftypheic")
    code, results = predict(photos)
    assert code == 1
    found = {Path(result["path"]).name: result for result in results}
    assert set(found) == {"a.png", "b.png", "c.png"}
    for name, why in (("b.png", "broken link"), ("c.png", "pipe or device")):
        assert (found[name]["score"], found[name]["is_anomalous"]) == (None, None)
        assert why in found[name]["error"]
    said = capsys.readouterr().err
    assert "warning: skipped 1 picture in an unsupported format (.heic)" in said
    assert said.count("edgead: error: cannot read") == 2


def test_a_photo_that_the_detector_refuses_costs_no_other(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgead.detector import EdgeDetector

    for index in range(3):
        write_photo(tmp_path / "photos" / f"{index}.png", part(index))
    score = EdgeDetector.__call__
    calls: list[object] = []

    def fails_once(detector: EdgeDetector, frame: Any) -> Any:
        calls.append(frame)
        if len(calls) == 2:
            raise EdgeadError("the runtime failed")
        return score(detector, frame)

    monkeypatch.setattr(EdgeDetector, "__call__", fails_once)
    code, results = predict(tmp_path / "photos")
    assert code == 1
    assert [result.get("error") for result in results] == [None, "the runtime failed", None]


@pytest.mark.parametrize("threshold", ["nan", "inf", "-inf", "1e400"])
def test_a_threshold_is_a_finite_number(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str], threshold: str
) -> None:
    photo = write_photo(tmp_path / "a.png", part(0))
    assert predict(photo, f"--threshold={threshold}") == (2, [])
    assert "threshold must be a finite number" in capsys.readouterr().err


def test_a_data_sets_masks_are_not_scored(
    predict: Predict, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, results = predict(dataset)
    assert len(results) == 24
    assert "note: skipped 1 folder of a data set's masks" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["rtsp://camera/1"], ["a.png", "line.mp4"], ["*.png"]])
def test_streams_videos_and_patterns_end_in_one_sentence(
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: Sequence[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / "a.png", part(0))
    assert predict(*words) == (1, [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"edgead: error: {words[-1]} is a")


def test_an_overlay_is_the_detections_own_picture(
    predict: Predict, tmp_path: Path, tiny_artifact: Callable[..., Artifact]
) -> None:
    from edgead.detector import EdgeDetector

    photo = write_photo(tmp_path / "a.png", part(0, defect=True))
    predict(photo, "--out", tmp_path / "out")
    overlay = tmp_path / "out/a.png.png"
    assert own_pictures.is_marked(overlay)
    with EdgeDetector(tiny_artifact().path) as detect:
        frame = cv2.imread(str(photo))
        assert (cv2.imread(str(overlay)) == detect(frame).overlay(frame)).all()
