from __future__ import annotations

import json
from pathlib import Path

from edgead.benchmarks import directions


def test_every_direction_kept_is_the_whole_detector(
    trained_run: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    words = [str(tmp_path), f"{trained_run}={shared_dataset}", "--keep", "8,384"]
    assert directions.main(words) == 0
    (rows,) = json.loads((tmp_path / "directions.json").read_text()).values()
    whole, *others = rows
    assert {row["from"] for row in others} == {
        "good photos",
        "synthetic defects",
        "generated pictures",
        "all three",
    }
    for row in others:
        if row["kept"] == 384:
            assert row["energy_left"] < 1e-9
            assert row["image_auroc"] == whole["image_auroc"]
        else:
            assert 0 < row["energy_left"] < 1
    assert len((tmp_path / "directions.md").read_text().splitlines()) == 2 + 1 + 4 * 2
