"""``--good NAME``: folders of good parts that are not called good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgead.artifact import Artifact
from edgead.cli import main
from edgead.compare import accuracy
from edgead.datasets import Dataset


@pytest.mark.parametrize("name", ["OK", "in ordnung"])
def test_evaluate_counts_a_named_folder_as_good(
    tiny_artifact: Callable[..., Artifact],
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    artifact, figures = str(tiny_artifact().path), tmp_path / "e.json"
    assert main(["evaluate", artifact, str(dataset), "--json", str(figures)]) == 0
    expected = json.loads(figures.read_text())
    capsys.readouterr()

    (dataset / "test/good").rename(dataset / "test" / name)
    assert main(["evaluate", artifact, str(dataset)]) == 0
    assert "--good" in capsys.readouterr().err
    words = ["evaluate", artifact, str(dataset), "--good", name, "--json", str(figures)]
    assert main(words) == 0
    assert "--good" not in capsys.readouterr().err
    found = json.loads(figures.read_text())
    assert [entry.pop("path") for entry in found["scores"]]
    assert [entry.pop("path") for entry in expected["scores"]]
    found["scores"].sort(key=lambda entry: entry["score"])
    expected["scores"].sort(key=lambda entry: entry["score"])
    assert found == expected

    assert main(["evaluate", artifact, str(dataset), "--good", "Okay"]) == 1
    assert "no folder train/Okay or test/Okay of good parts; its folders are: " in (
        capsys.readouterr().err
    )


def test_figures_kept_by_a_comparison_hold_for_their_labels_only(dataset: Path) -> None:
    first, second = (
        accuracy.data_digest(Dataset.from_folder(dataset, good)) for good in ((), ("blot",))
    )
    assert first != second


def test_a_training_remembers_what_is_good(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgead.training import Run

    for part in ("train", "test"):
        (dataset / part / "good").rename(dataset / part / "OK")
    command = ["train", str(dataset), "--out", str(tmp_path / "run"), "--image-size", "96x128"]
    command += ["--steps", "1", "--batch-size", "2", "--precision", "32-true"]
    assert main(command) == 1
    assert "give --good OK if that folder holds photos of good parts" in capsys.readouterr().err
    assert main([*command, "--good", "OK"]) == 0
    assert f"edgead evaluate {tmp_path / 'run'} {dataset} --good OK" in capsys.readouterr().out
    assert Run(tmp_path / "run").read_record().config.good == ("OK",)
