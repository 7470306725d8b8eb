"""A training from its request to its finished run folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

import edgead
from edgead import files, notices
from edgead.artifact import Manifest, TeacherSpec
from edgead.calibration import threshold as thresholds
from edgead.datasets import Dataset, Photo, identical
from edgead.errors import TrainingError, UsageError
from edgead.models import AnomalyModel, GradientModel, create_model
from edgead.models.base import PhotoBatches
from edgead.models.options import spelled
from edgead.networks.inputs import channels_last
from edgead.teachers import removed
from edgead.training import _metrics, finishing, penalty, photo_checks, photos
from edgead.training.config import TrainConfig
from edgead.training.defaults import require_usable, resolve
from edgead.training.device import launch
from edgead.training.finishing import NotFiniteError
from edgead.training.run import Run, RunRecord, new_run
from edgead.training.steps import fit_by_steps
from edgead.view import View


def train(
    config: TrainConfig, out: str | Path, device: str = "auto", resume: bool = False
) -> Manifest:
    """Train a detector on photos of good parts.

    Every draw is a function of the seed and the step, so a training that was stopped and resumed
    ends with the same bits as one that was not (on CPU, with the same number of threads).

    Args:
        config: The training. When resuming, values left at ``None`` come from the run.
            Defaults for a machine without a GPU are printed on stderr.
        out: The run folder; new, unless ``resume``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or what else lightning-fabric takes.
        resume: Go on from the run folder's last checkpoint, or from the start if the training
            was stopped before the first, or has no gradient steps.

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
    fabric = launch(device, config.precision or "32-true")
    torch.manual_seed(config.seed)
    model = create_model(config.model, config.image_size, **config.options)
    _require_enough_values(model, config)
    teacher = _teacher(model, config, run) if resume else model.load_teacher(config.teacher)
    digest = photos.digest([*split.training, *split.held_out])
    number: str | None = new_run()
    if resume:
        stored = run.read_record()
        _check_same(stored, digest, teacher, config.teacher)
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
    view = View(config.image_size, config.resize, config.view)
    view.judged_cells(model.map_spec)  # refuses a mask now, not after the last step
    photos.require_memory(len(split.training) + len(split.held_out), view)
    training = photos.load(split.training, view, "reading photos")
    held_out = photos.load(split.held_out, view, "reading validation photos")
    seen = photo_checks.check([*split.training, *split.held_out], [*training, *held_out], view)
    training, validation = photos.windows(training, view), photos.windows(held_out, view)
    pool = _penalty_pool(model, config)
    with _writing(run, config, fabric, resume):
        if fabric.is_global_zero:
            run.write_record(record)
        model = channels_last(model.to(fabric.device))
        if isinstance(model, GradientModel):
            if is_default and fabric.is_global_zero:
                _announce_few_steps(model, config)
            seconds = fit_by_steps(fabric, model, run, config, training, pool, resume)
        else:
            seconds = _fit_in_passes(model, photos.passes(training, fabric.device, "fitting"))
        model.eval()
        if fabric.is_global_zero:
            once_more = photos.passes(validation, fabric.device, "fitting map quantiles")
            judged = view.judged_cells_of_windows(model.map_spec)
            if judged is None:
                model.fit_normalisation(once_more)
            else:
                every = np.tile(judged, (len(held_out), 1, 1))
                model.fit_judged_normalisation(once_more, every)
            model.cpu()
            scores = finishing.score(model, held_out, view, "scoring validation photos")
            manifest = finishing.describe(
                model, config, dataset, split, scores, labelled, teacher, seen
            )
            run.finish(model, manifest, round(seconds, 1))
            line = {"finished": True, "seconds": round(seconds, 1)}
            _metrics.append(run.metrics_file, line)
            effect = (
                "it counts in the score statistics" if labelled else "it determines the threshold"
            )
            photo_checks.warn_of_odd_score(split.held_out, scores, effect)
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
                again = run.resume_command(config.data)
                notices.say(f"the training was stopped; continue with: {again}")
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
            "measured false alarms and misses will look better than they are",
        ),
        (dataset.train, "photos to train on", "a threshold fitted on training photos is too low"),
    ):
        same = {path for _, path in identical(ours, theirs)}
        if same:
            notices.warn(
                f"{len(same)} of the {len(labelled)} photos in {config.threshold_data} are also "
                f"{what} of {config.data}: {so}"
            )
    return labelled


