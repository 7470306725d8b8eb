"""EfficientAd (Batzner, Heckler, König, WACV 2024; arXiv 2303.14535v3) on EfficientNet-Lite0.

The teacher is the ImageNet backbone itself, its two deepest stages as one feature map. The student
has those stages and shares the frozen ones before them, and the autoencoder reads the teacher's
features, not the photo; so a training computes the features of each photo once
(docs/notes/lite.md). By default the detector is joined with what ``edgead teach`` learns of the
same features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgead.backbones import lite
from edgead.models._autoencoder import FeatureAutoencoder
from edgead.models._lite_detector import DeployedLite, LiteDetector
from edgead.models._losses import mean_of_highest
from edgead.models._schedule import warm_up_and_cosine
from edgead.models.gradient import Recipe, StepBatch
from edgead.models.options import OptionValue
from edgead.models.registry import register_model
from edgead.networks.efficientnet_lite import LiteStages

_INPUT = 4  # the stage that the student starts from
_HARD_QUANTILE = 0.99  # as in the short recipe of the other EfficientAds


class Student(nn.Module):
    """Imitates the teacher and, with as many channels more, the autoencoder.

    Args:
        channels: Of the two levels.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk = LiteStages(_INPUT + 1, _INPUT + 2)
        self.imitation = nn.ModuleList(nn.Conv2d(many, many, 1) for many in channels)
        self.prediction = nn.ModuleList(nn.Conv2d(many, many, 1) for many in channels)

    def forward(self, features: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the two imitations of each level from the stage before them."""
        found = self.trunk(features)
        return (
            [head(level) for head, level in zip(self.imitation, found, strict=True)],
            [head(level) for head, level in zip(self.prediction, found, strict=True)],
        )


@register_model("efficientad-lite0")
class EfficientAdLite0(LiteDetector):
    """EfficientAd with EfficientNet-Lite0: 5.80 M parameters, 0.66 GMAC at 256x256.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of 32.
        options: As in :class:`LiteDetector`.

    Raises:
        UsageError: A size that is not a multiple of 32, or an unknown option.
    """

    inputs = (_INPUT,)
    shares = (0.75, 0.25)  # of the autoencoder's map, as in the short recipe
    recipe = Recipe(
        steps=1_200,
        cpu_steps=300,
        batch_size=16,
        learning_rate=3e-3,
        wants_penalty=False,
        reference="docs/notes/lite.md",
    )

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        channels = tuple(lite.channels(stage) for stage in self.stages)
        self.student = Student(channels)
        self.autoencoder = FeatureAutoencoder(self.cells(self.stages[0]), channels[0], channels)

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Adam as in the paper (Algorithm 1), with warm-up and cosine, for few steps."""
        trained = [*self.student.parameters(), *self.autoencoder.parameters()]
        optimizer = torch.optim.Adam(trained, learning_rate, weight_decay=1e-5)
        return optimizer, warm_up_and_cosine(optimizer, steps)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Return the losses of the short recipe, without recolouring: features are computed once.

        Source: paper, Algorithm 1 and section 3.2, with a softer hard loss and a plain one
        (docs/notes/training-recipe.md).
        """
        (shared,), targets = self.targets(batch)
        imitation, prediction = (
            [level.float() for level in levels] for levels in self.student(shared)
        )
        predicted = [level.float() for level in self.autoencoder(targets[0])]
        squares = torch.cat([(a - b).square() for a, b in zip(targets, imitation, strict=True)], 1)
        return {
            "hard": mean_of_highest(squares, _HARD_QUANTILE),
            "plain": squares.mean(),
            "autoencoder": _squared(targets, predicted).mean(),
            "student_autoencoder": _squared(predicted, prediction).mean(),
        }

    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """Return the student–teacher and the autoencoder–student map, ``[N, h, w]`` each.

        Channel means of squared differences (paper, Algorithm 2).
        """
        levels = self.standardised([stages[stage] for stage in self.stages])
        imitation, prediction = self.student(stages[_INPUT])
        return [_squared(levels, imitation), _squared(self.autoencoder(levels[0]), prediction)]

    def deployable(self) -> nn.Module:
        """Return the graph to export."""
        return _Deployed(self, student=self.student, autoencoder=self.autoencoder)


class _Deployed(DeployedLite):
    """The exported graph."""

    student: Student
    autoencoder: FeatureAutoencoder

    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """Return the student–teacher and the autoencoder–student map, ``[N, h, w]`` each."""
        levels = self.standardised(stages)
        imitation, prediction = self.student(stages[_INPUT])
        return [_squared(levels, imitation), _squared(self.autoencoder(levels[0]), prediction)]


def _squared(some: list[Tensor], others: list[Tensor]) -> Tensor:
    """Return the mean over levels and channels of squared differences, ``[N, h, w]``."""
    channels = sum(level.shape[1] for level in some)
    first, *rest = ((one - other).square().sum(1) for one, other in zip(some, others, strict=True))
    total: Tensor = sum(rest, first)
    return total / channels
