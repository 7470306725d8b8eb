from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgead.benchmarks import selection
from edgead.datasets import Dataset
from edgead.errors import DataError, UsageError
from edgead.training import Run


def test_another_camera_keeps_the_part() -> None:
    photo = np.full((32, 32, 3), 100, np.uint8)
    again = selection.other_camera(photo, np.random.default_rng(0))
    assert again.shape == photo.shape
    assert again.dtype == np.uint8
    assert 100 * 0.85 * 0.97 - 6 - 20 < again.mean() < 100 * 1.15 * 1.03 + 6 + 20


def test_scores_are_judged_by_synthetic_defects_and_reported_on_labelled_photos() -> None:
    none = np.zeros((0, 8, 8, 3), np.uint8)
    evidence = selection.Evidence(none, none, none, none, (False, True, True))
    own, other, defective = np.float32([0, 1]), np.float32([1, 2]), np.float32([3, 0.5])
    found = evidence.aurocs(own, other, defective, np.float32([1, 0, 2]))
    assert found == {"synthetic_auroc": (4 + 1) / 8, "image_auroc": 1 / 2}


def test_a_summary_averages_runs_by_their_photos_and_counts_where_a_way_is_better() -> None:
    def found(synthetic: float, real: float) -> dict[str, float]:
        return {"synthetic_auroc": synthetic, "image_auroc": real}

    data = {"a0": "sets/bottle", "a1": "sets/bottle", "b0": "sets/tile"}
    ways = {
        "old": {"a0": found(0.5, 0.9), "a1": found(0.7, 0.7), "b0": found(0.8, 0.6)},
        "new": {"a0": found(0.6, 0.8), "a1": found(0.6, 1.0), "b0": found(0.9, 0.5)},
    }
    header, _, old, new = selection.summary("way", ways, data).splitlines()
    assert header == "| way | bottle | tile | mean | better |"
    assert old == "| old | 0.6000 / 0.8000 | 0.8000 / 0.6000 | 0.7000 |  |"
    assert new == "| new | 0.6000 / 0.9000 | 0.9000 / 0.5000 | 0.7500 | 2 of 3 |"


def test_a_way_that_was_not_tried_on_all_that_the_first_was_has_no_mean() -> None:
    data = {"a0": "bottle", "a1": "bottle", "b": "tile"}
    row = {"synthetic_auroc": 0.5, "image_auroc": 0.5}
    old, new = dict.fromkeys(data, row), {"a1": row, "b": row}
    text = selection.summary("way", {"old": old, "new": new}, data)
    assert text.splitlines()[-1] == "| new | - / - | 0.5000 / 0.5000 | - | 0 of 2 |"


def test_folders_of_one_name_are_told_apart() -> None:
    row = {"synthetic_auroc": 0.5, "image_auroc": 0.5}
    data = {"a": "here/bottle", "b": "there/bottle"}
    header = selection.summary("way", {"old": {"a": row, "b": row}}, data).splitlines()[0]
    assert header == "| way | here/bottle | there/bottle | mean | better |"


def test_a_training_whose_photos_are_gone_is_refused(tmp_path: Path, trained_run: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    record = Run(run).read_record()
    Run(run).write_record(dataclasses.replace(record, held_out=(tmp_path / "gone.png",)))
    with pytest.raises(
        DataError, match=r"gone\.png of .* is not there any more: put the photos back"
    ):
        selection.Evidence.of(run, tmp_path, (96, 96))
    everything = Dataset.from_folder(record.config.data).train_photos()
    Run(run).write_record(dataclasses.replace(record, held_out=everything[1:]))
    with pytest.raises(DataError, match="has 1 of the photos that .* learned from"):
        selection.learned_photos(run)


def test_learned_photos_are_those_that_were_not_held_out(trained_run: Path) -> None:
    record = Run(trained_run).read_record()
    learned = selection.learned_photos(trained_run)
    assert not set(learned) & set(record.held_out)
    everything = Dataset.from_folder(record.config.data).train_photos()
    assert sorted([*learned, *record.held_out]) == sorted(everything)


def test_a_run_is_measured_once(tmp_path: Path) -> None:
    asked = [("runs/a", "data"), ("runs/../runs/a", "other")]
    with pytest.raises(UsageError, match="runs/a is given twice"):
        selection.measure_ways(tmp_path, "table", "way", asked, {}, lambda *_: {})
