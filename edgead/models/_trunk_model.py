"""What the detectors on a frozen ResNet have in common: its weights, its mode, its features."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from edgead.artifact.specs import TeacherSpec
from edgead.models._feature_cache import PyramidCache
from edgead.models.base import PhotoBatches
from edgead.models.gradient import GradientModel, StepBatch
from edgead.networks import resnet
from edgead.networks.inputs import to_network_input
from edgead.teachers.backbones import load_backbone

_Model = TypeVar("_Model", bound="TrunkModel")


class TrunkModel(GradientModel):
    """A detector that learns from the features of a frozen, pretrained ResNet.

    A subclass sets :attr:`teacher_net` in its constructor.
    """

    teacher_net: resnet.Trunk
    _cache: PyramidCache | None = None

    def load_teacher(self, source: str | None) -> TeacherSpec | None:
        """Load the ResNet's pretrained weights."""
        return load_backbone(self.teacher_net, source)

    def train(self: _Model, mode: bool = True) -> _Model:
        """Switch what is trained; the pretrained network stays as it is."""
        super().train(mode)
        self.teacher_net.eval()
        return self

    def fit(self, batches: PhotoBatches) -> None:
        """Keep the pretrained network's features of the training photos for the steps."""
        self._cache = PyramidCache.of(self.features, batches)

    def features(self, photos: Tensor) -> list[Tensor]:
        """Return the pretrained network's three levels for uint8 ``[N, H, W, 3]`` BGR."""
        levels: list[Tensor] = self.teacher_net(to_network_input(photos))
        return levels

    def _targets(self, batch: StepBatch) -> list[Tensor]:
        """Return the pretrained network's three levels for a step's photos."""
        if self._cache is None:
            with torch.no_grad():
                return self.features(batch.photos)
        return [level.to(batch.photos.device) for level in self._cache.get(batch.indices)]
