"""Training by gradient steps."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from edgead import notices
from edgead.errors import TrainingError
from edgead.models import GradientModel, StepBatch
from edgead.progress import progress
from edgead.training import _metrics, _state, penalty, photos
from edgead.training._signals import HeldSignals
from edgead.training.config import TrainConfig
from edgead.training.finishing import NotFiniteError
from edgead.training.run import Checkpoint, Run

LOG_EVERY = 10
CHECKPOINT_SECONDS = 60.0


def fit_by_steps(
    fabric: Fabric,
    model: GradientModel,
    run: Run,
    config: TrainConfig,
    training: npt.NDArray[np.uint8],
    pool: npt.NDArray[np.uint8] | None,
    resume: bool,
) -> float:
    """Run the steps of a training, those that are left of one that is resumed.

    Args:
        fabric: Launched on the device.
        model: On that device.
        run: The run folder, with its record.
        config: With every default resolved.
        training: Photos uint8 ``[N, height, width, 3]`` BGR.
        pool: Penalty images of the same shape, or ``None``.
        resume: Go on from the last checkpoint, if there is one.

    Returns:
        The seconds that they took, earlier sessions included.

    Raises:
        NotFiniteError: A loss or a weight is not a finite number.
        TrainingError: The checkpoint is damaged, or of another optimizer.
    """
    assert config.steps is not None
    assert config.learning_rate is not None
    start, spent = 0, 0.0
    checkpoint = run.read_checkpoint() if resume and run.has_checkpoint else None
    if resume and checkpoint is None:
        _metrics.drop_after(run.metrics_file, 0)
    if checkpoint is not None:
        run.load_checkpoint_weights(model, checkpoint)
        start, spent = checkpoint.step, checkpoint.seconds
        _metrics.drop_after(run.metrics_file, start)
    model.eval()
    model.fit(photos.passes(training, fabric.device, "teacher features"))
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

    def compute(step: int) -> dict[str, Tensor]:
        """Return the losses of a step, and leave their gradients in the model."""
        # Dropout draws from torch's own generator; seeding it by the step makes resuming exact.
        torch.manual_seed(_mix(config.seed, step, fabric.global_rank))
        batch = _draw(config, step, fabric, training, pool)
        # Fabric enters its precision by itself only for forward(), and for other methods of a
        # model that it has wrapped for several devices.
        with fabric.autocast():
            losses: dict[str, Tensor] = wrapped.training_losses(batch)
        wrapped_optimizer.zero_grad()
        fabric.backward(torch.stack(list(losses.values())).sum())
        return {name: loss.detach() for name, loss in losses.items()}

    # On a GPU a look at the gradients would wait for it at every step.
    is_checked = fabric.device.type == "cpu"
    # Their running statistics change in a forward pass, also in one whose step is computed again.
    modules = model.modules() if is_checked else ()
    norms = [one for one in modules if isinstance(one, _BatchNorm) and one.training]
    began = saved = time.monotonic()
    steps = progress(range(start, config.steps), total=config.steps, label="training", done=start)
    with HeldSignals() as signals:
        for step in steps:
            kept = [{name: value.clone() for name, value in one.named_buffers()} for one in norms]
            losses = compute(step)
            if is_checked and not _is_finite(losses, model):
                for norm, statistics in zip(norms, kept, strict=True):
                    norm.load_state_dict(statistics, strict=False)
                losses = compute(step)
                if _is_finite(losses, model):
                    notices.warn(
                        f"step {step + 1} gave numbers that are not finite, and finite ones when "
                        "it was computed again: the training goes on; if this comes often, train "
                        "with --precision 32-true (docs/notes/bfloat16.md)"
                    )
            last = step + 1 == config.steps
            due = last or signals.any or time.monotonic() - saved > CHECKPOINT_SECONDS
            if (step + 1) % LOG_EVERY == 0 or due:
                _check_finite(losses, step)
                if fabric.is_global_zero:
                    values = {name: round(float(value), 6) for name, value in losses.items()}
                    rate = schedule.get_last_lr()[0]
                    elapsed = round(spent + time.monotonic() - began, 2)
                    line = {"step": step + 1, **values, "learning_rate": rate, "seconds": elapsed}
                    _metrics.append(run.metrics_file, line)
            wrapped_optimizer.step()
            schedule.step()
            if due and fabric.is_global_zero:
                _check_finite(model.state_dict(), step)
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


def _is_finite(losses: Mapping[str, Tensor], model: GradientModel) -> bool:
    """Whether all losses and gradients are finite numbers."""
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    # A sum is not finite where one of its parts is not.
    sums = torch.stack([*losses.values(), *(gradient.sum() for gradient in gradients)])
    return bool(sums.isfinite().all())


def _check_finite(values: Mapping[str, Tensor], step: int) -> None:
    """Stop at losses or weights that are not finite, before they reach a checkpoint."""
    broken = next((name for name, value in values.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise NotFiniteError(
            f"training stopped: '{broken}' is not a finite number at step {step + 1}; train into a "
            "new folder with a lower --learning-rate or with --precision 32-true"
        )
