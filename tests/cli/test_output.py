"""Streams that are closed, full or without a reader; foreign text; no working directory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead import notices
from edgead.artifact import Artifact
from edgead.cli import main
from edgead.cli._output import PatientOutput
from edgead.progress import progress
from tests.conftest import part, write_photo

EDGEAD = [sys.executable, "-m", "edgead"]


@pytest.fixture
def predict(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> list[str]:
    """The words that score two photos, one of them damaged, and write ``scores.json``."""
    write_photo(tmp_path / "photos/a.png", part(0))
    (tmp_path / "photos/b.png").write_bytes(b"half a fi")
    return ["predict", str(tiny_artifact().path), "photos", "--json", "scores.json"]


def scores(folder: Path) -> list[float | None]:
    return [entry["score"] for entry in json.loads((folder / "scores.json").read_text())]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_service_without_streams_writes_its_scores(
    predict: list[str], tmp_path: Path, closed: str
) -> None:
    shell = ["sh", "-c", f'"$@" {closed}', "sh", *EDGEAD, *predict]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1  # of the damaged photo
    assert "Traceback" not in done.stderr
    assert ("b.png" in done.stderr) == ("2>&-" not in closed)
    assert ("a.png" in done.stdout) == (" >&-" not in f" {closed}")
    score, unread = scores(tmp_path)
    assert isinstance(score, float)
    assert unread is None


def test_what_is_printed_never_lands_in_a_file(tmp_path: Path) -> None:
    """A file that is opened where standard output was closed would be descriptor 1."""
    code = (
        "import os, sys\n"
        "from edgead.cli import main, models\n"
        "def run(args):\n"
        "    with open('results', 'w') as file:\n"
        "        os.system('echo from a helper; echo warning >&2')\n"
        "        file.write(str(file.fileno() > 2))\n"
        "    return 0\n"
        "models.run = run\n"
        "sys.exit(main(['models']))"
    )
    shell = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(shell, cwd=tmp_path, check=True)
    assert (tmp_path / "results").read_text() == "True"


@pytest.mark.parametrize(("stream", "code"), [("stdout", 1), ("stderr", 0)])
def test_a_full_disk_under_a_stream_costs_no_scores(
    predict: list[str], tmp_path: Path, stream: str, code: int
) -> None:
    (tmp_path / "photos/b.png").unlink()
    with Path("/dev/full").open("w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # the first line fails
        done = subprocess.run(
            [*EDGEAD, *predict], cwd=tmp_path, text=True, check=False, env=environment, **streams
        )
    assert done.returncode == code
    if stream == "stdout":
        assert done.stderr.startswith("edgead: error: the disk is full: standard output was not")
        assert len(done.stderr.splitlines()) == 1
    assert isinstance(scores(tmp_path)[0], float)


def test_a_program_without_streams_calls_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["--version"]) == 0
    assert main(["fly"]) == 2
    notices.warn("nobody reads this")
    assert list(progress([1, 2], 2, "work")) == [1, 2]
    assert (sys.stdout, sys.stderr) == (None, None)


def test_a_stream_that_a_program_closed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        stream = io.StringIO()
        stream.close()
        monkeypatch.setattr(sys, name, stream)
    assert main(["--version"]) == 0
    assert main(["fly"]) == 2
    notices.warn("nobody reads this")


def test_characters_that_a_stream_lacks_are_escapes() -> None:
    written = io.BytesIO()
    stream = PatientOutput(io.TextIOWrapper(written, "ascii"))
    print("±0.1 µm \udcff", file=stream)
    stream.flush()
    assert written.getvalue() == b"\\xb10.1 \\xb5m \\udcff\n"


HOSTILE = "a\n\x1b[2Jgood  0.0\r\x9b31m\u202e.png"


def test_foreign_text_neither_forges_a_line_nor_commands_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in ([HOSTILE], ["info", HOSTILE], ["info", "x", HOSTILE], ["train", f"--{HOSTILE}"]):
        assert main(words) == 2
        output = "".join(capsys.readouterr())
        *_, sentence = output.splitlines()
        assert "error: " in sentence
        assert not set(output) & set("\x1b\r\x9b\u202e")
        assert not [line for line in output.splitlines() if line.startswith("\\x1b")]
    notices.note(f"{HOSTILE} was passed over")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_line_that_was_forgotten_does_not_command_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgead.cli import models

    def run(_args: object) -> int:
        print("table\n\tof", HOSTILE)
        print("\r\x1b[K", HOSTILE, file=sys.stderr)
        return 0

    monkeypatch.setattr(models, "run", run)
    assert main(["models"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("table\n\tof a\n\\x1b[2J")
    assert not set("".join(printed)) & set("\x1b\r\x9b\u202e")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_rewrites_its_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", PatientOutput(terminal))
    monkeypatch.setattr("edgead.progress._TERMINAL_INTERVAL", 0.0)
    assert list(progress(range(2), 2, f"of {HOSTILE}")) == [0, 1]
    shown = terminal.getvalue()
    assert "\n" not in shown
    assert shown.count("\x1b") == shown.count("\r\x1b[K") == 3
    assert shown.endswith("\r\x1b[K")


def test_a_deleted_working_directory(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = tiny_artifact().path
    photo = write_photo(tmp_path / "photo.png", part(0))
    gone = tmp_path / "gone"
    for words in (["info", artifact], ["predict", artifact, photo], ["--help"], ["runtimes"]):
        gone.mkdir()
        shell = ["sh", "-c", 'rmdir "$PWD" && "$@"', "sh", *EDGEAD, *map(str, words)]
        done = subprocess.run(shell, cwd=gone, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), words
    gone.mkdir()
    words = ["predict", artifact, photo, "--json", "scores.json"]
    shell = ["sh", "-c", 'rmdir "$PWD" && "$@"', "sh", *EDGEAD, *map(str, words)]
    done = subprocess.run(shell, cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("edgead: error: ")
    assert len(done.stderr.splitlines()) == 1
