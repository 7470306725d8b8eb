"""Distributions that share a folder, as pip leaves them, in environments made for the purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from edgead.packages import conflict, installed
from tests.conftest import part, write_photo

_RUNTIMES = "import sys; from edgead.cli import main; sys.exit(main(['runtimes']))"
_PREDICT = "import sys; from edgead.cli import main; sys.exit(main(['predict', *sys.argv[1:]]))"


def distribution(folder: Path, name: str, version: str) -> None:
    """What pip writes down about an installed distribution."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def run(code: str, site: Path, *words: object) -> tuple[int, str]:
    """Run code where ``site`` goes before all installed packages."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    return done.returncode, done.stdout + done.stderr


def test_distributions_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "twice-one", "1.0")
    distribution(tmp_path, "twice-two", "2.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = installed(("twice-one", "twice-two", "twice-three"))
    assert found == {"twice-one": "1.0", "twice-two": "2.0"}
    said = conflict(found, "twice-one")
    assert said is not None
    assert "twice-one 1.0 and twice-two 2.0 are installed side by side" in said
    assert "pip uninstall -y twice-one twice-two && pip install twice-one" in said
    assert conflict({"twice-one": "1.0"}, "twice-one") is None


def test_runtimes_that_work_beside_a_second_distribution_are_used_with_a_warning(
    tmp_path: Path,
) -> None:
    distribution(tmp_path, "onnxruntime-gpu", "1.20.0")
    distribution(tmp_path, "opencv-python", "4.10.0.84")
    code, said = run(_RUNTIMES, tmp_path)
    assert code == 0
    assert "warning: onnxruntime " in said
    assert "onnxruntime-gpu 1.20.0 are installed side by side" in said
    assert "opencv-python 4.10.0.84 are installed side by side" in said


@pytest.mark.parametrize("left", ["", "raise ImportError('libcudart.so.12 is missing')"])
def test_an_onnxruntime_that_lost_files_to_another_is_one_sentence(
    left: str, tmp_path: Path
) -> None:
    distribution(tmp_path, "onnxruntime-gpu", "1.20.0")
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(left)
    _, said = run(_RUNTIMES, tmp_path)
    (line,) = [line for line in said.splitlines() if line.startswith("onnxruntime")]
    assert "does not work: the package onnxruntime" in line
    assert "onnxruntime-gpu 1.20.0 are installed side by side" in line
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        ("", "has lost some of its files"),
        ("raise ImportError('libGL.so.1: cannot open it')", "cannot be imported (libGL.so.1"),
    ],
)
def test_an_opencv_that_lost_files_to_another_is_one_sentence(
    left: str, reason: str, tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    photo = write_photo(tmp_path / "photo.png", part(1))
    site = tmp_path / "site"
    distribution(site, "opencv-python", "4.10.0.84")
    (site / "cv2").mkdir()
    (site / "cv2" / "__init__.py").write_text(left)
    code, said = run(_PREDICT, site, tiny_artifact().path, photo)
    assert code == 1
    assert f"edgead: error: OpenCV (cv2) {reason}" in said
    assert "opencv-python 4.10.0.84 are installed side by side" in said
    assert "Traceback" not in said


def test_so_it_is_for_a_program_that_imports_the_package(tmp_path: Path) -> None:
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text("raise ImportError('libGL.so.1 is missing')")
    _, said = run("from edgead import EdgeDetector", tmp_path)
    assert "EdgeadError: OpenCV (cv2) cannot be imported (libGL.so.1 is missing)" in said


def test_the_version_that_crashes_on_a_raspberry_pi_4_is_not_imported(tmp_path: Path) -> None:
    distribution(tmp_path, "onnxruntime", "1.21.0")
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("import os; os._exit(132)")
    arm = "import platform; platform.machine = lambda: 'aarch64'\n"
    code, said = run(arm + _RUNTIMES, tmp_path)
    assert code != 132
    (line,) = [line for line in said.splitlines() if line.startswith("onnxruntime")]
    assert "illegal instruction" in line
    assert "pip install 'onnxruntime!=1.21.0'" in line
