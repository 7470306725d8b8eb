"""Every way to install gives all of edgead, in the root of the repository and elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ("edgead", "export", "runtimes", "calibration", "benchmarks")
FILES = ("pyproject.toml", "README.md", "LICENSE")

_IMPORT = """
import importlib.util
from edgead import EdgeDetector
import edgead.benchmarks.measure, edgead.calibration.threshold, edgead.export
import edgead.runtimes.onnxruntime.runtime as runtime
print(runtime.__file__)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    root.mkdir()
    for name in SOURCE:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment with edgead's dependencies and without edgead."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file: the .pth files there, and so this repository, are not looked at.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


def imported_from(python: Path, folder: Path) -> Path:
    command = [python, "-E", "-c", _IMPORT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def install(python: Path, *what: object) -> None:
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    options = ["--ignore-installed", "--no-build-isolation", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *options, *what], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_checkout_works_without_an_installation(python: Path, checkout: Path) -> None:
    found = imported_from(python, checkout)
    assert found == checkout / "edgead" / "runtimes" / "onnxruntime" / "runtime.py"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ordinary", "sdist", "editable", "strict"])
def test_every_installation_works_in_the_root_and_elsewhere(
    way: str, python: Path, checkout: Path, tmp_path: Path
) -> None:
    if way == "ordinary":
        install(python, checkout)
    elif way == "sdist":
        build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", tmp_path]
        subprocess.run([*build, checkout], check=True, capture_output=True)
        install(python, *tmp_path.glob("*.tar.gz"))
    elif way == "editable":
        install(python, "--editable", checkout)
    else:
        install(python, "--config-settings", "editable_mode=strict", "--editable", checkout)
    elsewhere = imported_from(python, tmp_path)
    inside = checkout if way in ("editable", "strict") else python.parents[1]
    assert inside in elsewhere.parents
    assert checkout in imported_from(python, checkout).parents
