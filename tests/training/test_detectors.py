"""Detectors through the same training; one of them stopped and resumed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgead.errors import UsageError
from edgead.models.efficientad import EfficientAd
from edgead.networks.resnet import Trunk
from edgead.teachers import removed
from edgead.training import Run, TrainConfig, defaults, steps, train

LEARNING = {"recolouring": 0.2, "penalty": 1.0}
"""EfficientAd's options that decide how it learns, by default."""


class _Stopped(Exception):
    pass


def earlier(path: Path) -> dict[str, Any]:
    """A file of a run as versions wrote it that knew no checksums."""
    content: dict[str, Any] = json.loads(path.read_text())
    for key in ("run", "seal", "training_seconds"):
        content.pop(key, None)
    return content


def config(data: Path, model: str, **options: str | float) -> TrainConfig:
    size = (64, 128) if model.endswith("lite0") else (64, 96)
    return TrainConfig(
        model, str(data), size, steps=4, batch_size=3, teacher="random", options=options
    )


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("reverse-distillation-lite0", {"fusion": "taught", "power": "0.33"}),
    ],
)
def test_a_resumed_training_ends_with_the_same_bits(
    model: str,
    options: dict[str, str],
    tmp_path: Path,
    shared_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = dataclasses.replace(config(shared_dataset, model, **options), steps=2)
    whole = train(asked, tmp_path / "whole", device="cpu")
    real = steps._draw

    def draw(cfg: TrainConfig, at: int, *rest: object) -> object:
        if at == 1:
            raise _Stopped
        return real(cfg, at, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(steps, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(steps, "_draw", draw)
        with pytest.raises(_Stopped):
            train(asked, tmp_path / "parts", device="cpu")
    resumed = train(
        TrainConfig(model, str(shared_dataset)), tmp_path / "parts", device="cpu", resume=True
    )

    first, second = (load_file(Run(tmp_path / name).model_file) for name in ("whole", "parts"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert resumed.threshold == whole.threshold
    rebuilt, manifest = Run(tmp_path / "parts").load_model()
    assert rebuilt.options == manifest.model.options == resumed.model.options
    assert {key: str(value) for key, value in rebuilt.options.items()} == options
    assert manifest.teacher is not None
    assert "random weights" in manifest.teacher.source


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_training_computes_in_the_precision_that_its_record_states(
    precision: str, tmp_path: Path, shared_dataset: Path
) -> None:
    seen = set()

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Conv2d) and module.training and output.requires_grad:
            seen.add(output.dtype)

    asked = config(shared_dataset, "efficientad-survey")
    asked = dataclasses.replace(asked, precision=precision, steps=1)
    watch = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        train(asked, tmp_path / "run", device="cpu")
    finally:
        watch.remove()
    assert Run(tmp_path / "run").read_record().config.precision == precision
    assert seen == {torch.float32 if precision == "32-true" else torch.bfloat16}


def test_options_are_checked_stored_and_cannot_change_when_resuming(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="stfpm has no option 'fuson'; it has fusion"):
        train(config(shared_dataset, "stfpm", fuson="mean"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()

    def draw(*_: object) -> object:
        raise _Stopped

    monkeypatch.setattr(steps, "_draw", draw)
    with pytest.raises(_Stopped):
        train(config(shared_dataset, "stfpm"), tmp_path / "run", device="cpu")
    assert Run(tmp_path / "run").read_record().config.options == {"fusion": "product"}
    with pytest.raises(UsageError, match="another fusion: it was begun with product and max"):
        train(
            config(shared_dataset, "stfpm", fusion="max"),
            tmp_path / "run",
            device="cpu",
            resume=True,
        )


def test_runs_from_before_there_were_options_are_still_read(
    tmp_path: Path, trained_run: Path
) -> None:
    record = earlier(trained_run / "run.json")
    del record["config"]["options"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert Run(tmp_path).read_record().config.options == {}


def test_a_training_begun_before_there_was_an_option_goes_on_as_it_was(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: object) -> object:
        raise _Stopped

    asked = TrainConfig("efficientad-n", str(shared_dataset), (96, 96), steps=1)
    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(steps, "_draw", draw)
        with pytest.raises(_Stopped):
            train(asked, run.path, device="cpu")
    record = earlier(run.path / "run.json")
    record["config"]["options"] = {}
    (run.path / "run.json").write_text(json.dumps(record))
    other = dataclasses.replace(asked, options={"autoencoder_share": "0.25"})
    with pytest.raises(UsageError, match="it was begun with 0.5 and 0.25 was given"):
        train(other, run.path, device="cpu", resume=True)
    assert train(asked, run.path, device="cpu", resume=True).model.options == {
        "autoencoder_share": 0.5,
        "centring": 0.0,
        **LEARNING,
    }


def test_a_finished_detector_from_before_there_was_an_option_scores_as_it_did(
    tmp_path: Path, trained_run: Path
) -> None:
    old = tmp_path / "run"
    shutil.copytree(trained_run, old)
    (old / "run.json").write_text(json.dumps(earlier(old / "run.json")))
    manifest = earlier(old / "manifest.json")
    assert manifest["model"]["options"] == {"autoencoder_share": 0.25, "centring": 0.5, **LEARNING}
    manifest["model"]["options"] = {}
    (old / "manifest.json").write_text(json.dumps(manifest))
    model, _ = Run(old).load_model()
    assert isinstance(model, EfficientAd)
    assert model.options == {"autoencoder_share": 0.5, "centring": 0.0, **LEARNING}
    photos = torch.randint(0, 256, (1, 96, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        scaled = [
            0.1 * (single - low) / (high - low)
            for single, (low, high) in zip(model.raw_maps(photos), model.quantiles, strict=True)
        ]
        torch.testing.assert_close(model.anomaly_map(photos), (scaled[0] + scaled[1]) / 2)


def test_a_run_of_the_teacher_that_left_the_package_goes_on_from_its_checkpoint(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    weights = Trunk("resnet18").state_dict()
    save_file(weights, tmp_path / "resnet18.safetensors")
    asked = dataclasses.replace(
        config(shared_dataset, "stfpm"), teacher=str(tmp_path / "resnet18.safetensors")
    )
    real = steps._draw

    def draw(cfg: TrainConfig, at: int, *rest: object) -> object:
        if at == 1:
            raise _Stopped
        return real(cfg, at, *rest)  # type: ignore[arg-type]

    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(steps, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(steps, "_draw", draw)
        with pytest.raises(_Stopped):
            train(asked, run.path, device="cpu")
    record = run.read_record()
    old = dataclasses.replace(record.config, teacher="distilled")
    run.write_record(
        dataclasses.replace(record, config=old, teacher_sha256=removed.RESNET18.sha256)
    )
    (tmp_path / "early").mkdir()
    shutil.copy(run.path / "run.json", tmp_path / "early")

    again = TrainConfig("stfpm", str(shared_dataset))
    with pytest.raises(UsageError, match="has no checkpoint to go on from, and .* new folder and"):
        train(again, tmp_path / "early", device="cpu", resume=True)
    assert train(again, run.path, device="cpu", resume=True).teacher == removed.RESNET18
    model, _ = run.load_model()
    found = {key.removeprefix("teacher_net."): value for key, value in model.state_dict().items()}
    assert all(torch.equal(found[key], value) for key, value in weights.items())


def test_without_a_gpu_the_papers_detectors_learn_by_the_short_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = TrainConfig("efficientad-s", "data")
    here = defaults.with_defaults(asked, "cpu")
    ours = {"recipe": "short", "autoencoder_share": 0.25, "centring": 0.5}
    assert here.options == {**ours, **LEARNING}
    assert (here.steps, here.batch_size, here.learning_rate) == (700, 2, 1e-3)
    papers = dataclasses.replace(asked, options={"recipe": "paper"})
    assert defaults.with_defaults(papers, "cpu").learning_rate == 1e-4
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    there = defaults.with_defaults(asked, "cuda")
    theirs = {"recipe": "paper", "autoencoder_share": 0.5, "centring": 0.0}
    assert there.options == {**theirs, **LEARNING}
    assert (there.steps, there.batch_size, there.learning_rate) == (70_000, 1, 1e-4)


def test_few_steps_for_want_of_a_gpu_are_announced(
    tmp_path: Path,
    shared_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def draw(*_: object) -> object:
        raise _Stopped

    monkeypatch.setattr(steps, "_draw", draw)
    asked = TrainConfig("stfpm", str(shared_dataset), (64, 96), teacher="random")
    with pytest.raises(_Stopped):
        train(asked, tmp_path / "run", device="cpu")
    assert "without a GPU, stfpm trains 120 steps in place of the 600" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "side"),
    [("efficientad-n", 96), ("efficientad-s", 256)],
)
def test_a_training_needs_no_network(
    model: str,
    side: int,
    tmp_path: Path,
    shared_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A teacher is in the package and penalty images are generated: nothing is fetched."""

    def refuse(*_: object) -> object:
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path / "cache"))
    asked = TrainConfig(model, str(shared_dataset), (side, side), steps=1)
    manifest = train(asked, tmp_path / "run", device="cpu")
    assert manifest.teacher is not None
    assert "Apache-2.0" in manifest.teacher.licence
    assert not (tmp_path / "cache").exists()
