from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact, read_artifact
from edgead.cli import main
from tests.conftest import part, write_photo

_PREDICT = """
import sys
sys.modules["torch"] = None  # importing it fails from here on
from edgead.cli import main
code = main(sys.argv[1:])
wrong = {"torch", "lightning_fabric", "onnx", "safetensors"} & {
    name for name, module in sys.modules.items() if module is not None}
assert not wrong, wrong
sys.exit(code)
"""


def test_a_device_without_torch_predicts(exported: Path, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.png", part(0))
    subprocess.run(
        [sys.executable, "-c", _PREDICT, "predict", exported, photo, "--json", "scores.json"],
        cwd=tmp_path,
        check=True,
    )
    (result,) = json.loads((tmp_path / "scores.json").read_text())
    keys = {"schema", "path", "score", "threshold", "is_anomalous", "regions", "blank"}
    assert set(result) == keys


def test_one_unreadable_photo_does_not_cost_the_others_their_scores(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(tmp_path / "photos" / "a.png", part(0))
    (tmp_path / "photos" / "b.png").write_bytes(b"half a fi")
    write_photo(tmp_path / "photos" / "c.png", part(1))
    target = tmp_path / "scores.json"
    words = ["predict", tiny_artifact().path, tmp_path / "photos", "--json", target]
    assert main(list(map(str, words))) == 1
    assert "b.png" in capsys.readouterr().err
    first, broken, last = json.loads(target.read_text())
    assert (broken["score"], broken["is_anomalous"]) == (None, None)
    assert "b.png" in broken["error"]
    assert isinstance(first["score"], float)
    assert isinstance(last["score"], float)
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    (tmp_path / "photos" / "c.png").unlink()
    assert main(list(map(str, words))) == 1
    again = json.loads(target.read_text())  # yesterday's verdicts do not stand for today's
    assert [entry["score"] for entry in again] == [None, None]


def test_a_reader_that_goes_away_costs_neither_scores_nor_the_exit_code(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    for index in range(6):
        write_photo(tmp_path / "photos" / f"{index}.png", part(index))
    (tmp_path / "photos" / "broken.png").touch()
    command = [sys.executable, "-u", "-m", "edgead", "predict", str(tiny_artifact().path)]
    command += [str(tmp_path / "photos"), "--json", str(tmp_path / "scores.json")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert "broken.png" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(json.loads((tmp_path / "scores.json").read_text())) == 7


_REFUSED = """
import sys
from edgead.cli import main, models
from edgead.errors import GateRefused
def run(args):
    print("a table")
    raise GateRefused("refused")
models.run = run
sys.exit(main(["models"]))
"""


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        (["-m", "edgead", "--help"], (0, "")),
        (["-m", "edgead", "runtimes"], (0, "")),
        (["-c", _REFUSED], (3, "edgead: error: refused\n")),
    ],
)
def test_a_reader_that_goes_away_is_no_error(words: list[str], ends: tuple[int, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},  # what is printed waits in a buffer
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == ends


def test_output_that_cannot_be_written_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgead", "runtimes"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("edgead: error: the disk is full")
    assert len(done.stderr.splitlines()) == 1


def test_a_picture_that_cannot_be_written_costs_no_scores(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        write_photo(tmp_path / "photos" / f"{index}.png", part(index))
    (tmp_path / "out").touch()
    target = tmp_path / "scores.json"
    words = [tiny_artifact().path, tmp_path / "photos", "--out", tmp_path / "out/x"]
    assert main(["predict", *map(str, words), "--json", str(target)]) == 1
    assert "scoring continues without" in capsys.readouterr().err
    assert len(json.loads(target.read_text())) == 2


def test_importing_edgead_loads_neither_torch_nor_a_runtime() -> None:
    code = (
        "import sys, edgead, edgead.runtimes\n"
        "print(*({'torch', 'onnxruntime', 'onnx', 'openvino', 'tensorrt'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_training_without_torch_says_what_to_install(tmp_path: Path, shared_dataset: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PREDICT, "train", shared_dataset, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'edgead[train]'" in done.stderr


def test_evaluate_writes_the_keys_that_scripts_rely_on(
    exported: Path, shared_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, sheet = tmp_path / "e.json", tmp_path / "sheet.png"
    words = ["evaluate", exported, shared_dataset, "--json", figures, "--sheet", sheet]
    assert main([str(word) for word in words]) == 0
    found = json.loads(figures.read_text())
    for key in ("image_auroc", "image_ap", "image_f1", "pixel_auroc", "au_pro"):
        assert 0 <= found[key] <= 1
    assert found["images"] == 8
    assert set(found["by_defect"]) == {"blot"}
    assert sheet.stat().st_size > 1000
    assert "blot" in capsys.readouterr().out


def test_info_and_runtimes_speak(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(exported)]) == 0
    said = capsys.readouterr().out
    assert "efficientad-n" in said
    teacher = read_artifact(exported).manifest.teacher
    assert teacher is not None
    assert "steps of" in str(teacher.recipe)
    for fact in (teacher.images, teacher.recipe, teacher.validation, teacher.licence):
        assert str(fact) in said
    assert main(["runtimes"]) == 0
    assert "onnxruntime" in capsys.readouterr().out
