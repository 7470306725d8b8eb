"""Mean and deviation of each channel of features, over photos that come in batches."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-6


class ChannelSums:
    """Sums over the cells of feature maps."""

    def __init__(self) -> None:
        self._count = 0
        self._total: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, features: Tensor) -> None:
        """Add ``[N, channels, h, w]``."""
        values = features.cpu().double()  # Apple's GPUs have no float64
        self._total = self._total + values.sum((0, 2, 3))
        self._squares = self._squares + values.square().sum((0, 2, 3))
        self._count += values.numel() // values.shape[1]

    def mean_and_deviation(self) -> tuple[Tensor, Tensor]:
        """Return both, float64 ``[1, channels, 1, 1]``.

        A channel that never changes on this part carries nothing; its deviation is not 0, so that
        it can be divided by.
        """
        mean = torch.as_tensor(self._total) / self._count
        squares = torch.as_tensor(self._squares) / self._count
        deviation = (squares - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST)
        return mean.view(1, -1, 1, 1), deviation.view(1, -1, 1, 1)
