"""Reverse Distillation (Deng & Li, CVPR 2022; arXiv 2201.10703) on EfficientNet-Lite0.

The method and the loss are the paper's; bottleneck and decoder are made of the backbone's own
blocks. Two things differ. The two deepest stages are learned: shallower ones took three quarters
of the training time, and their distances made scores and maps worse (docs/notes/lite.md). And by
default the detector is joined with what ``edgead teach`` learns of the same features: its score
with the trained one, and its map, which is finer, in place of the trained one.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec
from edgead.backbones import lite
from edgead.models._lite_model import LiteModel
from edgead.models._maps import bilinear_matrix, cosine_distance, gaussian_matrix
from edgead.models._schedule import warm_up_and_cosine
from edgead.models._taught_head import TaughtHead, TaughtLearner
from edgead.models.base import PhotoBatches
from edgead.models.gradient import Recipe, StepBatch
from edgead.models.options import Choice, OptionValue
from edgead.models.registry import register_model
from edgead.models.reverse_distillation import SMOOTHING
from edgead.networks.efficientnet_lite import (
    InvertedResidual,
    SameConv,
    pad_evenly,
    take_centred_pixels,
)
from edgead.networks.resnet import fold_batch_norms
from edgead.teaching.patchcore import top_of

_TAUGHT, _NONE = "taught", "none"
_SURFACE = 2  # the stage that gives the map its shape
_DEEP = 5  # the stage that the taught score is of
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
class ReverseDistillationLite0(LiteModel):
    """Reverse Distillation with EfficientNet-Lite0: 5.28 M parameters, 0.57 GMAC at 256x256.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of 64.
        options: ``fusion``, whether the taught score and map are joined with the trained ones
            (``taught``), or the trained ones are used alone, as in the paper (``none``).

    Raises:
        UsageError: A size that is not a multiple of 64, or an unknown option.
    """

    stages = (5, 6)
    divisor = 2 * lite.FACTOR
    recipe = Recipe(
        steps=3_000,
        cpu_steps=600,
        batch_size=16,
        learning_rate=5e-3,
        wants_penalty=False,
        reference="paper, section 4.1: 200 epochs, here of 240 photos",
    )
    declared_options: ClassVar = {
        "fusion": Choice(
            "joined with the taught score and map, or trained alone (paper)", (_TAUGHT, _NONE)
        ),
    }

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        channels = lite.channels(self.stages[0]), lite.channels(self.stages[1])
        self.bottleneck = Bottleneck(channels)
        self.decoder = Decoder(channels)
        cells = self.cells(self.stages[0])
        if self.options["fusion"] == _TAUGHT:
            self.head: _Head = _FusedHead(cells)
            self._learner: TaughtLearner | None = TaughtLearner(cells)
        else:
            self.head = _TrainedHead(cells, self.cells(_SURFACE))
            self._learner = None

    @property
    def map_spec(self) -> MapSpec:
        """The cells of the stage that the taught map is of."""
        height, width = self.image_size
        return MapSpec(*self.cells(_SURFACE), 0.0, 0.0, float(height), float(width))

    def fit(self, batches: PhotoBatches) -> None:
        """Keep the features of the training photos, and learn what is taught of them.

        Raises:
            DataError: Too few photos for the taught score.
        """
        if self._learner is not None:
            self._learner = TaughtLearner(self.cells(_DEEP))
        super().fit(batches)
        if self._learner is not None:
            assert isinstance(self.head, _FusedHead)
            self._learner.teach(self.head.taught)

    def observe(self, stages: list[Tensor]) -> None:
        """Learn the taught score and map."""
        if self._learner is not None:
            self._learner.add(stages[_DEEP], stages[_SURFACE])

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Adam with betas 0.5 and 0.999 (paper, section 4.1), with warm-up and cosine.

        The paper's rate is constant, for five times the steps.
        """
        trained = [*self.bottleneck.parameters(), *self.decoder.parameters()]
        optimizer = torch.optim.Adam(trained, learning_rate, betas=(0.5, 0.999))
        return optimizer, warm_up_and_cosine(optimizer, steps)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Cosine distance by level (paper, equations 1 and 2), of standardised features."""
        targets = self.targets(batch)
        found = self.decoder(self.bottleneck(targets))
        return {
            f"stage{stage}": cosine_distance(target, level.float()).mean()
            for stage, target, level in zip(self.stages, targets, found, strict=True)
        }

    def fit_normalisation(self, batches: PhotoBatches) -> None:
        """Take mean distances of held-out good photos as units."""
        with torch.no_grad():
            found = [self._compared(photos) for photos in batches()]
        self.head.fit_units(
            [torch.cat(parts) for parts in zip(*(levels for levels, _ in found), strict=True)],
            torch.cat([stages[_DEEP] for _, stages in found]),
        )

    def anomaly_map(self, photos: Tensor) -> Tensor:
        """Score photos: uint8 ``[N, H, W, 3]`` BGR to float32 maps ``[N, h, w]``."""
        distances, stages = self._compared(photos)
        anomaly_map: Tensor = self.head(distances, stages)
        return anomaly_map

    def _compared(self, photos: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the distances of each level ``[N, h, w]``, and the features of all stages."""
        stages = [stage.float() for stage in self.all_stages(photos)]
        levels = self.standardised([stages[stage] for stage in self.stages])
        found = self.decoder(self.bottleneck(levels))
        return [cosine_distance(*both) for both in zip(levels, found, strict=True)], stages

    def deployable(self) -> nn.Module:
        """Return the graph to export."""
        return _Deployed(self)


