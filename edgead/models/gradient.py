"""What training by gradients adds to a detector: losses, an optimizer, and a recipe."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from edgead.models.base import AnomalyModel, PhotoBatches
from edgead.models.options import OptionValue


@dataclass(frozen=True)
class StepBatch:
    """What a training step gets.

    Attributes:
        photos: uint8 ``[N, H, W, 3]`` BGR, on the model's device.
        indices: Their positions in the training set, for caches.
        penalty: uint8 ``[N, H, W, 3]`` BGR photos that show no part, or ``None``.
        rng: The step's own random generator, so that a resumed training draws the same numbers.
    """

    photos: Tensor
    indices: list[int]
    penalty: Tensor | None
    rng: np.random.Generator


@dataclass(frozen=True)
class Recipe:
    """The default training of a detector.

    Attributes:
        steps: On a GPU, or where the paper gives a number.
        cpu_steps: On a machine without a GPU.
        batch_size: Photos a step.
        learning_rate: At its highest.
        wants_penalty: Whether steps need penalty images.
        reference: Where the numbers come from.
        cpu_options: The detector's own options that go with ``cpu_steps``.
    """

    steps: int
    cpu_steps: int
    batch_size: int
    learning_rate: float
    wants_penalty: bool
    reference: str
    cpu_options: Mapping[str, OptionValue] = field(default_factory=dict)


class GradientModel(AnomalyModel):
    """A detector that learns by gradient steps.

    The trainer calls, in this order: :meth:`load_teacher`, :meth:`fit`, :meth:`make_optimizer`,
    :meth:`training_losses` for each step, and :meth:`fit_normalisation` at the end. A resumed
    training calls all of them again, with the weights of the last checkpoint loaded before
    :meth:`fit`.
    """

    recipe: ClassVar[Recipe]

    coarsest_cell: ClassVar[int] = 0
    """Pixels a side of a cell of the coarsest batch normalisation that is trained; 0 for none."""

    @classmethod
    def recipe_with(cls, _options: Mapping[str, OptionValue]) -> Recipe:
        """Return the default training of the detector with some options, all of them given."""
        return cls.recipe

    def fit(self, batches: PhotoBatches) -> None:
        """Measure what the losses need on the training photos, before the first step."""

    @abc.abstractmethod
    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Build the optimizer and a schedule that is stepped once an iteration."""

    @abc.abstractmethod
    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Return the named losses of one step; their sum is minimised."""
