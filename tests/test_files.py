from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgead import files
from edgead.errors import EdgeadError


def test_a_full_disk_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EdgeadError, match=r"disk is full: .*a\.json"):
        files.write_text(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="stop"), files.atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise ValueError("stop")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folders_are_made_and_permissions_are_ordinary(tmp_path: Path) -> None:
    target = tmp_path / "x" / "y" / "a.json"
    files.write_json(target, {"a": 1})
    assert target.read_text() == '{\n  "a": 1\n}\n'
    reference = tmp_path / "reference"
    reference.touch()
    assert target.stat().st_mode == reference.stat().st_mode


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeadError, match="cannot write .*file/a"):
        files.write_text(tmp_path / "file" / "a", "x")


def test_nan_is_not_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", float("nan"))


def test_a_link_a_pipe_and_a_device_stay_what_they_are(tmp_path: Path) -> None:
    link, target = tmp_path / "link.json", tmp_path / "real" / "target.json"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ("new", "newer"):
        files.write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    files.write_text(pipe, "through")
    reader.join()
    assert read == ["through"]
    assert pipe.is_fifo()
    files.write_text("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    files.write_text(tmp_path / f"{'x' * 250}.png", "content")


_WRITE_UNTIL_KILLED = """
import sys, time
from edgead import files
with files.scratch_folder(sys.argv[1]) as scratch, files.atomic_path(sys.argv[1] + "/a.json"):
    (scratch / "part").touch()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_the_rest_of_a_killed_process_is_removed_and_that_of_a_live_one_stays(
    tmp_path: Path,
) -> None:
    own = tmp_path / ".new-mine.json"  # like a rest, but not named as one
    own.touch()
    command = [sys.executable, "-c", _WRITE_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        files.sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 3
        writer.kill()
    files.write_text(tmp_path / "b.json", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [own.name, "b.json"]


def test_a_locked_folder_is_refused_to_a_second_process(tmp_path: Path) -> None:
    second = (
        "import sys\nfrom edgead import files\nfrom edgead.errors import EdgeadError\n"
        "try:\n    files.locked_folder(sys.argv[1]).__enter__()\n    print('taken')\n"
        "except EdgeadError as error:\n    print(error)\n"
    )

    def output() -> str:
        command = [sys.executable, "-c", second, str(tmp_path / "run")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with files.locked_folder(tmp_path / "run"):
        assert "run is in use" in output()
    assert output() == "taken\n"
    assert list((tmp_path / "run").iterdir()) == []


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.write_bytes(bytes(11))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(IsADirectoryError):
        files.read_regular(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    for name in ("a\0b", "a\ud800"):
        with pytest.raises(OSError, match="no file can have that name"):
            files.read_regular(name)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a file"):
            files.read_regular(path)
    with pytest.raises(OSError, match="11 bytes .limit: 10"):
        files.read_regular(large, 10)
    assert files.read_regular(large, 11) == bytes(11)
