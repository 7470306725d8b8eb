"""Run folders that were damaged, mixed up, or written by an earlier version."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgead.errors import EdgeadError, TrainingError
from edgead.training import Run, TrainConfig
from edgead.training.run import Checkpoint, RunRecord, new_run


def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        "efficientad-n",
        str(tmp_path),
        (96, 96),
        steps=5,
        batch_size=2,
        learning_rate=1e-3,
        precision="32-true",
    )


def record(tmp_path: Path, run: str | None) -> RunRecord:
    return RunRecord(config(tmp_path), "0" * 64, (tmp_path / "a.png",), None, "0.1.0", run)


def checkpoint(step: int = 3, value: float = 1.0) -> Checkpoint:
    return Checkpoint(step, 1.5, {"w": torch.full((4, 4), value)}, {"0/step": torch.tensor(3.0)})


@pytest.fixture
def stopped(tmp_path: Path) -> Run:
    run = Run(tmp_path / "stopped")
    run.path.mkdir()
    run.write_record(record(tmp_path, new_run()))
    run.write_checkpoint(checkpoint())
    return run


@pytest.fixture
def finished(tmp_path: Path, trained_run: Path) -> Run:
    shutil.copytree(trained_run, tmp_path / "finished")
    return Run(tmp_path / "finished")


def test_a_checkpoint_comes_back(stopped: Run) -> None:
    found = stopped.read_checkpoint()
    assert (found.step, found.seconds) == (3, 1.5)
    assert torch.equal(found.weights["w"], torch.ones(4, 4))
    assert found.optimizer.keys() == {"0/step"}


def test_a_flipped_bit_of_a_checkpoint_is_refused(stopped: Run) -> None:
    file = stopped.path / "checkpoint.safetensors"
    whole = file.read_bytes()
    for position in range(0, len(whole), 7):
        data = bytearray(whole)
        data[position] ^= 4
        file.write_bytes(data)
        with pytest.raises(TrainingError, match=r"checkpoint\.safetensors .*remove it, and"):
            stopped.read_checkpoint()


def test_a_checkpoint_without_checksum_or_of_another_run_is_refused(
    tmp_path: Path, stopped: Run
) -> None:
    file = stopped.path / "checkpoint.safetensors"
    number = stopped.read_record().run
    assert number is not None
    metadata = {"step": "3", "seconds": "1.5", "run": number}
    save_file({"weights/w": torch.ones(2)}, file, metadata)
    with pytest.raises(TrainingError, match="carries no checksum"):
        stopped.read_checkpoint()
    other = Run(tmp_path / "other")
    other.write_record(record(tmp_path, new_run()))
    other.write_checkpoint(checkpoint())
    shutil.copy(other.path / "checkpoint.safetensors", file)
    with pytest.raises(TrainingError, match="of another training than run.json"):
        stopped.read_checkpoint()


@pytest.mark.parametrize("step", [0, -1, 6])
def test_a_step_that_cannot_be_is_refused(stopped: Run, step: int) -> None:
    stopped.write_checkpoint(checkpoint(step))
    with pytest.raises(TrainingError, match=f"{step} of 5 steps"):
        stopped.read_checkpoint()


def test_weights_that_are_no_numbers_are_not_resumed(stopped: Run) -> None:
    stopped.write_checkpoint(checkpoint(value=float("nan")))
    with pytest.raises(TrainingError, match="in the tensor 'weights/w'"):
        stopped.read_checkpoint()


def test_an_earlier_versions_run_is_read(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.write_record(record(tmp_path, None))
    assert "seal" not in json.loads((run.path / "run.json").read_text())
    metadata = {"step": "3", "seconds": "1.5"}
    save_file({"weights/w": torch.ones(2)}, run.path / "checkpoint.safetensors", metadata)
    assert run.read_checkpoint().step == 3
    run.write_checkpoint(checkpoint())
    assert run.read_checkpoint().step == 3


Change = Callable[[dict[str, object]], object]


@pytest.mark.parametrize("name", ["run.json", "manifest.json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.popitem(),
        lambda content: content.pop("seal"),
        lambda content: content.pop("run"),
        lambda content: content.update(run=7),
        lambda content: content.update(edgead_version="0.1.1"),
        lambda content: content.update(seal=None),
        lambda content: content.update(more=1),
        lambda content: content.clear(),
    ],
)
def test_a_changed_json_file_is_refused(finished: Run, name: str, change: Change) -> None:
    file = finished.path / name
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=name):
        finished.load_model()


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 100_000, '{"a": NaN}', "\0", "3"])
@pytest.mark.parametrize("name", ["run.json", "manifest.json"])
def test_what_is_no_record_is_one_sentence(finished: Run, name: str, text: str) -> None:
    (finished.path / name).write_text(text)
    with pytest.raises(EdgeadError, match=name):
        finished.load_model()


def test_files_of_two_runs_are_told_apart(tmp_path: Path, finished: Run, stopped: Run) -> None:
    shutil.copy(stopped.path / "run.json", finished.path / "run.json")
    with pytest.raises(TrainingError, match="of another training than run.json"):
        finished.load_model()


def test_other_weights_are_refused(finished: Run) -> None:
    tensors = load_file(finished.model_file)
    tensors["student.layers.0.weight"] += 1e-3
    save_file(tensors, finished.model_file)
    with pytest.raises(TrainingError, match=r"model\.safetensors was changed or damaged"):
        finished.load_model()
    finished.model_file.unlink()
    with pytest.raises(TrainingError, match=r"cannot read .*model\.safetensors"):
        finished.load_model()


def test_tensors_of_another_network_are_one_sentence(finished: Run) -> None:
    """A run of an earlier version, of which the weights alone are checked."""
    model, manifest = finished.load_model()
    record = finished.read_record()
    finished.write_record(RunRecord(record.config, "0" * 64, (), None, "0.1.0"))
    torch.nn.Module.register_buffer(model, "more", torch.ones(1))
    finished.finish(model, manifest, 1.0)
    with pytest.raises(TrainingError, match="does not hold the tensors of efficientad-n") as error:
        finished.load_model()
    assert "\n" not in str(error.value)


def test_lines_that_are_no_metrics_are_left_out(finished: Run, tmp_path: Path) -> None:
    seconds = finished.training_seconds()
    assert seconds is not None
    assert seconds > 0
    file = finished.metrics_file
    count = len(finished.metrics())
    with file.open("ab") as log:
        log.write(
            b'null\n[1]\n"x"\n{"step": NaN}\n\xff\xfe\n' + b"9" * 100_000 + b'\n{"step": 3, "h'
        )
    assert len(finished.metrics()) == count
    assert finished.training_seconds() == seconds  # it stands in the manifest, which is checked
    file.unlink()
    assert finished.metrics() == []
    assert finished.training_seconds() == seconds


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", None),
        ("steps", -3),
        ("steps", "many"),
        ("image_size", [96]),
        ("image_size", [0, 10**9]),
        ("seed", 1.5),
        ("options", {"autoencoder_share": [1]}),
        ("options", 3),
        ("precision", "fast"),
        ("data", "a\0b"),
    ],
)
def test_values_that_cannot_be_are_refused_in_an_earlier_versions_record(
    tmp_path: Path, key: str, value: object
) -> None:
    run = Run(tmp_path / "run")
    run.write_record(record(tmp_path, None))
    content = json.loads((run.path / "run.json").read_text())
    content["config"][key] = value
    (run.path / "run.json").write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=r"run\.json"):
        run.read_record()
