"""Trainings that are asked to end, are killed, or meet another in their folder."""

from __future__ import annotations

import dataclasses
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgead import files
from edgead.errors import EdgeadError, UsageError
from edgead.training import Run, TrainConfig, steps, train
from edgead.training._signals import HeldSignals

STEPS = 6


def config(data: Path) -> TrainConfig:
    return TrainConfig(
        "efficientad-n",
        str(data),
        image_size=(96, 96),
        steps=STEPS,
        batch_size=1,
        precision="32-true",
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, shared_dataset: Path) -> bytes:
    """The weights of a training that nobody stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(config(shared_dataset), out, device="cpu")
    return Run(out).model_file.read_bytes()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_training_that_is_asked_to_end_writes_a_checkpoint_first(
    name: str,
    tmp_path: Path,
    shared_dataset: Path,
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)
    real = steps._draw

    def draw(cfg: TrainConfig, at: int, *rest: object) -> object:
        if at == 3:
            signal.raise_signal(number)
        return real(cfg, at, *rest)  # type: ignore[arg-type]

    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(steps, "_draw", draw)
            train(config(shared_dataset), tmp_path / "run", device="cpu")
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    run = Run(tmp_path / "run")
    assert f"--out {run.path} --resume" in capsys.readouterr().err
    assert run.read_checkpoint().step == 4  # the step that the signal came in was ended
    train(config(shared_dataset), run.path, device="cpu", resume=True)
    assert run.model_file.read_bytes() == whole
    assert [line["step"] for line in run.metrics() if "step" in line] == [4, STEPS]


def test_a_second_signal_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), HeldSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.any
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), HeldSignals():
        signal.raise_signal(signal.SIGINT)  # it is not lost if nobody delivers it
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_goes_on_is_asked_each_time() -> None:
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with HeldSignals() as signals:
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
                assert signals.any
                signals.deliver()
                assert not signals.any
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM] * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_process_that_ends_at_any_moment_is_resumed_to_the_same_bits(
    name: str, tmp_path: Path, shared_dataset: Path, whole: bytes
) -> None:
    run = Run(tmp_path / "run")
    words = [sys.executable, "-m", "edgead", "train", str(shared_dataset), "--out", str(run.path)]
    asked = ["--image-size", "96x96", "--steps", str(STEPS), "--batch-size", "1"]
    asked += ["--precision", "32-true"]
    rng = random.Random(0)
    for attempt in range(2):
        more = ["--resume"] if run.exists else asked
        process = subprocess.Popen(
            [*words, *more, "--device", "cpu"], stderr=subprocess.PIPE, text=True
        )
        lines = 0
        while process.poll() is None and lines <= attempt:
            lines = len(run.metrics()) if run.exists else 0
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is None:
            process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=120)
        assert "Traceback" not in said
        if run.is_finished:
            break
    if not run.is_finished:
        train(TrainConfig("efficientad-n", str(shared_dataset)), run.path, "cpu", resume=True)
    assert run.model_file.read_bytes() == whole
    expected = {"run.json", "metrics.jsonl", "model.safetensors", "manifest.json"}
    assert {path.name for path in run.path.iterdir()} == expected


def test_two_trainings_do_not_share_a_folder(
    tmp_path: Path, shared_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    code = (
        "import sys, time; from edgead import files\n"
        "with files.locked_folder(sys.argv[1]): print('locked', flush=True); time.sleep(100)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            with pytest.raises(EdgeadError, match="is in use"):
                train(config(shared_dataset), out, device="cpu")
            assert list(out.iterdir()) == []
        finally:
            other.kill()

    # One that has trained there while this one read its photos.
    real = files.locked_folder

    def locked_late(path: Path) -> object:
        (Path(path) / "run.json").write_text("{}")
        return real(path)

    monkeypatch.setattr(files, "locked_folder", locked_late)
    with pytest.raises(UsageError, match="is not empty"):
        train(config(shared_dataset), out, device="cpu")
    assert (out / "run.json").read_text() == "{}"


def test_what_a_killed_process_left_does_not_stop_the_next(
    tmp_path: Path, shared_dataset: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".new-abcd1234.json").write_text("{")
    train(dataclasses.replace(config(shared_dataset), steps=1), out, device="cpu")
    assert not list(out.glob(".*"))
    (out / "checkpoint.safetensors").write_bytes(b"killed between two files")
    with pytest.raises(UsageError, match="nothing to resume"):
        train(config(shared_dataset), out, device="cpu", resume=True)
    assert not Run(out).has_checkpoint
