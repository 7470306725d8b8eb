"""Distilling a teacher, a patch-description network or a ResNet-18, from a larger network.

The recipe is the paper's (Algorithm 3) with three changes that make it fit a CPU. The source
network's features are computed once a view and cached. A step learns from a window of each view,
without padding: a patch-description network is local, so a window's cells are those of the whole
view, and more different photos fit in a step of the same cost. Hidden layers are batch-normalised
while they learn (folded away at the end), which reaches the same error in fewer steps. A ResNet
learns from whole views through a 1x1 convolution on each of its three levels, which is thrown away
at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgead import cpu, files, photo_files
from edgead.distillation.cells import window_cells
from edgead.distillation.config import RESNET, DistillConfig
from edgead.distillation.pupil import ResNetPupil, with_batch_norm, without_batch_norm
from edgead.distillation.sources import open_source
from edgead.distillation.views import SOURCE_BATCH, Views
from edgead.distillation.write import check_out, write
from edgead.errors import DataError, EdgeadError
from edgead.networks.inputs import channels_last, to_network_input
from edgead.networks.pdn import TEACHER_CHANNELS
from edgead.progress import progress
from edgead.training.device import launch

_VALIDATION = 200
_STATISTICS = 400
_REPORT_EVERY = 250
_WEIGHT_DECAY = 1e-4


def distill_teacher(config: DistillConfig, out: Path, device: str = "auto") -> float:
    """Distil a teacher and write it as safetensors (FP16), with its provenance inside.

    Args:
        config: What to distil.
        out: The file to write; ``out`` with the suffix ``.jsonl`` gets the validation errors.
        device: As lightning-fabric takes it.

    Returns:
        The share of the source features' variance that the teacher leaves unexplained, on photos
        that it has not learned from.

    Raises:
        UsageError: The source or the folder is missing, or ``out`` is not a .safetensors file.
        DataError: Too few photos.
        EdgeadError: The source network does not have the shape described, the loss became NaN, or
            another process writes into the folder of ``out``.
    """
    check_out(out)
    paths = _usable(photo_files.find_and_report([config.images]), config)
    precision = "bf16-mixed" if cpu.has_bfloat16() or torch.cuda.is_available() else "32-true"
    window_cells(config)
    fabric = launch(device, precision, devices=1)
    source = open_source(config.source, fabric.device)
    folder = out.resolve().parent
    with files.locked_folder(folder):
        with files.scratch_folder(folder) as scratch:
            views = Views(paths, config, source, scratch)
            network, log = _fit(fabric, config, views)
        if isinstance(network, ResNetPupil):
            state = network.trunk.state_dict()
        else:
            state = without_batch_norm(network).state_dict()
        write(out, state, config, len(paths), log)
    return float(log[-1]["validation"])


def _fit(
    fabric: Fabric, config: DistillConfig, views: Views
) -> tuple[ResNetPupil | nn.Sequential, list[dict[str, float]]]:
    torch.manual_seed(config.seed)
    per_view = views.count // config.views
    validation = list(range(per_view - _VALIDATION, per_view))  # centre crops of the last photos
    learned = [i for i in range(views.count) if i % per_view < per_view - _VALIDATION]
    mean, std = _statistics(views, learned[:_STATISTICS])
    mean, std = mean.to(fabric.device), std.to(fabric.device)
    pupil: ResNetPupil | nn.Sequential = (
        ResNetPupil() if config.size == RESNET else with_batch_norm(config.size)
    )
    network = channels_last(pupil.to(fabric.device))
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=_WEIGHT_DECAY
    )
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)

    def normalised(pixels: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return (
            to_network_input(pixels.to(fabric.device)),
            (target.to(fabric.device) - mean) / std,
        )

    log: list[dict[str, float]] = []
    order = _endless(learned, config.seed)
    rng = np.random.default_rng([config.seed, 10])
    for step in progress(range(config.steps), total=config.steps, label="distilling"):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config.steps)
        chosen = [next(order) for _ in range(config.batch_size)]
        inputs, target = normalised(*views.windows(chosen, rng))
        loss = _errors(wrapped(inputs), target).mean()
        wrapped_optimizer.zero_grad()
        fabric.backward(loss)
        wrapped_optimizer.step()
        if (step + 1) % _REPORT_EVERY == 0 or step + 1 == config.steps:
            network.eval()
            errors = []
            with torch.no_grad():
                for start in range(0, len(validation), SOURCE_BATCH):
                    inputs, target = normalised(
                        *views.get(validation[start : start + SOURCE_BATCH])
                    )
                    errors += _errors(network(inputs), target).tolist()
            network.train()
            log.append({"step": step + 1, "validation": float(np.mean(errors))})
            if not math.isfinite(log[-1]["validation"]):
                raise EdgeadError(
                    f"the distillation diverged by step {step + 1}: use a lower --learning-rate"
                )
    return network.cpu().eval(), log


def _errors(predicted: Tensor | list[Tensor], target: Tensor) -> Tensor:
    """Mean squared error of each photo ``[N]``, averaged over the levels where there are some."""
    if isinstance(predicted, Tensor):
        return (predicted.float() - target).square().mean((1, 2, 3))
    errors = []
    for level in predicted:
        pooled = nn.functional.avg_pool2d(target, target.shape[-1] // level.shape[-1])
        errors.append((level.float() - pooled).square().mean((1, 2, 3)))
    return torch.stack(errors).mean(0)


def _statistics(views: Views, indices: list[int]) -> tuple[Tensor, Tensor]:
    """Channel mean and deviation of the source features (paper, Algorithm 3, lines 2-4)."""
    total = squares = torch.zeros(TEACHER_CHANNELS, dtype=torch.float64)
    count = 0
    for start in range(0, len(indices), 8):
        values = views.get(indices[start : start + 8])[1].double()
        total = total + values.sum((0, 2, 3))
        squares = squares + values.square().sum((0, 2, 3))
        count += values.numel() // TEACHER_CHANNELS
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(1e-12).sqrt()
    return mean.float().view(1, -1, 1, 1), std.float().view(1, -1, 1, 1)


def _endless(indices: list[int], seed: int) -> Iterator[int]:
    rng = np.random.default_rng([seed, 8])
    while True:
        yield from rng.permutation(indices).tolist()


def _schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then decay as a cosine to a hundredth."""
    return min(1.0, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _usable(paths: list[Path], config: DistillConfig) -> list[Path]:
    if len(paths) < 2 * _VALIDATION:
        raise DataError(
            f"{config.images} has {len(paths)} images, but distilling a teacher takes at least "
            f"{2 * _VALIDATION} ({_VALIDATION} of them only to measure the error)"
        )
    order = np.random.default_rng([config.seed, 9]).permutation(len(paths))
    return [paths[index] for index in order]
