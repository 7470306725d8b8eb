"""Reverse Distillation (Deng & Li, CVPR 2022; arXiv 2201.10703) on EfficientNet-Lite0.

The method and the loss are the paper's; bottleneck and decoder are made of the backbone's own
blocks. Two things differ. The two deepest stages are learned: shallower ones took three quarters
of the training time, and their distances made scores and maps worse (docs/notes/lite.md). And by
default the detector is joined with what ``edgead teach`` learns of the same features: its score
with the trained one, and its map, which is finer, in place of the trained one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgead.backbones import lite
from edgead.models._lite_detector import DeployedLite, LiteDetector
from edgead.models._maps import cosine_distance
from edgead.models._schedule import warm_up_and_cosine
from edgead.models.gradient import Recipe, StepBatch
from edgead.models.options import OptionValue
from edgead.models.registry import register_model
from edgead.networks.efficientnet_lite import InvertedResidual, SameConv

_EXPANSION = 2


class Bottleneck(nn.Module):
    """Fuses the two levels and squeezes them to half their resolution (paper, section 3.3)."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        width = channels[-1]
        self.fuse = SameConv(sum(channels), width)
        self.fuse_norm = nn.BatchNorm2d(width)
        self.embed = nn.Sequential(
            InvertedResidual(width, width, stride=2, expansion=_EXPANSION),
            InvertedResidual(width, width, expansion=_EXPANSION),
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Embed standardised levels ``[N, C, h, w]`` of the same size."""
        embedding: Tensor = self.embed(self.fuse_norm(self.fuse(torch.cat(levels, 1))))
        return embedding


class Decoder(nn.Module):
    """Gives the levels back from the embedding, the deeper one first."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        first, second = channels
        self.enlarge = nn.ConvTranspose2d(second, second, 2, 2, bias=False)
        self.enlarge_norm = nn.BatchNorm2d(second)
        self.deeper = InvertedResidual(second, second, expansion=_EXPANSION)
        self.shallower = nn.Sequential(
            InvertedResidual(second, first, expansion=_EXPANSION),
            InvertedResidual(first, first, expansion=_EXPANSION),
        )

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """Return the two levels, standardised, in the encoder's order."""
        second = self.deeper(self.enlarge_norm(self.enlarge(embedding)))
        return [self.shallower(second), second]


@register_model("reverse-distillation-lite0")
class ReverseDistillationLite0(LiteDetector):
    """Reverse Distillation with EfficientNet-Lite0: 5.28 M parameters, 0.57 GMAC at 256x256.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of 64.
        options: As in :class:`LiteDetector`.

    Raises:
        UsageError: A size that is not a multiple of 64, or an unknown option.
    """

    divisor = 2 * lite.FACTOR
    coarsest_cell = 64  # of the embedding
    recipe = Recipe(
        steps=3_000,
        cpu_steps=600,
        batch_size=16,
        learning_rate=5e-3,
        wants_penalty=False,
        reference="paper, section 4.1: 200 epochs, here of 240 photos",
    )

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        channels = lite.channels(self.stages[0]), lite.channels(self.stages[1])
        self.bottleneck = Bottleneck(channels)
        self.decoder = Decoder(channels)

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Adam with betas 0.5 and 0.999 (paper, section 4.1), with warm-up and cosine.

        The paper's rate is constant.
        """
        trained = [*self.bottleneck.parameters(), *self.decoder.parameters()]
        optimizer = torch.optim.Adam(trained, learning_rate, betas=(0.5, 0.999))
        return optimizer, warm_up_and_cosine(optimizer, steps)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Cosine distance by level (paper, equations 1 and 2), of standardised features."""
        _, targets = self.targets(batch)
        found = self.decoder(self.bottleneck(targets))
        return {
            f"stage{stage}": cosine_distance(target, level.float()).mean()
            for stage, target, level in zip(self.stages, targets, found, strict=True)
        }

    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """Return the cosine distances of the two levels, ``[N, h, w]`` each."""
        levels = self.standardised([stages[stage] for stage in self.stages])
        found = self.decoder(self.bottleneck(levels))
        return [cosine_distance(*both) for both in zip(levels, found, strict=True)]

    def deployable(self) -> nn.Module:
        """Return the graph to export."""
        return _Deployed(self)


class _Deployed(DeployedLite):
    """The exported graph, the levels' scales folded into the bottleneck."""

    bottleneck: Bottleneck
    decoder: Decoder

    def __init__(self, model: ReverseDistillationLite0) -> None:
        super().__init__(model, bottleneck=model.bottleneck, decoder=model.decoder)
        means = [model.get_buffer(f"mean_{stage}").cpu().double() for stage in self.stages]
        factors = [
            1 / model.get_buffer(f"deviation_{stage}").cpu().double() for stage in self.stages
        ]
        fuse = self.bottleneck.fuse
        with torch.no_grad():
            weight = fuse.weight.double() * torch.cat(factors, 1)
            assert fuse.bias is not None  # of the normalisation
            shift = (weight * torch.cat(means, 1)).sum((1, 2, 3))
            fuse.bias.copy_(fuse.bias.double() - shift)
            fuse.weight.copy_(weight)

    def distances(self, stages: list[Tensor]) -> list[Tensor]:
        """Return the cosine distances of the two levels, ``[N, h, w]`` each."""
        found = self.decoder(self.bottleneck([stages[stage] for stage in self.stages]))
        levels = self.standardised(stages)
        return [cosine_distance(*both) for both in zip(levels, found, strict=True)]
