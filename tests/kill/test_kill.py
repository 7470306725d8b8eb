"""A few kills. Many, of export as well: ``python -m tests.kill``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1500)  # a busy machine takes minutes
@pytest.mark.parametrize(("command", "times"), [("predict", 2), ("train", 1)])
def test_a_killed_command_leaves_whole_files_and_the_next_start_ends_right(
    command: str, times: int
) -> None:
    # A process of its own: it forks, and must have one thread.
    words = [sys.executable, "-m", "tests.kill", command, "--times", str(times)]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{times} kills" in done.stdout
