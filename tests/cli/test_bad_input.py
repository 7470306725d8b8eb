"""Bad input: one sentence, exit code 1 or 2, and nothing overwritten."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgead.artifact import Artifact
from edgead.cli import main
from tests.conftest import part, tiny_model, write_dataset, write_photo


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code = main([str(word) for word in words])
    errors = capsys.readouterr().err
    sentences = [line for line in errors.splitlines() if line.startswith("edgead: error: ")]
    assert code in (1, 2)
    assert len(sentences) == 1, errors
    assert "Traceback" not in errors
    return sentences[0]


def test_no_photos_and_one_photo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(capsys, "train", tmp_path / "empty", "--out", run)
    write_photo(tmp_path / "one/a.png", part(0))
    assert "1 photo" in refused(capsys, "train", tmp_path / "one", "--out", run)
    assert not run.exists()


def test_unreadable_photos_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    victim = data / "train/good/004.png"
    victim.write_bytes(victim.read_bytes()[:200])
    command = ("train", data, "--out", tmp_path / "run", "--image-size", "96x128", "--steps", "2")
    assert "004.png" in refused(capsys, *command)
    victim.write_text("not a photo")
    assert "004.png" in refused(capsys, *command)


def test_mask_without_photo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    (data / "test/blot/001.png").unlink()
    assert "001_mask.png" in refused(capsys, "train", data, "--out", tmp_path / "run")


def test_wrong_teacher(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    (tmp_path / "teacher.pth").write_bytes(b"\x80\x02nothing")
    said = refused(
        capsys, "train", data, "--out", tmp_path / "run", "--teacher", tmp_path / "teacher.pth"
    )
    assert "teacher.pth" in said


def test_files_that_are_no_artifact(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_artifact: Callable[..., Artifact],
) -> None:
    photo = write_photo(tmp_path / "photo.png", part(0))
    artifact = tiny_artifact().path
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes(artifact.read_bytes()[:-300])
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(tiny_model())
    newer = tmp_path / "newer.onnx"
    model = onnx.load(artifact)
    for entry in model.metadata_props:
        if entry.key == "edgead.manifest":
            assert '"schema": 1' in entry.value
            entry.value = entry.value.replace('"schema": 1', '"schema": 99')
    onnx.save(model, newer)
    for command in ("predict", "bench", "info"):
        more = [photo] if command == "predict" else []
        for path in (truncated, foreign, newer, tmp_path / "gone.onnx", photo):
            assert path.name in refused(capsys, command, path, *more)


def test_the_run_folder_of_a_crashed_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, trained_run: Path
) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    (crashed / "run.json").write_bytes((trained_run / "run.json").read_bytes())
    assert "--resume" in refused(capsys, "export", crashed, "--out", tmp_path / "exports")
    assert not list(tmp_path.glob("exports/*"))


def test_a_full_disk_leaves_the_old_file(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tiny_artifact: Callable[..., Artifact],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifact = tiny_artifact().path
    photo = write_photo(tmp_path / "photo.png", part(0))
    target = tmp_path / "scores.json"
    target.write_text("old")
    before = sorted(tmp_path.iterdir())

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = refused(capsys, "predict", artifact, photo, "--json", target)
    assert "disk is full" in said
    assert target.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["train", "data", "--out", "run", "--steps", "0"],
        ["train", "data", "--out", "run", "--image-size", "big"],
        ["train", "data", "--out", "run", "--false-positive-rate", "2"],
        ["train", "data", "--out", "run", "--model", "efficientad-x"],
        ["predict"],
        ["fly"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data")
    assert main(words) == 2
    assert not (tmp_path / "run").exists()


def test_a_photo_smaller_than_the_network_still_gets_a_score(
    tmp_path: Path, tiny_artifact: Callable[..., Artifact], capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_photo(tmp_path / "dot.png", np.full((1, 1, 3), 90, np.uint8))
    assert main(["predict", str(tiny_artifact().path), str(photo)]) == 0
    assert "dot.png" in capsys.readouterr().out


def test_what_the_system_refuses_is_a_sentence(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    shared_dataset: Path,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("mine")
    assert "file is a file" in refused(capsys, "export", exported, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgead.training._metrics.append", full)
    words = ("train", shared_dataset, "--out", tmp_path / "run", "--image-size", "96x128")
    assert "disk is full" in refused(capsys, *words, "--steps", "1")
