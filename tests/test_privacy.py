"""No command asks anything of the network, or makes a file elsewhere than it was told to.

ONNX Runtime and OpenVINO report home where nobody declines it, and torch has caches.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from tests.conftest import write_dataset
from tests.watch import watch

pytestmark = pytest.mark.slow

EDGEAD = (sys.executable, "-m", "edgead")
DEVICE_RUNTIMES = ("onnxruntime", "openvino")


def is_quiet(words: list[object], folder: Path, *named: str, code: int = 0) -> None:
    """Run a command in ``folder/work`` and assert that it kept to the names it was given."""
    seen = watch([*EDGEAD, *map(str, words)], folder)
    assert seen.done.returncode == code, seen.done.stderr
    assert seen.network == []
    allowed = [folder / "work" / name for name in named]
    assert seen.outside(*allowed, folder / "tmp", Path("/dev"), Path("/proc/self")) == []
    for left in ("home", "tmp"):
        assert list((folder / left).iterdir()) == []
    assert {path.name for path in (folder / "work").iterdir()} == {
        Path(name).name for name in named
    }


@pytest.mark.parametrize("runtime", DEVICE_RUNTIMES)
def test_the_commands_of_a_device(
    runtime: str, tiny_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    artifact, data = tiny_artifact().path, write_dataset(tmp_path / "parts", train=4)
    chosen = ["--runtime", runtime]
    for number, (words, named) in enumerate(
        (
            (["predict", artifact, data / "test", "--out", "o", "--json", "p", *chosen], "op"),
            (["evaluate", artifact, data, "--json", "e", "--sheet", "s.png", *chosen], "e"),
            (["bench", artifact, "--duration", 1, "--json", "b", "--html", "h", *chosen], "bh"),
        )
    ):
        names = [*named, "s.png"] if "--sheet" in words else list(named)
        is_quiet(words, tmp_path / str(number), *names)


def test_what_opens_no_runtime(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    artifact = tiny_artifact().path
    is_quiet(["info", artifact], tmp_path / "info")
    is_quiet(["runtimes"], tmp_path / "runtimes")
    is_quiet(["fly"], tmp_path / "usage", code=2)


def test_the_commands_of_a_workstation(
    trained_run: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    size = ["--image-size", "96x128", "--device", "cpu"]
    is_quiet(["models"], tmp_path / "models")
    words = ["train", shared_dataset, "--out", "run", "--steps", 2, *size]
    is_quiet(words, tmp_path / "train", "run")
    is_quiet(["export", trained_run, "--out", "exports"], tmp_path / "export", "exports")
    words = ["compare", shared_dataset, "--out", "all", "--models", trained_run, "--precisions"]
    is_quiet([*words, "fp32", "--duration", 0.3], tmp_path / "compare", "all")
