from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgead.benchmarks import trainings
from edgead.datasets import Dataset
from edgead.detector import open_detector
from edgead.evaluation import evaluate


def test_trainings_of_the_same_photos_and_seed_are_compared(
    trained_run: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    for way in ("old", "new"):
        (tmp_path / way).mkdir()
        (tmp_path / way / "run").symlink_to(trained_run)
    pairs = [
        f"{tmp_path}/old/run={shared_dataset}",
        f"{tmp_path}/new/../new/run={shared_dataset}/.",
    ]
    assert trainings.main([str(tmp_path / "out"), *pairs]) == 0
    found = json.loads((tmp_path / "out/trainings.json").read_text())
    assert list(found) == ["old", "new"]
    assert found["old"] == found["new"]
    with open_detector(trained_run) as detect:
        evaluated = evaluate(detect, Dataset.from_folder(shared_dataset))
    (result,) = found["old"].values()
    assert result["image_auroc"] == pytest.approx(evaluated.image_auroc)
    table = (tmp_path / "out/trainings.md").read_text().splitlines()
    assert table[0] == f"| training | {shared_dataset.name} | mean | better |"
    assert [row.split(" | ")[0] for row in table[2:]] == ["| old", "| new"]
    assert table[-1].endswith("| 0 of 1 |")


def test_one_way_has_one_training_of_the_same_photos_and_seed(
    trained_run: Path,
    shared_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(trained_run)
    pairs = [f"{tmp_path / name}={shared_dataset}" for name in ("a", "b")]
    assert trainings.main([str(tmp_path / "out"), *pairs]) == 2
    assert "train each with another seed or other photos" in capsys.readouterr().err


def test_ways_have_names_of_their_own(
    trained_run: Path, shared_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("a/way", "b/way"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "run").symlink_to(trained_run)
    pairs = [f"{tmp_path / place}/way/run={shared_dataset}" for place in ("a", "b")]
    assert trainings.main([str(tmp_path / "out"), *pairs]) == 2
    assert "have one name, by which the table would call both" in capsys.readouterr().err
