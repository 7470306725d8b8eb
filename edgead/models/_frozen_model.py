"""What the detectors on a frozen, pretrained network have in common: its mode and its features."""

from __future__ import annotations

import abc
from typing import TypeVar

import torch
from torch import Tensor, nn

from edgead.models._feature_cache import PyramidCache
from edgead.models.base import PhotoBatches
from edgead.models.gradient import GradientModel, StepBatch

_Model = TypeVar("_Model", bound="FrozenModel")


class FrozenModel(GradientModel):
    """A detector that learns from the features of a frozen, pretrained network.

    A subclass sets :attr:`teacher_net` in its constructor.
    """

    teacher_net: nn.Module
    _cache: PyramidCache | None = None

    @abc.abstractmethod
    def features(self, photos: Tensor) -> list[Tensor]:
        """Return the levels that are learned, for uint8 ``[N, H, W, 3]`` BGR."""

    def train(self: _Model, mode: bool = True) -> _Model:
        """Switch what is trained; the pretrained network stays as it is."""
        super().train(mode)
        self.teacher_net.eval()
        return self

    def fit(self, batches: PhotoBatches) -> None:
        """Keep the pretrained network's features of the training photos for the steps."""
        self._cache = PyramidCache.of(self.features, batches)

    def _targets(self, batch: StepBatch) -> list[Tensor]:
        """Return the levels for a step's photos."""
        if self._cache is None:
            with torch.no_grad():
                return self.features(batch.photos)
        return [level.to(batch.photos.device) for level in self._cache.get(batch.indices)]
