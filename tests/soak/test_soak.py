from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import manifest_for, tiny_model
from tests.soak import soak


def run(*words: str) -> str:
    # A fresh process: memory of the tests before would be reused and hide what grows.
    words = (sys.executable, "-m", "tests.soak", *words)
    root = Path(__file__).parents[2]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def artifact(tmp_path: Path) -> str:
    from edgead.artifact import write_artifact

    path = tmp_path / "tiny.onnx"
    write_artifact(path, tiny_model((96, 96)), manifest_for(96, 96, (24, 24)))
    return str(path)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_memory_is_level_while_frames_are_scored(artifact: str, runtime: str) -> None:
    assert "3,000 frames" in run(
        "frames", "--runtime", runtime, "--frames", "3000", "--artifact", artifact
    )


@pytest.mark.usefixtures("all_cores")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_threads_that_share_a_detector_get_the_scores_of_one(artifact: str, runtime: str) -> None:
    assert "equal scores" in run(
        "threads", "--runtime", runtime, "--frames", "300", "--artifact", artifact
    )


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_opening_and_closing_leaves_nothing_open(artifact: str, runtime: str) -> None:
    assert "+0 open files" in run(
        "open", "--runtime", runtime, "--times", "150", "--artifact", artifact
    )


def test_memory_that_is_kept_is_seen_and_memory_that_lies_free_is_not() -> None:
    before = soak.Memory.now()
    kept = [np.ones(10_000) for _ in range(100)]  # 8 MB in pieces that the heap holds
    assert soak.Growth(before, soak.Memory.now()).mib > soak.MOST_GROWTH_MIB
    del kept
    assert soak.Growth(before, soak.Memory.now()).mib < soak.MOST_GROWTH_MIB
