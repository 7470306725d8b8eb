"""The command itself, on tiny photos: real trainings, exports and measurements."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgead.cli import main
from edgead.compare import Plan, accuracy
from edgead.compare.plan import contenders
from edgead.datasets import Dataset
from edgead.errors import UsageError
from edgead.models import model_names
from tests.conftest import part, write_dataset, write_photo

STFPM = ["--teacher", "stfpm=random", "--steps", "stfpm=2", "--option", "stfpm:fusion=mean"]
SMALL = ["--image-size", "96x128", "--precisions", "fp32", "--duration", "0.2"]


def compare(*words: object) -> int:
    return main(["compare", *(str(word) for word in words), *SMALL])


@pytest.fixture(scope="session")
def compared(
    tmp_path_factory: pytest.TempPathFactory, shared_dataset: Path, trained_run: Path
) -> Path:
    """A comparison of a run taken as it is, and of a training."""
    out = tmp_path_factory.mktemp("compare") / "out"
    models = f"{trained_run},stfpm,efficientad-s,efficientad-survey"
    assert compare(shared_dataset, "--models", models, *STFPM, "--out", out) == 0
    return out


@pytest.fixture(scope="session")
def found(compared: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((compared / "compare.json").read_text())
    return content


def test_every_detector_is_measured_in_every_way(found: dict[str, Any], compared: Path) -> None:
    assert [d["label"] for d in found["detectors"]] == ["efficientad-n", "stfpm"]
    assert [d["steps"] for d in found["detectors"]] == [12, 2]
    recorded = json.loads((compared / "runs/stfpm/run.json").read_text())
    assert recorded["config"]["options"] == {"fusion": "mean"}
    assert all(d["training_seconds"] > 0 for d in found["detectors"])
    for variant in found["variants"]:
        for key in ("image_auroc", "pixel_auroc", "au_pro"):
            assert 0 <= variant[key] <= 1
        assert variant["latency_ms"]["p50"] > 0
        assert variant["fps"] == pytest.approx(1000 / variant["latency_ms"]["mean"])
        assert 20 < variant["memory_mib"] < 400
        assert variant["size_bytes"] == (compared / variant["file"]).stat().st_size
    assert any(variant["pareto"] for variant in found["variants"])
    assert found["recommendation"]["chosen"]["file"] in {v["file"] for v in found["variants"]}


def test_the_figures_are_those_of_evaluate(
    found: dict[str, Any], compared: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    variant = found["variants"][0]
    words = ["evaluate", compared / variant["file"], shared_dataset, "--json", tmp_path / "e.json"]
    assert main([str(word) for word in [*words, "--runtime", variant["runtime"]]]) == 0
    figures = json.loads((tmp_path / "e.json").read_text())
    for key in ("image_auroc", "pixel_auroc", "au_pro", "misses", "false_positives"):
        assert variant[key] == figures[key]


def test_who_cannot_take_part_is_named_with_the_reason(found: dict[str, Any]) -> None:
    reasons = {entry["what"]: entry["reason"] for entry in found["not_compared"]}
    assert set(reasons) == {"efficientad-s", "efficientad-survey"}
    assert "256x256" in reasons["efficientad-s"]
    assert "distill-teacher" in reasons["efficientad-survey"]


def test_a_network_that_knows_nothing_is_marked(found: dict[str, Any], compared: Path) -> None:
    notes = {detector["label"]: detector["notes"] for detector in found["detectors"]}
    assert any("random weights" in note for note in notes["stfpm"])
    assert not any("random weights" in note for note in notes["efficientad-n"])
    assert "random weights" in (compared / "compare.html").read_text()


def test_the_page_stands_alone_and_shows_every_kind(compared: Path, shared_dataset: Path) -> None:
    page = (compared / "compare.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    shown = [photo for photo in Dataset.from_folder(shared_dataset).test if photo.path.name in page]
    assert {photo.kind for photo in shown} == {"good", "blot"}
    assert page.count("data:image/jpeg") == 4 * 3  # typical and hardest of two kinds, two detectors
    assert ">Comparison<" in page
    assert ">Which detector?<" in page
    assert "survey:" not in page  # its claims stay in the documentation
    assert "<polyline" in page
    text = (compared / "compare.md").read_text()
    assert "| image AUROC, FP32 |" in text


def test_started_again_it_keeps_what_is_done(
    compared: Path,
    found: dict[str, Any],
    shared_dataset: Path,
    trained_run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = f"{trained_run},stfpm"
    kept = {path: path.stat().st_mtime_ns for path in compared.glob("*/*/*.*")}
    limits = ["--max-latency", "0.0001", "--min-auroc", "1"]
    code = compare(shared_dataset, "--models", models, *STFPM, "--out", compared, *limits)
    assert code == 3  # nothing is that fast
    assert {path: path.stat().st_mtime_ns for path in compared.glob("*/*/*.*")} == kept
    said = capsys.readouterr()
    assert "already trained" in said.err
    assert "already exported" in said.err
    assert "the nearest is" in said.out
    again = json.loads((compared / "compare.json").read_text())
    assert again["recommendation"]["chosen"] is None
    assert again["recommendation"]["misses"][0]["what"] == "latency"
    aurocs = [variant["image_auroc"] for variant in found["variants"]]
    assert [variant["image_auroc"] for variant in again["variants"]] == aurocs


def test_another_configuration_in_the_same_folder_is_refused(
    compared: Path, shared_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (shared_dataset, "--models", "stfpm", "--teacher", "stfpm=random", "--out", compared)
    assert compare(*words, "--steps", 4) == 2
    assert "trained with steps 2, and this command has 4" in capsys.readouterr().err
    assert compare(*words, "--steps", 2, "--seed", 1) == 2
    assert "seed" in capsys.readouterr().err
    assert compare(*words, "--steps", 2, "--option", "stfpm:fusion=max") == 2
    said = capsys.readouterr().err
    assert "fusion=mean, and this command has max: add --option stfpm:fusion=mean" in said


def test_speed_of_another_device_is_put_beside_accuracy_from_here(
    found: dict[str, Any],
    compared: Path,
    shared_dataset: Path,
    trained_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variant = found["variants"][0]
    bench = tmp_path / "pi.json"
    words = ["bench", compared / variant["file"], "--duration", "0.3", "--json", bench]
    assert main([str(word) for word in [*words, "--frame-size", "90x70"]]) == 0
    measured = json.loads(bench.read_text())
    words = [shared_dataset, "--models", f"{trained_run},stfpm", *STFPM]
    words += ["--out", compared, "--device", "pi"]
    assert compare(*words, "--measure-on", bench) == 0
    row = json.loads((compared / "compare.json").read_text())["variants"][-1]
    assert row["device"] == "pi"
    assert row["latency_ms"]["p50"] == measured["latency_ms"]["p50"]
    assert row["memory_mib"] == measured["peak_rss_mib"]
    assert (row["detector"], row["image_auroc"]) == (variant["detector"], variant["image_auroc"])
    capsys.readouterr()

    measured["artifact"] |= {"sha256": "f" * 64, "model": "stranger"}
    bench.write_text(json.dumps(measured))
    assert compare(*words, "--measure-on", bench) == 2
    said = capsys.readouterr().err
    assert "stranger" in said
    assert variant["sha256"][:12] in said


def test_two_runs_of_one_detector_are_told_apart(tmp_path: Path, trained_run: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained_run, other)
    plan = Plan(Path("data"), tmp_path / "out", (str(trained_run), str(other)))
    found, _ = contenders(plan)
    assert [contender.label for contender in found] == ["efficientad-n-run", "efficientad-n-other"]


def test_runs_in_folders_of_one_name_are_told_apart_too(tmp_path: Path, trained_run: Path) -> None:
    words = []
    for seed in ("seed0", "seed1"):
        shutil.copytree(trained_run, tmp_path / seed / "run")
        words.append(str(tmp_path / seed / "run"))
    found, _ = contenders(Plan(Path("data"), tmp_path / "out", tuple(words)))
    assert [contender.label for contender in found] == [
        "efficientad-n-seed0-run",
        "efficientad-n-seed1-run",
    ]
    (tmp_path / "link").symlink_to(tmp_path / "seed0")
    words.append(str(tmp_path / "link" / "run"))
    with pytest.raises(UsageError, match="two runs or files in --models have the same name"):
        contenders(Plan(Path("data"), tmp_path / "out", tuple(words)))


def test_figures_of_data_under_another_path_are_not_taken(tmp_path: Path) -> None:
    first, second = write_dataset(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(first, second)
    digests = [accuracy.data_digest(Dataset.from_folder(path)) for path in (first, second)]
    assert digests[0] != digests[1]  # the figures name the photos by their paths


def test_photos_of_good_parts_alone(
    tmp_path: Path, trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(16):
        write_photo(tmp_path / f"parts/{index}.png", part(index))
    out = tmp_path / "out"
    assert compare(tmp_path / "parts", "--models", trained_run, "--out", out) == 0
    said = capsys.readouterr().out
    assert "image AUROC, pixel AUROC and AU-PRO cannot be measured" in said
    assert "accuracy is unknown" in said
    (variant,) = {
        v["detector"]: v for v in json.loads((out / "compare.json").read_text())["variants"]
    }.values()
    assert variant["image_auroc"] is None
    assert variant["latency_ms"]["p50"] > 0
    page = (out / "compare.html").read_text()
    assert "other photos" in page  # the run learned from photos that are not in this folder
    assert page.count("data:image/jpeg") == 2 * 3


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--models", "nobody"], "neither a detector nor a run folder"),
        (["--models", "efficientad-n,efficientad-n"], "twice"),
        (["--models", "efficientad-n", "--steps", "stfpm=3"], "does not train"),
        (["--models", "efficientad-n", "--steps", "0"], "--steps"),
        (["--models", "efficientad-n", "--teacher", "x.pth"], "MODEL=FILE"),
        (["--models", "efficientad-n", "--option", "fusion=mean"], "MODEL:NAME=VALUE"),
        (["--models", "efficientad-n", "--option", "stfpm:fusion=mean"], "does not train"),
        (["--models", "stfpm", "--option", "stfpm:fusion=best"], "one of: "),
        (["--models", "stfpm", "--option", "stfpm:depth=3"], "depth"),
        (["--models", "efficientad-n", "--device", "pi"], "edgead bench"),
        (["--models", "efficientad-n", "--measure-on", "gone.json"], "gone.json"),
        (["--models", "efficientad-n", "--min-auroc", "98"], "0.98"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_trained(
    more: list[str],
    expected: str,
    tmp_path: Path,
    shared_dataset: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert compare(shared_dataset, "--out", out, *more) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "Traceback" not in said
    assert not out.exists()


def test_a_folder_that_is_no_comparison_stays_untouched(
    tmp_path: Path, shared_dataset: Path
) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    assert compare(shared_dataset, "--models", "efficientad-n", "--out", tmp_path) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["letters.txt"]


def test_a_json_that_is_no_benchmark(
    tmp_path: Path, shared_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.json"
    words = (shared_dataset, "--models", "efficientad-n", "--out", tmp_path / "out")
    for content in ("{", "[]", '{"samples": 1}'):
        path.write_text(content)
        assert compare(*words, "--measure-on", path) == 2
        assert "edgead bench" in capsys.readouterr().err


def test_nothing_that_can_be_compared_is_an_error_with_the_reasons(
    tmp_path: Path, shared_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (shared_dataset, "--models", "efficientad-s", "--out", tmp_path / "out")
    assert compare(*words) == 1
    assert "nothing could be compared: efficientad-s" in capsys.readouterr().err


def test_columns_that_stay_empty_are_named(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", train=1, good=2, defects=2)
    assert accuracy.empty_columns(Dataset.from_folder(data)) == []
    shutil.rmtree(data / "ground_truth")
    (sentence,) = accuracy.empty_columns(Dataset.from_folder(data))
    assert sentence.startswith("pixel AUROC and AU-PRO cannot be measured")
    dataset = Dataset.from_folder(data)
    only = dataclasses.replace(dataset, test=tuple(p for p in dataset.test if p.is_anomalous))
    assert accuracy.empty_columns(only)[0].startswith("image AUROC cannot be measured")
    assert accuracy.uncertainty(only, []) is None


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(0)
    good, defective, shift = 40, 60, 1.5
    aurocs = []
    for _ in range(600):
        low, high = rng.normal(0, 1, good), rng.normal(shift, 1, defective)
        aurocs.append((high[:, None] > low[None]).mean())
    truth = 0.5 * (1 + math.erf(shift / 2))
    expected = accuracy.standard_error(truth, defective, good)
    assert expected == pytest.approx(float(np.std(aurocs)), rel=0.15)


def test_every_detector_has_its_structure_in_the_comparison_table() -> None:
    from edgead.compare.survey import structure
    from edgead.teaching import DETECTORS

    for name in (*model_names(), *DETECTORS):
        assert set(structure(name)) == {"teacher", "student", "extra", "loss"}
