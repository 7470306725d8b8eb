from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgead.cli import main
from edgead.errors import ArtifactError, EdgeadError, UsageError
from edgead.export.folder import export_folder, file_in
from tests.conftest import part, write_photo

_HOLD = """
import sys
from edgead import files
with files.locked_folder(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Path]:
    """A folder into which another process exports."""
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        (out / ".scratch-abcdefgh").mkdir()
        yield out
        process.communicate(b"\n")


def test_a_second_export_into_a_folder_is_refused_while_the_first_lives(
    taken: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(4):
        write_photo(tmp_path / f"good/{seed}.png", part(seed))
    words = ["export", exported, "--out", taken, "--calibration", tmp_path / "good"]
    assert main([str(word) for word in words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{taken} is in use: another edgead process writes into it" in line
    assert [path.name for path in taken.iterdir()] == [".scratch-abcdefgh"]


def test_what_a_killed_export_left_is_removed_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / ".scratch-abcdefgh").mkdir()
    (tmp_path / ".scratch-abcdefgh/efficientad-n.onnx").write_bytes(b"half")
    (tmp_path / ".new-abcdefgh.onnx").write_bytes(b"half")
    (tmp_path / "efficientad-n.onnx").write_bytes(b"whole")
    with export_folder(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["efficientad-n.onnx"]


def test_a_folder_made_for_nothing_is_removed(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        with export_folder(folder):
            raise EdgeadError("no photos")

    old = tmp_path / "old"
    old.mkdir()
    for folder in (old, tmp_path / "new"):
        with pytest.raises(EdgeadError, match="no photos"):
            fails(folder)
    assert list(tmp_path.iterdir()) == [old]


def test_an_empty_name_is_not_the_working_directory() -> None:
    with pytest.raises(UsageError, match="is empty"), export_folder(""):
        pass


@pytest.mark.parametrize(
    "name", ["../x.onnx", "/tmp/x.onnx", "a/x.onnx", "..", ".", "", "x\0.onnx", "x/", "./x.onnx"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not the name of a file in"):
        file_in(tmp_path, name)
    assert file_in(tmp_path, "tiny-c0.5-int8.onnx") == tmp_path / "tiny-c0.5-int8.onnx"
