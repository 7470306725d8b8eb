"""The training loop."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor

import edgead
from edgead import cpu, images
from edgead.artifact import (
    SCORE,
    InputSpec,
    Manifest,
    ModelSpec,
    PhotoSizes,
    TeacherSpec,
    TrainingSpec,
)
from edgead.calibration import threshold as thresholds
from edgead.contrast import least_contrast
from edgead.datasets import Dataset, Photo, identical
from edgead.errors import TrainingError, UsageError
from edgead.models import AnomalyModel, StepBatch, create_model
from edgead.models.base import PhotoBatches, channels_last, count_macs, parameter_count
from edgead.models.options import spelled
from edgead.models.registry import model_class
from edgead.printable import printable
from edgead.progress import progress
from edgead.training import _state, penalty, photos
from edgead.training.config import TrainConfig
from edgead.training.device import launch
from edgead.training.run import Checkpoint, Run, RunRecord

LOG_EVERY = 10
CHECKPOINT_SECONDS = 60.0


def train(
    config: TrainConfig, out: str | Path, device: str = "auto", resume: bool = False
) -> Manifest:
    """Train a detector on photos of good parts.

    Every draw is a function of the seed and the step, so a training that was stopped and resumed
    ends with the same bits as one that was not (on CPU, with the same number of threads).

    Args:
        config: What to train. When resuming, values left at ``None`` come from the run.
            Defaults that follow from a missing GPU are said on stderr.
        out: The run folder; new, unless ``resume``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or what else lightning-fabric takes.
        resume: Go on from the run folder's last checkpoint, or from the start if the training
            was stopped before the first.

    Returns:
        The finished detector's manifest.

    Raises:
        UsageError: The folder holds another run, or an option does not fit the model.
        DataError: Too few photos, or a photo that cannot be read.
        TrainingError: A loss became NaN or infinite, or the run cannot be resumed.
    """
    run = Run(out)
    dataset = Dataset.from_folder(config.data)
    is_default = config.steps is None and not resume
    config = _resolve(config, run, device, resume)
    labelled = _labelled(config, dataset)
    split = photos.Split.of(dataset.train_photos(), config.seed)
    assert config.precision is not None
    fabric = launch(device, config.precision)
    torch.manual_seed(config.seed)
    model = create_model(config.model, config.image_size, **config.options)
    teacher = model.load_teacher(config.teacher)
    digest = photos.digest([*split.training, *split.held_out])
    if resume:
        _check_same(run.read_record(), digest, teacher)
    record = RunRecord(
        config, digest, split.held_out, teacher.sha256 if teacher else None, edgead.__version__
    )
    training = photos.load(split.training, config.image_size, "reading photos")
    held_out = photos.load(split.held_out, config.image_size, "reading held-out photos")
    pool = _penalty_pool(model, config)
    if fabric.is_global_zero:
        run.write_record(record)

    recipe = model.recipe
    if is_default and config.steps != recipe.steps:
        taken = {k: v for k, v in recipe.cpu_options.items() if config.options[k] == v}
        print(
            f"note: without a GPU {config.model} trains {config.steps:,} steps{spelled(taken)}, "
            f"not the {recipe.steps:,} of its recipe ({recipe.reference}); --steps N trains longer",
            file=sys.stderr,
        )
    model = channels_last(model.to(fabric.device))
    seconds = _fit(fabric, model, run, config, training, pool, resume)
    model.eval()
    if fabric.is_global_zero:
        model.fit_normalisation(_batches(held_out, fabric.device, "fitting map quantiles"))
        model.cpu()
        manifest = _manifest(model, config, dataset, split, held_out, labelled, teacher)
        manifest = _with_contrast(manifest, (*training, *held_out))
        run.finish(model, manifest)
        _log(run, {"finished": True, "seconds": round(seconds, 1)})
    fabric.barrier()
    return run.read_manifest()


def _resolve(config: TrainConfig, run: Run, device: str, resume: bool) -> TrainConfig:
    """Fill in the defaults, from the model and this machine or from the run that is resumed."""
    if resume:
        stored = with_all_options(run.read_record().config)
        if run.is_finished:
            raise UsageError(f"the training in {run.path} has finished; there is nothing to resume")
        changes = [
            (field.name, getattr(config, field.name), getattr(stored, field.name), field.default)
            for field in dataclasses.fields(config)
            if field.name not in ("data", "options")
        ]
        options = model_class(stored.model).resolve_options({**stored.options, **config.options})
        changes += [(name, value, stored.options[name], None) for name, value in options.items()]
        for name, given, kept, default in changes:
            if given not in (None, default, kept):
                raise UsageError(
                    f"cannot resume {run.path} with another {name.replace('_', ' ')}: it was "
                    f"begun with {kept} and {given} was given; leave that option out, or train "
                    "into a new folder"
                )
        return dataclasses.replace(stored, data=config.data)
    if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
        hint = "go on with --resume, or " if run.exists and not run.is_finished else ""
        raise UsageError(
            f"{run.path} exists already and is not empty; {hint}choose another folder with --out"
        )
    return with_defaults(config, device)


def with_all_options(config: TrainConfig) -> TrainConfig:
    """Complete a recorded configuration with options that came after it was recorded."""
    options = model_class(config.model).recorded_options(config.options)
    return dataclasses.replace(config, options=options)


def with_defaults(config: TrainConfig, device: str) -> TrainConfig:
    """Fill in what a configuration leaves open: the model's recipe, and this machine's arithmetic.

    Args:
        config: With ``None`` for defaults.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` and so on, as :func:`train` takes it.
    """
    chosen = model_class(config.model)
    on_cpu = device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    native = cpu.has_bfloat16() if on_cpu else _gpu_has_bfloat16()
    own = chosen.recipe.cpu_options if on_cpu else {}
    options = chosen.resolve_options({**own, **config.options})
    recipe = chosen.recipe_with(options)
    return dataclasses.replace(
        config,
        steps=config.steps or (recipe.cpu_steps if on_cpu else recipe.steps),
        batch_size=config.batch_size or recipe.batch_size,
        learning_rate=config.learning_rate or recipe.learning_rate,
        precision=config.precision or ("bf16-mixed" if native else "32-true"),
        options=options,
    )


def _gpu_has_bfloat16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def _labelled(config: TrainConfig, dataset: Dataset) -> Sequence[Photo]:
    """List the photos to choose the threshold on, before hours are spent on training."""
    if config.threshold_data is None:
        return ()
    labelled = Dataset.from_folder(config.threshold_data).test_photos()
    thresholds.require_both_kinds([photo.is_anomalous for photo in labelled])
    theirs = [photo.path for photo in labelled]
    for ours, what, so in (
        (
            [photo.path for photo in dataset.test],
            "test photos",
            "false alarms and misses measured on those will look better than they are",
        ),
        (dataset.train, "photos to train on", "a threshold between learned photos is too low"),
    ):
        same = {path for _, path in identical(ours, theirs)}
        if same:
            print(
                f"warning: {len(same)} of the {len(labelled)} photos in {config.threshold_data} "
                f"are also {what} of {config.data}: {so}",
                file=sys.stderr,
            )
    return labelled


def _check_same(record: RunRecord, digest: str, teacher: TeacherSpec | None) -> None:
    if record.photos_sha256 != digest:
        raise TrainingError(
            f"the photos in {record.config.data} are not those that the training was begun with "
            "(names or contents differ): put them back, or train into a new folder"
        )
    if record.teacher_sha256 != (teacher.sha256 if teacher else None):
        raise TrainingError(
            "the teacher is not the one that the training was begun with (its sha256 differs): "
            "give that file with --teacher, or train into a new folder"
        )


def _penalty_pool(model: AnomalyModel, config: TrainConfig) -> npt.NDArray[np.uint8] | None:
    if not model.recipe.wants_penalty:
        if config.penalty_images is not None:
            raise UsageError(f"{config.model} uses no penalty images; leave --penalty-images out")
        return None
    if config.penalty_images is not None:
        return penalty.from_folder(config.penalty_images, config.image_size, config.seed)
    return penalty.generate(penalty.GENERATED, config.image_size, config.seed)


def _fit(
    fabric: Fabric,
    model: AnomalyModel,
    run: Run,
    config: TrainConfig,
    training: npt.NDArray[np.uint8],
    pool: npt.NDArray[np.uint8] | None,
    resume: bool,
) -> float:
    """Run the steps; return the seconds they took, earlier sessions included."""
    assert config.steps is not None
    assert config.learning_rate is not None
    start, spent = 0, 0.0
    checkpoint = run.read_checkpoint() if resume and run.has_checkpoint else None
    if resume and checkpoint is None:
        _drop_later_metrics(run, 0)
    if checkpoint is not None:
        model.load_state_dict(checkpoint.weights)
        start, spent = checkpoint.step, checkpoint.seconds
        _drop_later_metrics(run, start)
    model.eval()
    model.fit_statistics(_batches(training, fabric.device, "teacher features"))
    model.train()
    optimizer, schedule = model.make_optimizer(config.steps, config.learning_rate)
    if checkpoint is not None:
        _state.restore(optimizer, schedule, checkpoint.optimizer, start)
    wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
    wrapped.mark_forward_method("training_losses")

    began = saved = time.monotonic()
    steps = progress(range(start, config.steps), total=config.steps, label="training", done=start)
    for step in steps:
        # Dropout draws from torch's own generator; seeding it by the step makes resuming exact.
        torch.manual_seed(_mix(config.seed, step, fabric.global_rank))
        batch = _draw(config, step, fabric, training, pool)
        # Fabric enters its precision by itself only for forward(), and for other methods of a model
        # that it has wrapped for several devices.
        with fabric.autocast():
            losses = wrapped.training_losses(batch)
        total = torch.stack(list(losses.values())).sum()
        losses = {name: loss.detach() for name, loss in losses.items()}
        wrapped_optimizer.zero_grad()
        fabric.backward(total)
        last = step + 1 == config.steps
        due = time.monotonic() - saved > CHECKPOINT_SECONDS
        if (step + 1) % LOG_EVERY == 0 or last or due:
            _check_finite(losses, step, run)
            if fabric.is_global_zero:
                values = {name: round(float(value), 6) for name, value in losses.items()}
                rate = schedule.get_last_lr()[0]
                elapsed = round(spent + time.monotonic() - began, 2)
                _log(run, {"step": step + 1, **values, "learning_rate": rate, "seconds": elapsed})
        wrapped_optimizer.step()
        schedule.step()
        if (due or last) and fabric.is_global_zero:
            _check_finite(dict(model.named_parameters()), step, run)
            saved = time.monotonic()
            run.write_checkpoint(
                Checkpoint(
                    step + 1, spent + saved - began, model.state_dict(), _state.flatten(optimizer)
                )
            )
    return spent + time.monotonic() - began


def _draw(
    config: TrainConfig,
    step: int,
    fabric: Fabric,
    training: npt.NDArray[np.uint8],
    pool: npt.NDArray[np.uint8] | None,
) -> StepBatch:
    """Draw a step's batch as a function of seed, step and process alone."""
    assert config.batch_size is not None
    rng = np.random.default_rng([config.seed, 4, step, fabric.global_rank])
    first = (step * fabric.world_size + fabric.global_rank) * config.batch_size
    indices = []
    for position in range(first, first + config.batch_size):
        epoch, place = divmod(position, len(training))
        indices.append(int(_order(config.seed, epoch, len(training))[place]))
    drawn = None if pool is None else penalty.draw(pool, config.batch_size, rng)
    return StepBatch(
        photos=torch.from_numpy(training[indices]).to(fabric.device),
        indices=indices,
        penalty=None if drawn is None else torch.from_numpy(drawn).to(fabric.device),
        rng=rng,
    )


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, 5, epoch]).permutation(count)


def _mix(*values: int) -> int:
    return int(np.random.SeedSequence(values).generate_state(1, np.uint64)[0] >> 1)


def _batches(pixels: npt.NDArray[np.uint8], device: torch.device, label: str) -> PhotoBatches:
    return lambda: (batch.to(device) for batch in photos.batches(pixels, label))


def _check_finite(values: Mapping[str, Tensor], step: int, run: Run) -> None:
    """Stop at losses or weights that are not finite, before they reach a checkpoint."""
    broken = next((name for name, value in values.items() if not value.isfinite().all()), None)
    if broken is not None:
        kept = f"the last good checkpoint in {run.path} is kept. " if run.has_checkpoint else ""
        raise TrainingError(
            f"training stopped: '{broken}' is not a finite number at step {step + 1}; {kept}Train "
            "into a new folder with a lower --learning-rate or with --precision 32-true"
        )


def _log(run: Run, values: dict[str, Any]) -> None:
    with run.metrics_file.open("a") as stream:
        stream.write(json.dumps(values) + "\n")


def _step_of(line: str) -> float:
    """Return a line's step; of one torn by a full disk or a power cut, one that never came."""
    try:
        return float(json.loads(line).get("step", 0))
    except ValueError:
        return math.inf


def _drop_later_metrics(run: Run, step: int) -> None:
    """Forget lines after the checkpoint, so that a resumed log has each step once."""
    with contextlib.suppress(FileNotFoundError):
        lines = run.metrics_file.read_text().splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        run.metrics_file.write_text("".join(line + "\n" for line in kept))


def _manifest(
    model: AnomalyModel,
    config: TrainConfig,
    dataset: Dataset,
    split: photos.Split,
    held_out: npt.NDArray[np.uint8],
    labelled: Sequence[Photo],
    teacher: TeacherSpec | None,
) -> Manifest:
    assert config.steps is not None
    scores = score(model, held_out, "scoring held-out photos")
    if not labelled:
        threshold = thresholds.from_good_scores(scores, config.false_positive_rate)
    else:
        pixels = photos.load(
            [photo.path for photo in labelled], config.image_size, "labelled photos"
        )
        labels = [photo.is_anomalous for photo in labelled]
        threshold = thresholds.from_labelled_scores(
            labels, score(model, pixels, "scoring labelled photos")
        )
    height, width = config.image_size
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    return Manifest(
        edgead_version=edgead.__version__,
        model=ModelSpec(
            config.model,
            parameter_count(model),
            round(count_macs(model, example) / 1e9, 4),
            model.options,
        ),
        input=InputSpec(height, width, "uint8", "NHWC", "BGR", images.RESIZE_METHOD),
        map=model.map_spec,
        score=SCORE,
        threshold=threshold,
        score_statistics=thresholds.score_statistics(scores),
        precision="fp32",
        source_sha256="",
        teacher=teacher,
        training=TrainingSpec(
            dataset=printable(dataset.root.resolve().name),
            images=len(split.training),
            held_out=len(split.held_out),
            steps=config.steps,
            seed=config.seed,
            finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            photo_sizes=PhotoSizes.of([images.read_image(p).shape[:2] for p in split.held_out]),
        ),
    )


def _with_contrast(manifest: Manifest, good: Iterable[images.Image]) -> Manifest:
    training = dataclasses.replace(manifest.training, least_contrast=least_contrast(good))
    return manifest.replace(training=training)


def score(model: AnomalyModel, pixels: npt.NDArray[np.uint8], label: str) -> list[float]:
    """Score photos with a trained detector.

    Args:
        model: On the CPU, in evaluation mode.
        pixels: uint8 ``[N, height, width, 3]`` BGR in the detector's size.
        label: What to call this in the progress line.

    Raises:
        TrainingError: A score is not a finite number.
    """
    scores: list[float] = []
    with torch.no_grad():
        for batch in photos.batches(pixels, label):
            scores += model(batch)[1].tolist()
    if not all(map(math.isfinite, scores)):
        raise TrainingError("the trained detector gives scores that are not finite numbers")
    return scores
