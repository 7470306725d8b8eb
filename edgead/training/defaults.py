"""What a training leaves open, filled in: from the model and this machine, or from its run."""

from __future__ import annotations

import dataclasses

import torch

from edgead import cpu, files
from edgead.errors import TrainingError, UsageError
from edgead.models import GradientModel
from edgead.models.registry import model_class
from edgead.training.config import OF_STEPS, TrainConfig
from edgead.training.run import Run


def resolve(config: TrainConfig, run: Run, device: str, resume: bool) -> TrainConfig:
    """Fill in the defaults, from the model and this machine or from the run that is resumed."""
    require_usable(run, resume)
    if resume:
        stored = with_all_options(run.read_record().config)
        require_of_its_kind(stored, run)
        if config.model == stored.model:
            refuse_what_does_not_apply(config)
        changes = [
            (field.name, getattr(config, field.name), getattr(stored, field.name), field.default)
            for field in dataclasses.fields(config)
            if field.name not in ("data", "options", "teacher")
        ]
        options = model_class(stored.model).resolve_options({**stored.options, **config.options})
        changes += [(name, value, stored.options[name], None) for name, value in options.items()]
        for name, given, kept, default in changes:
            if given not in (None, default):
                refuse_another(run, name, given, kept)
        # Both may have moved: their checksums say whether they are the same.
        return dataclasses.replace(
            stored, data=config.data, teacher=config.teacher or stored.teacher
        )
    return with_defaults(config, device)


def refuse_another(run: Run, name: str, given: object, kept: object) -> None:
    """Check that a training goes on with what it was begun with.

    Raises:
        UsageError: Another value was given.
    """
    if given != kept:
        raise UsageError(
            f"cannot resume {run.path} with another {name.replace('_', ' ')}: it was begun with "
            f"{kept} and {given} was given; leave that option out, or train into a new folder"
        )


def require_usable(run: Run, resume: bool) -> None:
    """Check that a training can begin in a folder, or go on there.

    Raises:
        UsageError: The folder holds something else, or its training has finished.
        TrainingError: Its training ended without a detector.
    """
    if run.path.is_dir():
        files.sweep(run.path)
    if not resume:
        if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
            can_go_on = run.exists and not run.is_finished and run.failure() is None
            raise UsageError(
                f"{run.path} already exists and is not empty; "
                f"{'continue with --resume, or ' if can_go_on else ''}choose another folder with "
                "--out"
            )
        return
    run.read_record()
    if run.is_finished:
        run.forget_checkpoint()  # where the process was killed between the two
        raise UsageError(f"the training in {run.path} has finished; there is nothing to resume")
    failure = run.failure()
    if failure is not None:
        raise TrainingError(f"the training in {run.path} cannot continue: {failure}")


def with_all_options(config: TrainConfig) -> TrainConfig:
    """Complete a recorded configuration with options that came after it was recorded."""
    options = model_class(config.model).recorded_options(config.options)
    return dataclasses.replace(config, options=options)


def with_defaults(config: TrainConfig, device: str) -> TrainConfig:
    """Fill in what a configuration leaves open: the model's recipe, and this machine's arithmetic.

    Args:
        config: With ``None`` for defaults.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` and so on, as :func:`train` takes it.

    Raises:
        UsageError: An option does not apply to the model, or it does not take its value.
    """
    refuse_what_does_not_apply(config)
    chosen = model_class(config.model)
    if not issubclass(chosen, GradientModel):
        return dataclasses.replace(config, options=chosen.resolve_options(config.options))
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


def refuse_what_does_not_apply(config: TrainConfig) -> None:
    """Refuse what a detector's training has no use for.

    Raises:
        UsageError: Names the options and the detector.
    """
    chosen = model_class(config.model)
    if issubclass(chosen, GradientModel):
        if config.penalty_images is not None and not chosen.recipe.wants_penalty:
            raise UsageError(f"{config.model} uses no penalty images; leave --penalty-images out")
        return
    given = [name for name in (*OF_STEPS, "penalty_images") if getattr(config, name) is not None]
    if given:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{config.model} does not train by gradient steps; leave {options} out")


def require_of_its_kind(stored: TrainConfig, run: Run) -> None:
    """Check that a recorded training has steps if its detector still trains by them.

    Raises:
        TrainingError: The detector was changed since; says what to do.
    """
    has_steps = stored.steps is not None
    if issubclass(model_class(stored.model), GradientModel) != has_steps:
        raise TrainingError(
            f"the training in {run.path} was begun {'with' if has_steps else 'without'} gradient "
            f"steps, and {stored.model} now trains {'without' if has_steps else 'with'} them: "
            "train into a new folder"
        )


def _gpu_has_bfloat16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
