"""Run folders with a damaged file: what a resumed training, an export and an evaluation make of it.

A damaged folder is refused, or ends with the bits of the whole one.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgead.detector import open_detector
from edgead.export import export
from edgead.models import StepBatch
from edgead.training import Run, TrainConfig, steps, train
from tests.conftest import part, write_dataset, write_photo
from tests.fuzz.campaign import WrongError
from tests.fuzz.mutation import Rng, mutate_bytes, mutate_json

MOST_MIB = 1000
"""PyTorch alone takes 400; the training of an undamaged folder some 650."""

_STEPS, _STOP = 4, 3


@dataclass(frozen=True)
class Corpus:
    folder: Path
    scratch: Path
    config: TrainConfig
    weights: bytes
    threshold: float
    score: float
    frame: np.ndarray


class _StoppedError(Exception):
    pass


def build(folder: Path) -> None:
    """Train one run to the end and one to its last checkpoint but one step."""
    torch.set_num_threads(1)
    data = write_dataset(folder / "parts", train=10, good=2, defects=2)
    for index in range(4):  # generating penalty images takes longer than the rest
        write_photo(folder / f"penalty/{index}.png", part(300 + index))
    config = _config(data)
    with _quiet():
        train(config, folder / "whole", device="cpu")
        with contextlib.suppress(_StoppedError), _stopping(_STOP):
            train(config, folder / "stopped", device="cpu")
    if not Run(folder / "stopped").has_checkpoint:
        raise RuntimeError("the stopped training wrote no checkpoint")


def _config(data: Path) -> TrainConfig:
    return TrainConfig(
        "efficientad-n",
        str(data),
        image_size=(96, 96),
        steps=_STEPS,
        batch_size=2,
        precision="32-true",
        penalty_images=str(data.parent / "penalty"),
    )


@contextlib.contextmanager
def _stopping(step: int) -> Iterator[None]:
    """Stop a training at a step, as Ctrl-C does, with a checkpoint after every step before."""
    draw, seconds = steps._draw, steps.CHECKPOINT_SECONDS

    def stopping_draw(config: TrainConfig, at: int, *rest: Any) -> StepBatch:
        if at == step:
            raise _StoppedError
        return draw(config, at, *rest)

    steps._draw, steps.CHECKPOINT_SECONDS = stopping_draw, 0.0
    try:
        yield
    finally:
        steps._draw, steps.CHECKPOINT_SECONDS = draw, seconds


def load(folder: Path, scratch: Path) -> Corpus:
    torch.set_num_threads(1)
    run, frame = Run(folder / "whole"), part(3, defect=True)
    with _quiet(), open_detector(run.path) as detect:
        score = detect(frame).score
    return Corpus(
        folder,
        scratch,
        _config(folder / "parts"),
        run.model_file.read_bytes(),
        run.read_manifest().threshold.value,
        score,
        frame,
    )


def case(rng: Rng, corpus: Corpus) -> None:
    is_stopped = rng.random() < 0.5
    source = corpus.folder / ("stopped" if is_stopped else "whole")
    run = Run(corpus.scratch / "run")
    shutil.copytree(source, run.path)
    paths = sorted(run.path.iterdir())
    for index in rng.permutation(len(paths))[: 1 if rng.random() < 0.9 else 2]:
        _mutate(rng, paths[index])
    with _quiet():
        if is_stopped:
            _resume(corpus, run)
        elif rng.random() < 0.05:
            _export(corpus, run)
        else:
            _evaluate(corpus, run)


def _mutate(rng: Rng, path: Path) -> None:
    data = path.read_bytes()
    kind = rng.random()
    if kind < 0.04:
        path.unlink()
    elif kind < 0.08:
        path.write_bytes(b"")
    elif kind < 0.6 and path.suffix == ".json":
        path.write_bytes(mutate_json(rng, json.loads(data)))
    elif path.suffix == ".jsonl" and kind < 0.6:
        lines = data.splitlines()
        at = int(rng.integers(len(lines)))
        lines[at] = mutate_json(rng, json.loads(lines[at]))
        path.write_bytes(b"\n".join(lines) + b"\n")
    elif path.suffix == ".safetensors" and kind < 0.4:
        path.write_bytes(_mutate_tensors(rng, data))
    else:
        path.write_bytes(mutate_bytes(rng, data, head=4000))


def _mutate_tensors(rng: Rng, data: bytes) -> bytes:
    """Change the header of a safetensors file, and give it the right length."""
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(rng, json.loads(data[8 : 8 + length]))
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _resume(corpus: Corpus, run: Run) -> None:
    manifest = train(TrainConfig("efficientad-n", corpus.config.data), run.path, "cpu", resume=True)
    if run.model_file.read_bytes() != corpus.weights:
        raise WrongError("a damaged run was resumed and ended with other weights")
    if manifest.threshold.value != corpus.threshold:
        raise WrongError(f"threshold {manifest.threshold.value}, not {corpus.threshold}")


def _evaluate(corpus: Corpus, run: Run) -> None:
    with open_detector(run.path) as detect:
        detection = detect(corpus.frame)
    if abs(detection.score - corpus.score) > 1e-6:
        raise WrongError(f"score {detection.score}, and {corpus.score} is right")
    if detection.threshold != corpus.threshold:
        raise WrongError(f"threshold {detection.threshold}, not {corpus.threshold}")
    run.training_seconds()


def _export(corpus: Corpus, run: Run) -> None:
    (variant,) = export(run.path, corpus.scratch / "exports")
    with open_detector(corpus.scratch / "exports" / str(variant.file), "onnxruntime") as detect:
        score = detect(corpus.frame).score
    if abs(score - corpus.score) > 1e-3 * max(1.0, abs(corpus.score)):
        raise WrongError(f"the exported file scores {score}, and {corpus.score} is right")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield
