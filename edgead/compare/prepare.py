"""From a contender to exported files: train or take, then export; what is done already is kept."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgead
from edgead import files, notices, strict_json
from edgead.artifact import FP16, FP32, INT8, Artifact, Manifest, TeacherSpec, read_artifact
from edgead.compare.plan import Contender, Plan
from edgead.compare.results import Detector, LeftOut
from edgead.datasets import Dataset
from edgead.errors import GateRefused, ParityError, UsageError

if TYPE_CHECKING:
    from edgead.training import Run, TrainConfig

_MARK = "compare.json"


@dataclass(frozen=True)
class Prepared:
    """A trained detector and its exported files.

    Attributes:
        detector: The detector.
        held_out: Good photos that its training did not learn from.
        artifacts: What passed the gate, FP32 first.
        refused: What did not, and why.
    """

    detector: Detector
    held_out: tuple[Path, ...]
    artifacts: tuple[Artifact, ...]
    refused: tuple[LeftOut, ...]


def prepare(contender: Contender, plan: Plan, dataset: Dataset) -> Prepared:
    """Train a contender (or take it, or go on with it) and export it.

    A finished training or export of the same configuration is used as it is.

    Raises:
        UsageError: Its folder holds a training of another configuration.
        EdgeadError: The training or the export failed; says why.
    """
    from edgead.training import Run

    run = Run(contender.run) if contender.is_taken else trained(contender, plan)
    manifest = run.read_manifest()
    assert manifest.training is not None
    record = run.read_record()
    detector = Detector(
        label=contender.label,
        model=manifest.model.name,
        run=str(contender.run),
        parameters=manifest.model.parameters,
        gmac=manifest.model.gmac,
        steps=manifest.training.steps,
        training_photos=manifest.training.images,
        training_seconds=run.training_seconds(),
        teacher=manifest.teacher.name if manifest.teacher else None,
        notes=(
            *_weights_note(manifest.teacher),
            *_notes(contender, record.photos_sha256, record.config.seed, dataset),
        ),
    )
    artifacts, refused = _export(contender, plan, manifest)
    return Prepared(detector, record.held_out, tuple(artifacts), tuple(refused))


def require_same(contender: Contender, plan: Plan) -> None:
    """Check that a training left by an earlier comparison is the one that is asked for now.

    Raises:
        UsageError: Its configuration or its photos differ; names both sides.
        TrainingError: Its record is damaged.
    """
    from edgead.training import Run
    from edgead.training.defaults import with_all_options, with_defaults

    run = Run(contender.run)
    if contender.is_taken or contender.is_taught or not run.exists:
        return
    record = run.read_record()
    begun = with_all_options(record.config)
    wanted = with_defaults(config_of(contender, plan), plan.train_device)
    for field in dataclasses.fields(wanted):
        was, now = getattr(begun, field.name), getattr(wanted, field.name)
        if field.name not in ("data", "options", "good") and was != now:
            raise UsageError(
                f"{run.path} was trained with {field.name.replace('_', ' ')} {was}, and this "
                f"command has {now}: choose another folder with --out, or remove that one"
            )
    for name, now in wanted.options.items():
        was = begun.options[name]
        if was != now:
            raise UsageError(
                f"{run.path} was trained with the option {name}={was}, and this command has {now}: "
                f"add --option {contender.model}:{name}={was} to continue with it, choose another "
                "folder with --out, or remove that one"
            )
    if record.photos_sha256 != _training_digest(
        Dataset.from_folder(plan.data, plan.good), plan.seed
    ):
        raise UsageError(
            f"{run.path} was trained on other photos than those now in {plan.data}: choose another "
            "folder with --out, or remove that one"
        )


def config_of(contender: Contender, plan: Plan) -> TrainConfig:
    """Return the training of a contender, with ``None`` for what its recipe and machine choose."""
    from edgead.training import TrainConfig

    return TrainConfig(
        model=contender.model,
        data=str(plan.data),
        image_size=plan.image_size,
        steps=contender.steps,
        seed=plan.seed,
        teacher=contender.teacher,
        options=dict(contender.options),
        good=plan.good,
        view=plan.view,
    )


def trained(contender: Contender, plan: Plan) -> Run:
    """Train a contender, or go on with it; a finished training is used as it is.

    Raises:
        EdgeadError: The training failed; says why.
    """
    from edgead.training import Run, train

    run = Run(contender.run)
    if run.is_finished:
        notices.say(f"{contender.label}: already trained, using {run.path}")
    else:
        train(config_of(contender, plan), run.path, plan.train_device, resume=run.exists)
    return run


def _training_digest(dataset: Dataset, seed: int) -> str:
    from edgead.training import photos

    split = photos.Split.of(dataset.train_photos(), seed)
    return photos.digest([*split.training, *split.held_out])


def _weights_note(teacher: TeacherSpec | None) -> tuple[str, ...]:
    """Say that a frozen network knows nothing: its figures say little about the method."""
    if teacher is None or not teacher.source.startswith("random"):
        return ()
    return (
        "its frozen network has random weights, not pretrained ones: these figures do not show "
        "what the method can do",
    )


def _notes(
    contender: Contender, photos_sha256: str, seed: int, dataset: Dataset
) -> tuple[str, ...]:
    """Say what makes a taken run incomparable: it learned from other photos than the others."""
    if not contender.is_taken:
        return ()
    notes = [f"trained before, in {contender.run}"]
    if not dataset.train or photos_sha256 != _training_digest(dataset, seed):
        notes.append(
            f"trained on other photos than the training photos in {dataset.root}: its figures "
            "cannot be compared with the other detectors, and test photos may have been used for "
            "training"
        )
    return tuple(notes)


def _export(
    contender: Contender, plan: Plan, manifest: Manifest
) -> tuple[list[Artifact], list[LeftOut]]:
    from edgead.export import ExportOptions, export, report

    folder = plan.out / "exports" / contender.label
    asked: dict[str, Any] = {
        **manifest.detector,
        "edgead_version": edgead.__version__,
        "precisions": sorted({FP32.arithmetic, *plan.precisions}),
        "max_drop": plan.max_drop,
    }
    if not _is_done(folder, asked):
        options = ExportOptions(
            fp16=FP16.arithmetic in plan.precisions,
            int8="auto" if INT8.arithmetic in plan.precisions else None,
            max_drop=plan.max_drop,
        )
        try:
            export(contender.run, folder, options)
        except ParityError:  # no file at all was written
            raise
        except GateRefused as error:  # FP32 was written; the report has the reasons
            notices.say(f"{contender.label}: {error}")
        files.write_json(folder / _MARK, asked)
    else:
        notices.say(f"{contender.label}: already exported, using {folder}")
    artifacts, refused = [], []
    for variant in report.read(folder):
        if variant.accepted and variant.file:
            artifacts.append(read_artifact(folder / variant.file))
        else:
            label = f"{contender.label} {variant.precision.upper()}"
            refused.append(LeftOut(label, variant.reason))
    return artifacts, refused


def _is_done(folder: Path, asked: dict[str, Any]) -> bool:
    try:
        return bool(strict_json.read(folder / _MARK, UsageError, "it is exported again") == asked)
    except UsageError:  # it is missing or damaged
        return False
