"""What is built is what is in the repository, and the README's commands exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgead.cli import _commands
from tests.conftest import part, write_photo

ROOT = Path(__file__).parents[1]
FOLDERS = ("edgead", "export", "runtimes", "calibration", "benchmarks")


def modules() -> set[str]:
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):  # does not follow links
            name = path.relative_to(ROOT).as_posix()
            found.add(name if folder == "edgead" else f"edgead/{name}")
    return found


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_works_alone(tmp_path: Path, exported: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True)
        else:
            shutil.copy(ROOT / name, source / name)
    run = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, source]
    subprocess.run(run, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert modules() <= names
    teachers = {f"edgead/teachers/efficientad_{size}.safetensors" for size in "ns"}
    assert {name for name in names if name.endswith(".safetensors")} == teachers
    assert "edgead/py.typed" in names
    assert not [name for name in names if not name.startswith(("edgead/", "edgead-"))]

    target = tmp_path / "installed"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        target,
        wheel,
    ]
    subprocess.run(pip, check=True)
    photo = write_photo(tmp_path / "photo.png", part(0))
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); sys.modules['torch'] = None\n"
        "import edgead; from edgead.cli import main\n"
        f"assert edgead.__file__.startswith({str(target)!r}), edgead.__file__\n"
        f"sys.exit(main(['predict', {str(exported)!r}, {str(photo)!r}]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_every_command_of_the_readme_is_one() -> None:
    text = "".join(blocks("sh")).replace("\\\n", " ")
    commands = [line for line in text.splitlines() if line.startswith("edgead ")]
    assert len(commands) >= 5
    for line in commands:
        _commands.parser().parse_args(shlex.split(line, comments=True)[1:])
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets


def test_the_readmes_python_runs(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(exported, tmp_path / "efficientad-n-int8.onnx")
    write_photo(tmp_path / "photo.jpg", part(0))
    monkeypatch.chdir(tmp_path)
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "overlay.png").is_file()
