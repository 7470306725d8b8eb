"""The short run: a few hundred cases of each target. The long one: ``python -m tests.fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import campaign

CASES = {"artifacts": 300, "images": 200, "json_files": 100}


@pytest.mark.parametrize("target", CASES)
def test_damaged_and_hostile_files_are_refused_or_read_right(target: str, tmp_path: Path) -> None:
    summary = campaign.run(target, range(CASES[target]), out=tmp_path)
    assert not summary.failures, f"{summary}; files in {tmp_path}"
    ended = {outcome.accepted for outcome in summary.outcomes}
    assert ended == {True, False}, "all were refused, or none: the target does not test"


@pytest.mark.slow
def test_damaged_run_folders_are_refused_or_end_with_the_same_bits(tmp_path: Path) -> None:
    summary = campaign.run("runs", range(10), out=tmp_path)
    assert not summary.failures, f"{summary}; files in {tmp_path}"
