from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgead.training import penalty
from studies.accuracy import cells
from studies.accuracy.__main__ import main
from studies.accuracy.cells import Cell
from studies.accuracy.tables import OF_MVTEC_AD, tables
from studies.tests.test_protocols import as_ad_2


def found(auroc: float) -> dict[str, Any]:
    return {"image_auroc": auroc, "pixel_auroc": None, "au_pro": 0.5, "false_alarm_rate": 0.0}


def test_a_row_is_mean_and_spread_over_the_seeds() -> None:
    results = {
        Cell("part", "efficientad-n", seed): found(auroc) for seed, auroc in ((0, 0.90), (1, 0.94))
    }
    text = tables(results, {})
    assert "| part | efficientad-n | 2 | 0.9200 ± 0.0283 | - | 0.5000 ± 0.0000 |" in text


def test_a_whole_collection_stands_beside_what_others_published() -> None:
    collections = {"mvtec": OF_MVTEC_AD}
    results = {
        Cell(f"mvtec/{name}", "efficientad-s", 0): found(0.98) for name in sorted(OF_MVTEC_AD)
    }
    text = tables(results, collections)
    assert "| **mvtec, all** | efficientad-s | 1 | 0.9800 | - | 0.5000 | 0.0000 |" in text
    assert "published: EfficientAd-S, Batzner et al. 2024, Table 2 |  | 0.988 |" in text
    results.pop(next(iter(results)))
    assert "| mvtec, all | efficientad-s | not finished |" in tables(results, collections)


def test_a_training_is_made_once(
    shared_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(penalty, "GENERATED", 4)  # a short run needs no more
    words = [str(tmp_path), f"part={shared_dataset}", "--seeds", "0", "--steps", "1"]
    words += ["--image-size", "96x128", "--device", "cpu"]
    assert main(words) == 0
    said = capsys.readouterr()
    before, _, after = said.err.partition(f"1 of 1: {tmp_path}")
    assert "efficientad-n: 1 training and evaluation, " in before
    assert "(by a short run on part)\ntotal: 1 left, " in before
    assert after
    assert "| part | efficientad-n | 1 |" in said.out
    (entry,) = json.loads((tmp_path / "accuracy.json").read_text())
    assert 0 <= entry["image_auroc"] <= 1
    assert entry["au_pro_005"] is None

    assert main(words) == 0
    assert "not measured again" in capsys.readouterr().err
    words[words.index("--steps") + 1] = "3"  # figures of other trainings must not pass for these
    assert main(words) == 2
    assert "trained with steps 1, and this command has 3" in capsys.readouterr().err


def test_what_is_taught_has_one_run_and_takes_no_time_once_it_is_finished(
    shared_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("can", "vial"):
        as_ad_2(shared_dataset, tmp_path / "ad_2" / name)
    out = tmp_path / "out"
    words = [str(out), f"ad2={tmp_path / 'ad_2'}", "--models", "patchcore", "--image-size", "64"]
    monkeypatch.setattr(cells, "STRICT_LIMIT", 0.3)  # the evaluation's: both must be the same
    assert main(words) == 0
    said = capsys.readouterr()
    assert "patchcore: 2 trainings and evaluations, " in said.err
    assert "| **ad2, all** | patchcore | 1 |" in said.out
    assert "ad2 (MVTec AD 2): figures of test_public" in said.out
    entries = json.loads((out / "accuracy.json").read_text())
    assert [(entry["set"], entry["seed"]) for entry in entries] == [
        ("ad2/can", None),
        ("ad2/vial", None),
    ]
    for entry in entries:
        assert entry["photos"] == 8
        assert 0 < entry["au_pro"] == entry["au_pro_005"]

    (out / "ad2-vial-taught/exports/patchcore/accuracy.json").unlink()  # taught, not evaluated
    assert main([*words, "--estimate-only"]) == 0
    line, total = capsys.readouterr().out.splitlines()
    assert line.startswith("patchcore: 1 training and evaluation (1 finished), ")
    assert line.endswith("(by finished cells of ad2)")
    assert total.startswith("total: 1 left, ")
    assert not (out / "ad2-vial-taught/exports/patchcore/accuracy.json").exists()

    assert main(words) == 0
    assert main([*words, "--estimate-only"]) == 0
    ended = "patchcore: nothing left (2 finished)\ntotal: 0 left, 0 s\n"
    assert capsys.readouterr().out.endswith(ended)


def test_an_unknown_detector_is_refused(
    shared_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), f"part={shared_dataset}", "--models", "patchcore,knn"]) == 2
    assert "unknown detector 'knn'; choose 'all' or of: " in capsys.readouterr().err
