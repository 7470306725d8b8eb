from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studies import accuracy
from studies.accuracy import Cell


def found(auroc: float) -> dict[str, Any]:
    return {"image_auroc": auroc, "pixel_auroc": None, "au_pro": 0.5, "false_alarm_rate": 0.0}


def test_a_row_is_mean_and_spread_over_the_seeds() -> None:
    results = {
        Cell("part", "efficientad-n", seed): found(auroc) for seed, auroc in ((0, 0.90), (1, 0.94))
    }
    text = accuracy.tables(results, {})
    assert "| part | efficientad-n | 2 | 0.9200 ± 0.0283 | - | 0.5000 ± 0.0000 |" in text


def test_a_whole_collection_stands_beside_what_others_published() -> None:
    collections = {"mvtec": accuracy.MVTEC_AD}
    results = {
        Cell(f"mvtec/{name}", "efficientad-s", 0): found(0.98) for name in sorted(accuracy.MVTEC_AD)
    }
    text = accuracy.tables(results, collections)
    assert "| **mvtec, all** | efficientad-s | 1 | 0.9800 | - | 0.5000 | 0.0000 |" in text
    assert "published: EfficientAd-S, Batzner et al. 2024, Table 2 |  | 0.988 |" in text
    results.pop(next(iter(results)))
    assert "| mvtec, all | efficientad-s | not finished |" in accuracy.tables(results, collections)


def test_a_matrix_is_trained_once(
    shared_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path), f"part={shared_dataset}", "--seeds", "0,1", "--steps", "2"]
    words += ["--image-size", "96x128", "--device", "cpu"]
    assert accuracy.main(words) == 0
    assert "| part | efficientad-n | 2 |" in capsys.readouterr().out
    entries = json.loads((tmp_path / "accuracy.json").read_text())
    assert [entry["seed"] for entry in entries] == [0, 1]
    assert all(0 <= entry["image_auroc"] <= 1 for entry in entries)
    assert accuracy.main(words) == 0
    assert capsys.readouterr().err.count("not measured again") == 2
    words[words.index("--steps") + 1] = "3"  # figures of other trainings must not pass for these
    assert accuracy.main(words) == 2
    assert "trained with steps 2, and this command has 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pairs", "code", "says"),
    [
        (["data"], 2, "not of the form SET=DATA"),
        (["a={whole}", "a={whole}"], 2, "given twice"),
        (["a={good}"], 1, "no labelled test photos"),
    ],
)
def test_sets_that_cannot_be_measured(
    pairs: list[str],
    code: int,
    says: str,
    shared_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"whole": shared_dataset, "good": shared_dataset / "train/good"}
    assert accuracy.main([str(tmp_path), *(pair.format(**places) for pair in pairs)]) == code
    assert says in capsys.readouterr().err
