"""STFPM (Wang, Han, Ding, Huang, BMVC 2021; arXiv 2103.04257).

A student learns the features of a pretrained ResNet-18 at three levels on good photos; where their
directions differ, the part is not what the student knows.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgead.artifact.specs import MapSpec
from edgead.models import _fusion
from edgead.models._maps import bilinear_matrix, unit_features
from edgead.models._trunk_model import TrunkModel
from edgead.models.base import PhotoBatches
from edgead.models.gradient import Recipe, StepBatch
from edgead.models.options import Choice, OptionValue
from edgead.models.registry import register_model
from edgead.networks import resnet
from edgead.networks.inputs import IMAGENET_MEAN, to_network_input

_ARCHITECTURE = "resnet18"


@register_model("stfpm")
class STFPM(TrunkModel):
    """STFPM with ResNet-18, as published: 5,565,568 parameters, 3.66 GMAC at 256x256.

    Args:
        image_size: ``(height, width)`` in pixels, multiples of 32.
        options: ``fusion``, how the maps of the three levels become one (paper: their product).

    Raises:
        UsageError: A size that is not a multiple of 32, or an unknown option.
    """

    coarsest_cell = 16  # of the third stage
    recipe = Recipe(
        steps=600,
        cpu_steps=120,
        batch_size=32,
        learning_rate=0.4,
        wants_penalty=False,
        reference="paper, section 4.1: 100 epochs, here of 190 photos",
    )
    declared_options: ClassVar = {
        "fusion": Choice("how the maps of the three levels are combined", _fusion.NAMES),
    }

    unit: Tensor

    def __init__(self, image_size: tuple[int, int], **options: OptionValue) -> None:
        super().__init__(image_size, **options)
        self._sizes = resnet.level_sizes(image_size, self.name)
        self.teacher_net = resnet.Trunk(_ARCHITECTURE).requires_grad_(False)
        self.student = resnet.Trunk(_ARCHITECTURE)
        self.fusion = _fusion.create(str(self.options["fusion"]))
        # Maps are measured in this unit, so that scores are of the order of 1.
        self.register_buffer("unit", torch.ones(()))

    @property
    def map_spec(self) -> MapSpec:
        """The first level's cells (paper: 64x64 for 256x256)."""
        height, width = self.image_size
        return MapSpec(*self._sizes[0], 0.0, 0.0, float(height), float(width))

    def make_optimizer(
        self, steps: int, learning_rate: float
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """SGD with momentum 0.9 and weight decay 1e-4, at a constant rate (paper, section 4.1)."""
        optimizer = torch.optim.SGD(
            self.student.parameters(), learning_rate, momentum=0.9, weight_decay=1e-4
        )
        return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, 0)

    def training_losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Squared distance between unit feature vectors, averaged over positions, by level.

        Source: paper, equations 1-3, without the factor 1/2 of equation 2, as the learning rate of
        the official code goes with.
        """
        found = self.student(to_network_input(batch.photos))
        return {
            name: _distance(target, level).mean()
            for name, target, level in zip(resnet.LEVELS, self._targets(batch), found, strict=True)
        }

    def level_maps(self, photos: Tensor) -> list[Tensor]:
        """Return the squared distances of each level, float32 ``[N, h_l, w_l]``."""
        images = to_network_input(photos)
        return [
            _distance(target, found)
            for target, found in zip(self.teacher_net(images), self.student(images), strict=True)
        ]

    def fit_normalisation(self, batches: PhotoBatches) -> None:
        """Take the mean distance on held-out good photos as the unit, and learn a fusion.

        The unit changes no order of scores: the product of maps in it is the paper's, times a
        constant.
        """
        photos = torch.cat(list(batches()))
        with torch.no_grad():
            maps = torch.cat([self._stacked(photo[None]) for photo in photos])
            self.unit.copy_(maps.mean().clamp_min(1e-12))
        _fusion.learn(self.fusion, photos, self._in_units)

    def anomaly_map(self, photos: Tensor) -> Tensor:
        """Score photos: uint8 ``[N, H, W, 3]`` BGR to float32 maps ``[N, h, w]``."""
        fused: Tensor = self.fusion(self._in_units(photos))
        return fused

    def deployable(self) -> nn.Module:
        """Return the graph to export."""
        return _Deployed(self)

    def _in_units(self, photos: Tensor) -> Tensor:
        return self._stacked(photos) / self.unit

    def _stacked(self, photos: Tensor) -> Tensor:
        """Return the level maps at the first level's cells, float32 ``[N, 3, h, w]``."""
        maps = self.level_maps(photos)
        return torch.stack(
            [
                nn.functional.interpolate(
                    level[:, None], size=self._sizes[0], mode="bilinear", align_corners=False
                )[:, 0]
                for level in maps
            ],
            1,
        )


class _Head(nn.Module):
    """Distances, enlargement and fusion; stays FP32 in every precision."""

    factor: Tensor

    def __init__(self, model: STFPM) -> None:
        super().__init__()
        self.fusion = copy.deepcopy(model.fusion).cpu().float()
        self.register_buffer("factor", 1 / model.unit.detach().cpu())
        (height, width), *_ = model._sizes
        for level, (rows, columns) in enumerate(model._sizes):
            self.register_buffer(f"rows_{level}", bilinear_matrix(rows, height, False))
            self.register_buffer(f"columns_{level}", bilinear_matrix(columns, width, False).T)

    def forward(self, teacher: list[Tensor], student: list[Tensor]) -> Tensor:
        maps = []
        for level, (target, found) in enumerate(zip(teacher, student, strict=True)):
            distance = _distance(target, found)
            if level:
                rows = self.get_buffer(f"rows_{level}")
                distance = rows @ distance @ self.get_buffer(f"columns_{level}")
            maps.append(distance)
        fused: Tensor = self.fusion(torch.stack(maps, 1) * self.factor)
        return fused


class _Deployed(nn.Module):
    """The exported graph: raw pixels in, batch normalisation and pixel scaling folded."""

    mean_bgr: Tensor

    def __init__(self, model: STFPM) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(model.teacher_net).cpu().float()
        self.student = copy.deepcopy(model.student).cpu().float()
        for network in (self.teacher, self.student):
            resnet.fold_batch_norms(network)
            resnet.take_centred_pixels(network.conv1)
        mean = torch.tensor(IMAGENET_MEAN) * 255
        self.register_buffer("mean_bgr", mean.flip(0).view(1, 3, 1, 1))
        self.head = _Head(model)
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score ``image`` uint8 ``[N, H, W, 3]`` BGR."""
        x = image.permute(0, 3, 1, 2).float() - self.mean_bgr
        anomaly_map = self.head(self.teacher(x), self.student(x))
        return anomaly_map, anomaly_map.amax(dim=(1, 2))


def _distance(target: Tensor, found: Tensor) -> Tensor:
    """Squared distance of unit feature vectors, ``[N, C, h, w]`` twice to ``[N, h, w]``."""
    return (unit_features(target.float()) - unit_features(found.float())).square().sum(1)
