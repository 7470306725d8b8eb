from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgead.artifact import Manifest
from edgead.cli import main
from edgead.errors import DataError, TrainingError, UsageError
from edgead.models import GradientModel, StepBatch
from edgead.models.efficientad import EfficientAdN
from edgead.models.stfpm_lite import STFPMLite0
from edgead.teachers import pdn
from edgead.training import Run, TrainConfig, steps, train
from edgead.training.photos import Split, digest
from edgead.view import ViewRequest
from tests.conftest import part, write_photo


def config(data: Path, **changes: object) -> TrainConfig:
    made = TrainConfig(
        "efficientad-n", str(data), image_size=(96, 128), steps=8, batch_size=2, precision="32-true"
    )
    return dataclasses.replace(made, **changes)


class _Stopped(Exception):
    pass


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps._draw

    def draw(cfg: TrainConfig, at: int, *rest: object) -> object:
        if at == step:
            raise _Stopped
        return real(cfg, at, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "_draw", draw)


def begin(begun: TrainConfig, run: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train up to a step, where the training is stopped."""
    with monkeypatch.context() as patch:
        stop_at(step, patch)
        with pytest.raises(_Stopped):
            train(begun, run, device="cpu")


@pytest.mark.usefixtures("all_cores")
def test_a_resumed_training_ends_with_the_same_bits(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(shared_dataset), tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(steps, "CHECKPOINT_SECONDS", 0.0)
        stop_at(5, patch)
        with pytest.raises(_Stopped):
            train(config(shared_dataset), tmp_path / "parts", device="cpu")
    with pytest.raises(TrainingError):  # crashed runs are not used by accident
        Run(tmp_path / "parts").load_model()
    with Run(tmp_path / "parts").metrics_file.open("a") as log:
        log.write('{"step": 6, "har')  # a full disk tears a line
    resumed = train(config(shared_dataset), tmp_path / "parts", device="cpu", resume=True)

    first, second = (load_file(Run(tmp_path / name).model_file) for name in ("whole", "parts"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert resumed.threshold == whole.threshold
    lines = [json.loads(x) for x in Run(tmp_path / "parts").metrics_file.read_text().splitlines()]
    logged = [line["step"] for line in lines if "step" in line]
    assert logged == sorted(set(logged))
    with pytest.raises(UsageError, match="nothing to resume"):
        train(config(shared_dataset), tmp_path / "parts", device="cpu", resume=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_refused(tmp_path: Path, shared_dataset: Path) -> None:
    with pytest.raises(UsageError, match="no 'cuda' device here"):
        train(config(shared_dataset), tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


def test_the_seed_decides(tmp_path: Path, shared_dataset: Path) -> None:
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(config(shared_dataset, seed=seed, steps=1), tmp_path / name, device="cpu")
        files.append(load_file(Run(tmp_path / name).model_file)["student.layers.0.weight"])
    assert torch.equal(files[0], files[1])
    assert not torch.equal(files[0], files[2])


def test_a_loss_that_is_not_a_number_stops_the_training(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EfficientAdN.training_losses
    monkeypatch.setattr(
        EfficientAdN,
        "training_losses",
        lambda self, batch: {k: v * float("nan") for k, v in real(self, batch).items()},
    )
    with pytest.raises(TrainingError, match=r"'hard' is not a finite number.*--learning-rate"):
        train(config(shared_dataset), tmp_path / "run", device="cpu")
    assert not Run(tmp_path / "run").is_finished


@pytest.mark.parametrize("detector", [EfficientAdN, STFPMLite0])
def test_a_step_that_fails_once_is_computed_again(
    tmp_path: Path,
    shared_dataset: Path,
    detector: type[GradientModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = config(shared_dataset, model=detector.name, image_size=(96, 128), steps=3)
    train(begun, tmp_path / "whole", device="cpu")
    real, calls = detector.training_losses, []

    def losses(self: GradientModel, batch: StepBatch) -> dict[str, torch.Tensor]:
        calls.append(batch.indices)
        if len(calls) != 2:
            return real(self, batch)
        broken = dataclasses.replace(batch, photos=255 - batch.photos)  # other statistics
        return {name: loss * float("nan") for name, loss in real(self, broken).items()}

    monkeypatch.setattr(detector, "training_losses", losses)
    train(begun, tmp_path / "run", device="cpu")
    assert calls[1] == calls[2]
    assert (
        "step 2 gave numbers that are not finite, and finite ones when" in capsys.readouterr().err
    )
    first, second = (load_file(Run(tmp_path / n).model_file) for n in ("run", "whole"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, shared_dataset: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        train(config(shared_dataset), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_resuming_on_other_photos_is_refused(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "CHECKPOINT_SECONDS", 0.0)
    begin(config(dataset), tmp_path / "run", 2, monkeypatch)
    with pytest.raises(UsageError, match="another seed"):
        train(config(dataset, seed=9), tmp_path / "run", device="cpu", resume=True)
    write_photo(dataset / "train/good/003.png", part(999))
    with pytest.raises(TrainingError, match="not those that the training was begun with"):
        train(config(dataset), tmp_path / "run", device="cpu", resume=True)


def test_a_default_that_is_typed_is_another_value_too(
    tmp_path: Path,
    shared_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin(config(shared_dataset, seed=3, steps=2), tmp_path / "run", 1, monkeypatch)
    words = ["train", str(shared_dataset), "--out", str(tmp_path / "run"), "--resume"]
    assert main([*words, "--seed", "0"]) == 2
    assert "another seed: it was begun with 3 and 0 was given" in capsys.readouterr().err
    assert main([*words, "--device", "cpu"]) == 0


def test_a_teacher_may_move_while_a_training_is_stopped(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    shipped = Path(pdn.__file__).parent
    shutil.copy(shipped / pdn.SHIPPED["n"], here)
    begin(config(shared_dataset, teacher=str(here), steps=2), tmp_path / "run", 1, monkeypatch)
    here.rename(there)
    changed = load_file(there)
    save_file({name: value + 1 for name, value in changed.items()}, here)
    begun = config(shared_dataset, steps=2)
    with pytest.raises(TrainingError, match=r"here\.safetensors.*give that file with --teacher"):
        train(begun, tmp_path / "run", "cpu", resume=True)
    moved = dataclasses.replace(begun, teacher=str(there))
    train(moved, tmp_path / "run", "cpu", resume=True)
    assert Run(tmp_path / "run").is_finished


def test_a_teacher_of_another_version_is_named(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(config(shared_dataset, steps=2), tmp_path / "run", 1, monkeypatch)
    tensors = load_file(Path(pdn.__file__).parent / pdn.SHIPPED["n"])
    other = tmp_path / pdn.SHIPPED["n"]
    save_file({name: value + 1 for name, value in tensors.items()}, other)
    given = config(shared_dataset, steps=2, teacher=str(other))
    with pytest.raises(TrainingError, match="leave --teacher out, or train into a new folder"):
        train(given, tmp_path / "run", "cpu", resume=True)
    monkeypatch.setattr(pdn, "__file__", str(tmp_path / "pdn.py"))  # another edgead
    with pytest.raises(TrainingError, match="resume with edgead .*, which has that one"):
        train(config(shared_dataset, steps=2), tmp_path / "run", "cpu", resume=True)


def test_a_mask_that_leaves_no_cell_of_the_map_is_refused_before_training(
    tmp_path: Path, shared_dataset: Path
) -> None:
    mask = np.full((70, 90), 255, np.uint8)
    mask[:4] = 0  # maps of EfficientAd do not reach the edge
    write_photo(tmp_path / "mask.png", mask)
    view = ViewRequest(mask=tmp_path / "mask.png").resolve((70, 90), (96, 128))
    with pytest.raises(DataError, match="leave no cell of the detector's map to judge"):
        train(config(shared_dataset, view=view), tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_one_small_photo_a_step_is_too_little_for_batch_normalisation(
    tmp_path: Path, shared_dataset: Path
) -> None:
    few = config(shared_dataset, model="stfpm-lite0", image_size=(32, 32), batch_size=1)
    with pytest.raises(UsageError, match="--batch-size 2, or a larger --image-size"):
        train(few, tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_a_folder_named_like_a_teacher_keeps_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random").mkdir()
    monkeypatch.chdir(tmp_path)
    made = TrainConfig("stfpm", "random", teacher="random")
    assert made.data == str(tmp_path / "random")
    assert made.teacher == "random"


def test_a_run_holds_safetensors_and_a_manifest_that_fits(trained_run: Path) -> None:
    names = {path.name for path in trained_run.iterdir()}
    assert not any(name.endswith((".pt", ".pth", ".pkl", ".ckpt")) for name in names)
    manifest = Run(trained_run).read_manifest()
    assert isinstance(manifest, Manifest)
    assert manifest.input.size == (96, 128)
    assert manifest.training.images + manifest.training.held_out == 16


def test_a_damaged_run_is_refused(tmp_path: Path, shared_dataset: Path) -> None:
    train(config(shared_dataset, steps=1), tmp_path / "run", device="cpu")
    weights = Run(tmp_path / "run").model_file
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"model\.safetensors"):
        Run(tmp_path / "run").load_model()


def test_a_training_stopped_before_its_first_checkpoint_is_resumed_from_the_start(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(config(shared_dataset, steps=3), tmp_path / "stopped", 2, monkeypatch)
    train(config(shared_dataset, steps=3), tmp_path / "stopped", device="cpu", resume=True)
    train(config(shared_dataset, steps=3), tmp_path / "whole", device="cpu")
    first, second = (load_file(Run(tmp_path / n).model_file) for n in ("stopped", "whole"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_weights_that_are_not_finite_reach_no_checkpoint(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss may have a gradient that is not."""
    monkeypatch.setattr(steps, "CHECKPOINT_SECONDS", 0.0)
    real = EfficientAdN.training_losses

    def losses(self: EfficientAdN, batch: StepBatch) -> dict[str, torch.Tensor]:
        found = real(self, batch)
        if batch.rng.bit_generator.seed_seq.entropy[2] == 2:  # type: ignore[attr-defined]
            zero = found["hard"] - found["hard"]
            found["root"] = zero.sqrt()  # 0, with a gradient of inf - inf
        return found

    monkeypatch.setattr(EfficientAdN, "training_losses", losses)
    with pytest.raises(TrainingError, match="not a finite number at step 3; train into a"):
        train(config(shared_dataset), tmp_path / "run", device="cpu")
    assert Run(tmp_path / "run").read_checkpoint().step == 2
    # Neither --resume nor an export sends the user in a circle.
    with pytest.raises(TrainingError, match="cannot continue: .*lower --learning-rate"):
        train(config(shared_dataset), tmp_path / "run", device="cpu", resume=True)
    with pytest.raises(TrainingError, match="no detector in .*lower --learning-rate"):
        Run(tmp_path / "run").load_model()
    with pytest.raises(UsageError, match="is not empty; choose another folder"):
        train(config(shared_dataset), tmp_path / "run", device="cpu")


def test_labels_that_no_threshold_can_be_chosen_on_are_refused_before_training(
    tmp_path: Path, shared_dataset: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(dataset / "test/good")
    out = tmp_path / "run"
    with pytest.raises(DataError, match="0 good and 4 defective"):
        train(config(shared_dataset, threshold_data=str(dataset)), out, device="cpu")
    with pytest.raises(DataError, match="no labelled test photos"):
        plain = str(shared_dataset / "train/good")
        train(config(shared_dataset, threshold_data=plain), out, device="cpu")
    assert not out.exists()
    chosen_on_test = config(shared_dataset, steps=1, threshold_data=str(shared_dataset))
    manifest = train(chosen_on_test, out, device="cpu")
    assert manifest.threshold.method.startswith("best F1")
    said = capsys.readouterr().err
    assert "8 of the 8 photos" in said
    assert "photos to train on" not in said
    write_photo(dataset / "test/good/copy.png", part(0))
    assert (dataset / "test/good/copy.png").read_bytes() == (
        shared_dataset / "train/good/000.png"
    ).read_bytes()
    shutil.rmtree(out)
    train(config(shared_dataset, steps=1, threshold_data=str(dataset)), out, device="cpu")
    assert "1 of the 5 photos" in capsys.readouterr().err


def test_copies_of_a_held_out_photo_are_not_learned_from(tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / f"{index:02}.png", part(index // 2)) for index in range(40)]
    split = Split.of(photos, 0)
    assert len(split.held_out) == 5  # a quarter of the 20 that differ
    learned, held_out = ({p.read_bytes() for p in of} for of in (split.training, split.held_out))
    assert not learned & held_out


def test_names_of_photos_need_not_be_utf8(tmp_path: Path) -> None:
    photo = tmp_path / os.fsdecode(b"Geh\xe4use.png")  # Latin-1, from an old archive
    photo.write_bytes(write_photo(tmp_path / "a.png", part(0)).read_bytes())
    assert digest([photo]) != digest([tmp_path / "a.png"])


def test_without_a_gpu_the_short_recipe_is_taken_and_said(
    tmp_path: Path,
    shared_dataset: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop_at(0, monkeypatch)
    monkeypatch.chdir(shared_dataset.parent)
    with pytest.raises(_Stopped):
        train(config(Path(shared_dataset.name), steps=None), tmp_path / "run", device="cpu")
    said = capsys.readouterr().err
    assert "trains 1,000 steps in place of the 6,000 steps of its recipe" in said
    record = Run(tmp_path / "run").read_record()
    assert record.config.steps == 1000
    # The run can be resumed and exported from another folder.
    assert record.config.data == str(shared_dataset)
    assert all(path.is_absolute() for path in record.held_out)