def _require_enough_values(model: AnomalyModel, config: TrainConfig) -> None:
    """Refuse a batch normalisation over a single value, which has no deviation."""
    if not isinstance(model, GradientModel) or config.batch_size != 1:
        return
    if max(config.image_size) <= model.coarsest_cell:
        raise UsageError(
            f"one photo of {config.image_size[0]}x{config.image_size[1]} pixels gives the batch "
            f"normalisation of {config.model} a single value: use --batch-size 2, or a larger "
            "--image-size"
        )


def _teacher(model: AnomalyModel, config: TrainConfig, run: Run) -> TeacherSpec | None:
    """Load the teacher of a training that goes on.

    One that the package no longer has is in the checkpoint, with the detector's other weights.

    Raises:
        UsageError: There is no checkpoint with it.
    """
    if config.teacher != removed.DISTILLED:
        return model.load_teacher(config.teacher)
    if run.has_checkpoint:
        return removed.RESNET18
    raise UsageError(
        f"the training in {run.path} has no checkpoint to go on from, and {removed.GONE}: train "
        f"into a new folder and {removed.INSTEAD} with --teacher FILE"
    )


def _check_same(
    record: RunRecord, digest: str, teacher: TeacherSpec | None, source: str | None
) -> None:
    if record.photos_sha256 != digest:
        raise TrainingError(
            f"the photos in {record.config.data} are not those that the training was begun with "
            "(names or contents differ): put them back, or train into a new folder"
        )
    if record.teacher_sha256 != (teacher.sha256 if teacher else None):
        if source is None:
            advice = f"resume with edgead {record.edgead_version}, which has that one"
        elif record.config.teacher is None:
            advice = "leave --teacher out"
        else:
            advice = "give that file with --teacher"
        raise TrainingError(
            f"the teacher ({source or 'the one of this package'}) is not the one that the training "
            f"was begun with (its sha256 differs): {advice}, or train into a new folder"
        )


def _penalty_pool(model: AnomalyModel, config: TrainConfig) -> npt.NDArray[np.uint8] | None:
    if not (isinstance(model, GradientModel) and model.recipe.wants_penalty):
        return None
    if config.penalty_images is not None:
        return penalty.from_folder(config.penalty_images, config.image_size, config.seed)
    return penalty.generate(penalty.GENERATED, config.image_size, config.seed)


def _announce_few_steps(model: GradientModel, config: TrainConfig) -> None:
    """Say that a machine without a GPU does not take all steps of the recipe."""
    recipe = model.recipe
    if config.steps == recipe.steps:
        return
    taken = {k: v for k, v in recipe.cpu_options.items() if config.options[k] == v}
    notices.note(
        f"without a GPU, {config.model} trains {config.steps:,} steps{spelled(taken)} in place of "
        f"the {recipe.steps:,} steps of its recipe ({recipe.reference}); --steps N trains longer"
    )


def _fit_in_passes(model: AnomalyModel, batches: PhotoBatches) -> float:
    """Let a detector learn that needs no steps; return the seconds that it took.

    There is no checkpoint: a training that is stopped starts again.

    Raises:
        NotFiniteError: A value that it learned is not a finite number.
    """
    began = time.monotonic()
    model.eval()
    with torch.no_grad():
        model.fit(batches)
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise NotFiniteError(
                f"training stopped: '{name}' of {model.name} is not a finite number after it was "
                "fitted to the photos; train into a new folder with other photos, or with other "
                "options of the detector"
            )
    return time.monotonic() - began
