"""The training loop."""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor

import edgead
from edgead import files, notices
from edgead.artifact import Manifest, TeacherSpec
from edgead.calibration import threshold as thresholds
from edgead.datasets import Dataset, Photo, identical
from edgead.errors import TrainingError, UsageError
from edgead.models import AnomalyModel, StepBatch, create_model
from edgead.models.base import PhotoBatches
from edgead.models.options import spelled
from edgead.networks.inputs import channels_last
from edgead.progress import progress
from edgead.training import _state, finishing, penalty, photo_checks, photos
from edgead.training._signals import HeldSignals
from edgead.training.config import TrainConfig
from edgead.training.defaults import require_usable, resolve
from edgead.training.device import launch
from edgead.training.finishing import NotFiniteError
from edgead.training.run import Checkpoint, Run, RunRecord, new_run

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
        DataError: Too few photos, photos that show nothing, or a photo that cannot be read.
        TrainingError: A loss became NaN or infinite, or the run cannot be resumed.
        EdgeadError: Another process trains into the folder.
    """
    run = Run(out)
    is_default = config.steps is None and not resume
    config = resolve(config, run, device, resume)
    dataset = Dataset.from_folder(config.data, config.good)
    labelled = _labelled(config, dataset)
    split = photos.Split.of(dataset.train_photos(), config.seed)
    assert config.precision is not None
    fabric = launch(device, config.precision)
    torch.manual_seed(config.seed)
    model = create_model(config.model, config.image_size, **config.options)
    teacher = model.load_teacher(config.teacher)
    digest = photos.digest([*split.training, *split.held_out])
    number: str | None = new_run()
    if resume:
        stored = run.read_record()
        _check_same(stored, digest, teacher)
        number = stored.run
    record = RunRecord(
        config,
        digest,
        split.held_out,
        teacher.sha256 if teacher else None,
        edgead.__version__,
        number,
        photos.digests(split.held_out),
    )
    training = photos.load(split.training, config.image_size, "reading photos")
    held_out = photos.load(split.held_out, config.image_size, "reading held-out photos")
    seen = photo_checks.check([*split.training, *split.held_out], [*training, *held_out])
    pool = _penalty_pool(model, config)
    with _writing(run, config, fabric, resume):
        if fabric.is_global_zero:
            run.write_record(record)
        recipe = model.recipe
        if is_default and config.steps != recipe.steps:
            taken = {k: v for k, v in recipe.cpu_options.items() if config.options[k] == v}
            notices.note(
                f"without a GPU {config.model} trains {config.steps:,} steps{spelled(taken)}, not "
                f"the {recipe.steps:,} of its recipe ({recipe.reference}); --steps N trains longer"
            )
        model = channels_last(model.to(fabric.device))
        seconds = _fit(fabric, model, run, config, training, pool, resume)
        model.eval()
        if fabric.is_global_zero:
            model.fit_normalisation(_batches(held_out, fabric.device, "fitting map quantiles"))
            model.cpu()
            scores = finishing.score(model, held_out, "scoring held-out photos")
            manifest = finishing.describe(
                model, config, dataset, split, scores, labelled, teacher, seen
            )
            run.finish(model, manifest, round(seconds, 1))
            _log(run, {"finished": True, "seconds": round(seconds, 1)})
            photo_checks.warn_of_odd_score(split.held_out, scores)
        fabric.barrier()
    return run.read_manifest()


@contextlib.contextmanager
def _writing(run: Run, config: TrainConfig, fabric: Fabric, resume: bool) -> Iterator[None]:
    """Keep the run folder for this training, and leave it such that the next knows what to do."""
    if not fabric.is_global_zero:
        yield
        return
    with files.locked_folder(run.path):
        require_usable(run, resume)  # another process may have trained there in the meantime
        try:
            yield
        except NotFiniteError as error:
            run.fail(str(error))
            raise
        except KeyboardInterrupt:
            if run.exists and not run.is_finished:
                words = ["edgead", "train", config.data, "--out", str(run.path), "--resume"]
                notices.say(f"the training was stopped; go on with: {shlex.join(words)}")
            raise


def _labelled(config: TrainConfig, dataset: Dataset) -> Sequence[Photo]:
    """List the photos to choose the threshold on, before hours are spent on training."""
    if config.threshold_data is None:
        return ()
    labelled = Dataset.from_folder(config.threshold_data, config.good).test_photos()
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
            notices.warn(
                f"{len(same)} of the {len(labelled)} photos in {config.threshold_data} are also "
                f"{what} of {config.data}: {so}"
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
        run.load_checkpoint_weights(model, checkpoint)
        start, spent = checkpoint.step, checkpoint.seconds
        _drop_later_metrics(run, start)
    model.eval()
    model.fit(_batches(training, fabric.device, "teacher features"))
    model.train()
    optimizer, schedule = model.make_optimizer(config.steps, config.learning_rate)
    if checkpoint is not None:
        try:
            _state.restore(optimizer, schedule, checkpoint.optimizer, start)
        except (ValueError, KeyError) as error:
            raise TrainingError(
                f"the checkpoint in {run.path} has another optimizer's state ({error}): train "
                "again into a new folder"
            ) from error
    wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
    wrapped.mark_forward_method("training_losses")

    began = saved = time.monotonic()
    steps = progress(range(start, config.steps), total=config.steps, label="training", done=start)
    with HeldSignals() as signals:
        for step in steps:
            # Dropout draws from torch's own generator; seeding it by the step makes resuming exact.
            torch.manual_seed(_mix(config.seed, step, fabric.global_rank))
            batch = _draw(config, step, fabric, training, pool)
            # Fabric enters its precision by itself only for forward(), and for other methods of a
            # model that it has wrapped for several devices.
            with fabric.autocast():
                losses = wrapped.training_losses(batch)
            total = torch.stack(list(losses.values())).sum()
            losses = {name: loss.detach() for name, loss in losses.items()}
            wrapped_optimizer.zero_grad()
            fabric.backward(total)
            last = step + 1 == config.steps
            due = last or signals.any or time.monotonic() - saved > CHECKPOINT_SECONDS
            if (step + 1) % LOG_EVERY == 0 or due:
                _check_finite(losses, step)
                if fabric.is_global_zero:
                    values = {name: round(float(value), 6) for name, value in losses.items()}
                    rate = schedule.get_last_lr()[0]
                    elapsed = round(spent + time.monotonic() - began, 2)
                    line = {"step": step + 1, **values, "learning_rate": rate, "seconds": elapsed}
                    _log(run, line)
            wrapped_optimizer.step()
            schedule.step()
            if due and fabric.is_global_zero:
                _check_finite(dict(model.named_parameters()), step)
                saved = time.monotonic()
                seconds = spent + saved - began
                state = _state.flatten(optimizer)
                run.write_checkpoint(Checkpoint(step + 1, seconds, model.state_dict(), state))
            if due:
                signals.deliver()
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


def _check_finite(values: Mapping[str, Tensor], step: int) -> None:
    """Stop at losses or weights that are not finite, before they reach a checkpoint."""
    broken = next((name for name, value in values.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise NotFiniteError(
            f"training stopped: '{broken}' is not a finite number at step {step + 1}; train into a "
            "new folder with a lower --learning-rate or with --precision 32-true"
        )


def _log(run: Run, values: dict[str, Any]) -> None:
    with run.metrics_file.open("a") as stream:
        stream.write(json.dumps(values) + "\n")


def _drop_later_metrics(run: Run, step: int) -> None:
    """Forget lines after the checkpoint, so that a resumed log has each step once."""
    kept = [line for line in run.metrics() if _is_until(line.get("step", 0), step)]
    if run.metrics_file.exists():
        files.write_text(run.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))


def _is_until(value: Any, step: int) -> bool:
    return isinstance(value, (int, float)) and value <= step
