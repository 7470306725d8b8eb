from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgead.images import read_image
from edgead.line.errors import OutputError
from edgead.line.outputs.jsonl import JsonLines, JsonLinesOptions
from edgead.line.outputs.keep import Keep, KeepOptions
from edgead.line.verdict import Judged
from tests.conftest import part
from tests.line.judged import anomaly, failure, good

_LIMITED = """
import resource, signal, sys
from tests.line.judged import good
from edgead.line.outputs.jsonl import JsonLines, JsonLinesOptions
from edgead.line.errors import OutputError
"""


def lines_of(path: Path) -> list[dict[str, object]]:
    content = path.read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def jsonl(path: Path, **options: int) -> JsonLines:
    output = JsonLines(JsonLinesOptions(path, **options), "left")
    output.open()
    return output


def test_lines_are_appended_and_files_rotated(tmp_path: Path) -> None:
    path = tmp_path / "logs/verdicts.jsonl"
    output = jsonl(path, max_bytes=4096, files=3)
    for number in range(1, 61):
        output.deliver(good(number))
    output.fail("no frame came")
    output.recover()
    output.close()
    output.close()
    names = sorted(file.name for file in path.parent.iterdir())
    assert names == ["verdicts.jsonl", "verdicts.jsonl.1", "verdicts.jsonl.2"]
    newest_first = [lines_of(path.parent / name) for name in names]
    assert all(sum(len(json.dumps(one)) + 1 for one in file) <= 4096 for file in newest_first)
    together = [one for file in reversed(newest_first) for one in file]
    numbers = [one["number"] for one in together[:-2]]
    assert numbers == list(range(61 - len(numbers), 61))  # only the oldest are gone
    assert [one["state"] for one in together[-2:]] == ["failing", "judging"]


def test_one_file_is_rotated_to_nothing(tmp_path: Path) -> None:
    output = jsonl(tmp_path / "a.jsonl", max_bytes=4096, files=1)
    for number in range(1, 61):
        output.deliver(good(number))
    output.close()
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]
    assert lines_of(tmp_path / "a.jsonl")[-1]["number"] == 60


def test_what_a_killed_process_left_of_a_line_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for rest in (b'{"schema": 1, "sta', b"{" + b"x" * 200_000):
        path.write_bytes(b'{"number": 1}\n' + rest)
        output = jsonl(path)
        output.deliver(good(2))
        output.close()
        assert [one["number"] for one in lines_of(path)] == [1, 2]
    path.write_bytes(b'{"schema"')
    jsonl(path).close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("kills", [3])
def test_kill_9_leaves_whole_lines_for_the_next_start(tmp_path: Path, kills: int) -> None:
    path = tmp_path / "a.jsonl"
    program = (
        "from pathlib import Path\nfrom itertools import count\n"
        "from tests.line.judged import good\n"
        "from edgead.line.outputs.jsonl import JsonLines, JsonLinesOptions\n"
        f"output = JsonLines(JsonLinesOptions(Path({str(path)!r}), max_bytes=100_000), 'left')\n"
        "output.open()\nprint('ready', flush=True)\n"
        "for number in count(1):\n    output.deliver(good(number))\n"
    )
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGKILL)
        output = jsonl(path)
        output.deliver(good(1))
        output.close()
        for file in tmp_path.iterdir():
            lines_of(file)


def test_a_full_disk_leaves_no_half_line_and_is_one_sentence(tmp_path: Path) -> None:
    """The limit of a process for the size of its files stands for a full disk: a short write."""
    path = tmp_path / "a.jsonl"
    program = (
        _LIMITED + "from pathlib import Path\n"
        f"output = JsonLines(JsonLinesOptions(Path({str(path)!r})), 'left')\n"
        "output.open()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    for number in range(1, 99): output.deliver(good(number))\n"
        "except OutputError as error: print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "output.deliver(good(number + 1))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == f"{path}: File too large\n"
    numbers = [one["number"] for one in lines_of(path)]
    assert numbers == [*range(1, len(numbers)), len(numbers) + 1]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"\x89PNG rest")
    with pytest.raises(OutputError, match="has no JSON lines: choose another path"):
        jsonl(photo)
    assert photo.read_bytes() == b"\x89PNG rest"
    with pytest.raises(OutputError, match="Is a directory"):
        jsonl(tmp_path)
    first = jsonl(tmp_path / "a.jsonl")
    with pytest.raises(OutputError, match="in use by another output or process"):
        jsonl(tmp_path / "a.jsonl")
    first.close()


def frame(number: int) -> np.ndarray:
    return part(number, size=(24, 32))


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def keep(folder: Path, **options: object) -> Keep:
    output = Keep(KeepOptions(folder, **options), "left")
    output.open()
    return output


def test_rejected_and_doubtful_frames_are_kept_with_their_verdict(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    output = keep(folder, near=0.1)
    hostile = "../../<img src=x>\n.png"
    output.deliver(anomaly(1, picture=frame(1), frame=hostile))
    output.deliver(good(2, picture=frame(2)))
    output.deliver(good(3, picture=frame(3), score=0.46))
    output.deliver(Judged(failure(4).verdict, picture=frame(4)))
    output.deliver(failure(5))
    assert [name.partition("-")[2] for name in kept(folder)] == [
        *("left-00000001-anomaly.json", "left-00000001-anomaly.png"),
        *("left-00000003-near.json", "left-00000003-near.png"),
        *("left-00000004-failure.json", "left-00000004-failure.png"),
    ]
    record = json.loads((folder / kept(folder)[0]).read_text())
    assert (record["kept"], record["frame"], record["score"]) == ("anomaly", hostile, 0.75)
    assert np.array_equal(read_image(folder / kept(folder)[1]), frame(1))


def test_the_random_share_is_drawn_with_the_seed(tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "b"):
        output = keep(tmp_path / name, share=0.2, seed=7, near=0.0)
        for number in range(1, 101):
            output.deliver(good(number, picture=frame(1)))
        drawn.append(kept(tmp_path / name))
    assert drawn[0] == drawn[1]
    assert 10 <= len(drawn[0]) / 2 <= 30


def test_the_oldest_go_first_also_after_a_restart_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("mine")
    output = keep(tmp_path, max_files=3)
    for number in range(1, 6):
        output.deliver(anomaly(number, picture=frame(number)))
    again = keep(tmp_path, max_files=3)
    again.deliver(anomaly(6, picture=frame(6)))
    numbers = [int(name.split("-")[2]) for name in kept(tmp_path) if name.endswith("png")]
    assert numbers == [4, 5, 6]
    assert (tmp_path / "notes.json").exists()
    size = sum(path.stat().st_size for path in tmp_path.iterdir()) - 4
    smaller = keep(tmp_path, max_bytes=size * 2 // 3)
    smaller.deliver(anomaly(7, picture=frame(7)))
    left = [path for path in tmp_path.iterdir() if path.name != "notes.json"]
    assert sum(path.stat().st_size for path in left) <= size * 2 // 3
    assert any("-00000007-" in path.name for path in left)
    with pytest.raises(OutputError, match="max_bytes is 100"):
        keep(tmp_path, max_bytes=100).deliver(anomaly(8, picture=frame(8)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        keep(tmp_path / "kept")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"near": 2}, "near"), ({"format": "bmp"}, "format"), ({"max_files": 0}, "max_files")],
)
def test_options_that_cannot_work_are_refused(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        KeepOptions(tmp_path, **options)