class _Head(nn.Module):
    """The levels' distances in units of their means on good photos."""

    units: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("units", torch.ones(2))

    def joined(self, distances: list[Tensor]) -> Tensor:
        """Return the sum of the levels in their units, ``[N, h, w]``."""
        return distances[0] / self.units[0] + distances[1] / self.units[1]

    def fit_units(self, distances: list[Tensor], _deep: Tensor) -> None:
        """Measure the units on held-out good photos."""
        self.units.copy_(torch.stack([level.mean() for level in distances]).clamp_min(1e-9))


class _TrainedHead(_Head):
    """The sum of the levels, enlarged and smoothed (official code).

    Args:
        cells: ``(height, width)`` of the levels.
        map_cells: Of the map.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, cells: tuple[int, int], map_cells: tuple[int, int]) -> None:
        super().__init__()
        sigma = SMOOTHING / lite.stride(_SURFACE)
        down, across = (
            gaussian_matrix(many, sigma) @ bilinear_matrix(few, many, True)
            for few, many in zip(cells, map_cells, strict=True)
        )
        self.register_buffer("rows", down, persistent=False)
        self.register_buffer("columns", across.T.contiguous(), persistent=False)

    def forward(self, distances: list[Tensor], _stages: list[Tensor]) -> Tensor:
        """Return the map, ``[N, H, W]``."""
        return self.rows @ self.joined(distances) @ self.columns


class _FusedHead(_Head):
    """The geometric mean of the trained and the taught score; the taught map, scaled to it.

    Args:
        cells: ``(height, width)`` of the levels and of the taught score's features.
    """

    score_units: Tensor

    def __init__(self, cells: tuple[int, int]) -> None:
        super().__init__()
        self.taught = TaughtHead((lite.channels(_DEEP), *cells), lite.channels(_SURFACE))
        # Of the trained and of the taught score.
        self.register_buffer("score_units", torch.ones(2))

    def fit_units(self, distances: list[Tensor], deep: Tensor) -> None:
        """Measure the units of levels and scores on held-out good photos."""
        super().fit_units(distances, deep)
        trained = _mean_of_top(self.joined(distances))
        taught = _mean_of_top(self.taught.distances(deep))
        self.score_units.copy_(torch.stack([trained.mean(), taught.mean()]).clamp_min(1e-9))

    def forward(self, distances: list[Tensor], stages: list[Tensor]) -> Tensor:
        """Return the map, ``[N, H, W]``; its maximum is the score."""
        trained = _mean_of_top(self.joined(distances)) / self.score_units[0]
        taught = _mean_of_top(self.taught.distances(stages[_DEEP])) / self.score_units[1]
        level = (trained * taught).sqrt()
        shape = self.taught.shape(stages[_SURFACE])
        # In this order the largest value is exactly the level.
        return shape / shape.amax(dim=(1, 2), keepdim=True) * level[:, None, None]


def _mean_of_top(distances: Tensor) -> Tensor:
    """Return the mean of the highest twentieth of the cells, ``[N, ...]`` to ``[N]``."""
    cells = distances.flatten(1)
    count = top_of((1, cells.shape[1]))
    # A mean over an axis needs opset 18.
    return cells.topk(count, dim=1).values.sum(1) / count


class _Deployed(nn.Module):
    """The exported graph: raw pixels in, batch normalisations and scales folded."""

    def __init__(self, model: ReverseDistillationLite0) -> None:
        super().__init__()
        self.stages = model.stages
        self.teacher = copy.deepcopy(model.teacher_net).cpu().float()
        self.bottleneck = copy.deepcopy(model.bottleneck).cpu().float()
        self.decoder = copy.deepcopy(model.decoder).cpu().float()
        for network in (self.teacher, self.bottleneck, self.decoder):
            fold_batch_norms(network)
        take_centred_pixels(self.teacher)
        means, factors = [], []
        for stage in self.stages:
            means.append(model.get_buffer(f"mean_{stage}").cpu().double())
            factors.append(1 / model.get_buffer(f"deviation_{stage}").cpu().double())
            self.register_buffer(f"mean_{stage}", means[-1].float())
            self.register_buffer(f"factor_{stage}", factors[-1].float())
        fuse = self.bottleneck.fuse
        with torch.no_grad():
            weight = fuse.weight.double() * torch.cat(factors, 1)
            assert fuse.bias is not None  # of the normalisation
            shift = (weight * torch.cat(means, 1)).sum((1, 2, 3))
            fuse.bias.copy_(fuse.bias.double() - shift)
            fuse.weight.copy_(weight)
        pad_evenly(self)
        self.head = copy.deepcopy(model.head).cpu()
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``image`` uint8 ``[N, H, W, 3]`` BGR."""
        stages = self.teacher(image.permute(0, 3, 1, 2).float() - lite.MEAN)
        levels = [stages[stage] for stage in self.stages]
        found = self.decoder(self.bottleneck(levels))
        distances = []
        for stage, level, decoded in zip(self.stages, levels, found, strict=True):
            factor, mean = self.get_buffer(f"factor_{stage}"), self.get_buffer(f"mean_{stage}")
            distances.append(cosine_distance((level - mean) * factor, decoded))
        anomaly_map = self.head(distances, stages)
        return anomaly_map, anomaly_map.amax(dim=(1, 2))
