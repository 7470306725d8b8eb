"""STFPM (Wang, Han, Ding, Huang, BMVC 2021; arXiv 2103.04257) on EfficientNet-Lite0.

The method and the loss are the paper's. Two things differ. The student has the backbone's two
deepest stages alone and shares the frozen ones before them, so a training computes the features of
each photo once; a student that starts earlier was no better (docs/notes/lite.md). And by default
the detector is joined with what ``edgead teach`` learns of the same features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgead.models._lite_detector import DeployedLite, LiteDetector
from edgead.models._maps import unit_features
from edgead.models._schedule import warm_up_and_cosine
from edgead.models.gradient import Recipe, StepBatch
from edgead.models.options import OptionValue
from edgead.models.registry import register_model
from edgead.networks.efficientnet_lite import LiteStages

_INPUT = 4  # the stage that the student starts from


@register_model("stfpm-lite0")
class STFPMLite0(LiteDetector):
    """STFPM with EfficientNet-Lite0: 5.22 M parameters, 0.63 GMAC at 256x256.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of 32.
        options: As in :class:`LiteDetector`.

    Raises:
        UsageError: A size that is not a multiple of 32, or an unknown option.
    """

    inputs = (_INPUT,)
    recipe = Recipe(
        steps=1_200,
        cpu_steps=300,
        batch_size=16,
        learning_rate=3e-3,
        wants_penalty=False,
        reference="paper, section 4.1: 100 epochs, here of 190 photos",
    )

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        self.student = LiteStages(_INPUT + 1, self.stages[-1])

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Adam with warm-up and cosine, for few steps; the paper's SGD needs more."""
        optimizer = torch.optim.Adam(self.student.parameters(), learning_rate)
        return optimizer, warm_up_and_cosine(optimizer, steps)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Squared distance of unit vectors by level (paper, equations 1-3), standardised features.

        Without the factor 1/2 of equation 2, as the official code.
        """
        (shared,), targets = self.targets(batch)
        return {
            f"stage{stage}": _distance(target, found.float()).mean()
            for stage, target, found in zip(self.stages, targets, self.student(shared), strict=True)
        }

    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """Return the squared distances of the two levels, ``[N, h, w]`` each."""
        levels = self.standardised([stages[stage] for stage in self.stages])
        found = self.student(stages[_INPUT])
        return [_distance(*both) for both in zip(levels, found, strict=True)]

    def deployable(self) -> nn.Module:
        """Return the graph to export."""
        return _Deployed(self, student=self.student)


class _Deployed(DeployedLite):
    """The exported graph."""

    student: LiteStages

    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """Return the squared distances of the two levels, ``[N, h, w]`` each."""
        found = self.student(stages[_INPUT])
        return [_distance(*both) for both in zip(self.standardised(stages), found, strict=True)]


def _distance(target: Tensor, found: Tensor) -> Tensor:
    """Squared distance of unit feature vectors, ``[N, C, h, w]`` twice to ``[N, h, w]``."""
    return (unit_features(target) - unit_features(found)).square().sum(1)
