"""Processes that we start: nothing of the working directory is imported in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from edgead.benchmarks.memory import peak
from edgead.helper_process import named_path, run_module, trusted_path

_TRAP = "import pathlib; pathlib.Path(__file__).with_name('sprung').touch(); raise SystemExit(99)\n"
_MAIN = "import sys; from edgead.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A working directory with modules of somebody else, which have names of ours."""
    folder = tmp_path / "photos"
    for name in ("edgead", "onnxruntime", "sitecustomize"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(_TRAP)
    for name in ("numpy", "json", "runpy", "cv2", "site"):
        (folder / f"{name}.py").write_text(_TRAP)
    return folder


def sprung(folder: Path) -> list[Path]:
    return list(folder.rglob("sprung"))


def test_a_helper_imports_nothing_of_the_working_directory(
    traps: Path, tiny_artifact: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = tiny_artifact().path
    monkeypatch.chdir(traps)
    for first in ("", ".", str(traps)):  # as of python -c, of PYTHONPATH, of python -m
        monkeypatch.setattr(sys, "path", [first, *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(traps))
    assert peak(artifact, "onnxruntime", 1, (50, 60)).rss_mib > 20
    assert sprung(traps) == []


@pytest.mark.parametrize("where", ["traps", "the repository"])
def test_bench_works_in_any_folder(
    where: str, traps: Path, tiny_artifact: Callable[..., Artifact]
) -> None:
    script = traps.parent / "edgead-command.py"  # as pip's script does, from a folder of its own
    script.write_text(_MAIN)
    words = ["bench", tiny_artifact().path, "--duration", "0.1", "--samples", "1", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, script, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=traps if where == "traps" else Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert "MiB peak of a process that only predicts" in done.stdout
    assert sprung(traps) == []


def test_a_helper_sees_the_packages_that_its_parent_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "reporter.py").write_text("import sys; print(*sys.argv[1:], sep='|'); print(sys.path)")
    monkeypatch.syspath_prepend(str(ours))
    words = ["a b", "", "ünï", os.fsdecode(b"\xff.onnx")]
    done = run_module("reporter", words)
    assert done.returncode == 0, done.stderr
    said, path = done.stdout.splitlines()
    assert said == "a b||ünï|\\xff.onnx"
    assert str(ours) in path
    assert run_module("reporter", [], search_path=[]).returncode != 0
    elsewhere = run_module("reporter", [], search_path=[str(ours)], folder=tmp_path)
    assert elsewhere.returncode == 0


def test_a_helper_reads_no_variables_of_the_interpreter_and_no_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, sys; print(sorted(k for k in os.environ if k.startswith('PYTHON')))\n"
    (tmp_path / "reporter.py").write_text(code + "print(repr(sys.stdin.read()))")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    assert run_module("reporter", []).stdout.splitlines() == ["[]", "''"]


def test_the_folder_of_the_script_stays_and_the_working_directory_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", ".", "relative", str(tmp_path), "/elsewhere"])
    assert trusted_path() == ["/elsewhere"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    assert named_path() == ["/elsewhere"]
    main = type(sys)("__main__")
    main.__file__ = str(tmp_path / "application.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert trusted_path() == [str(tmp_path), "/elsewhere"]


def test_a_working_directory_that_is_gone_is_no_matter(
    tmp_path: Path, tiny_artifact: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = tiny_artifact().path
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert peak(artifact, "onnxruntime", 1, (50, 60)).rss_mib > 20
