"""Commands in surroundings that are not those of a developer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from tests.conftest import write_dataset


def outcome(words: list[object], folder: Path, *python: str, **environment: str) -> tuple[int, str]:
    """Run a command and return its exit code and its errors; an empty variable is left out."""
    surroundings = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, *python, "-m", "edgead", *map(str, words)],
        cwd=folder,
        env={name: value for name, value in surroundings.items() if value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.fixture
def device(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> list[list[object]]:
    """The words of the commands of a device."""
    artifact, data = tiny_artifact().path, write_dataset(tmp_path / "parts", train=2)
    return [
        ["--help"],
        ["runtimes"],
        ["info", artifact],
        ["predict", artifact, data / "test", "--out", "pictures", "--json", "scores.json"],
        ["evaluate", artifact, data, "--json", "figures.json", "--sheet", "sheet.png"],
    ]


def results(folder: Path) -> list[object]:
    """Return what the commands wrote, as far as it is the same each time."""
    scores = json.loads((folder / "scores.json").read_text())
    figures = json.loads((folder / "figures.json").read_text())
    assert (folder / "sheet.png").stat().st_size > 1000
    return [scores, figures["image_auroc"], sorted(map(str, (folder / "pictures").iterdir()))]


def test_python_without_asserts_and_docstrings(device: list[list[object]], tmp_path: Path) -> None:
    measure = ["bench", device[-1][1], "--duration", 0.1, "--samples", 8, "--json", "bench.json"]
    assert outcome(measure, tmp_path, "-OO")[0] == 0
    found = []
    for python in ((), ("-OO",)):
        for words in device:
            code, errors = outcome(words, tmp_path, *python)
            assert code == 0, errors
        found.append(results(tmp_path))
    assert found[0] == found[1]


def test_a_home_and_a_language_that_are_not_there(
    device: list[list[object]], tmp_path: Path
) -> None:
    surroundings = {
        "HOME": "/proc/nowhere",
        "XDG_CACHE_HOME": "",
        "EDGEAD_CACHE": "",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    for words in device:
        code, errors = outcome(words, tmp_path, **surroundings)
        assert code == 0, errors


def test_a_temporary_folder_that_is_not_there(device: list[list[object]], tmp_path: Path) -> None:
    for words in device:
        code, errors = outcome(words, tmp_path, TMPDIR="/proc/nowhere", TEMP="", TMP="")
        assert code == 0, errors  # Python takes another one


def test_few_open_files(device: list[list[object]], tmp_path: Path) -> None:
    few = ["sh", "-c", 'ulimit -n 24; exec "$@"', "sh", sys.executable, "-m", "edgead"]
    for words in device:
        command = [*few, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
