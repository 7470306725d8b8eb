"""From distances of levels to the map and score, for the detectors on EfficientNet-Lite0."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgead.backbones import lite
from edgead.models._maps import bilinear_matrix, gaussian_matrix
from edgead.models._taught_head import TaughtHead
from edgead.models.reverse_distillation import SMOOTHING
from edgead.teaching.patchcore import top_of

SURFACE = 2
"""The stage whose cells the map has, and that gives a taught map its shape."""

DEEP = 5
"""The stage that the taught score is of."""


class Head(nn.Module):
    """Distances in units of their means on good photos.

    Args:
        shares: Of each distance in their sum.
    """

    units: Tensor

    def __init__(self, shares: tuple[float, ...]) -> None:
        super().__init__()
        self._shares = shares
        self.register_buffer("units", torch.ones(len(shares)))

    def joined(self, distances: list[Tensor]) -> Tensor:
        """Return the sum of the distances in their units, ``[N, h, w]``."""
        first, *others = (level / unit for level, unit in zip(distances, self.units, strict=True))
        total: Tensor = sum(others, first)
        return total

    def fit_units(self, distances: list[Tensor], _deep: Tensor) -> None:
        """Measure the units on held-out good photos."""
        pairs = zip(distances, self._shares, strict=True)
        self.units.copy_(
            torch.stack([level.mean() / share for level, share in pairs]).clamp_min(1e-9)
        )


class TrainedHead(Head):
    """The sum of the distances, enlarged and smoothed.

    Source: official code of Reverse Distillation.

    Args:
        shares: Of each distance in their sum.
        cells: ``(height, width)`` of the distances.
        map_cells: Of the map.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, shares: tuple[float, ...], cells: tuple[int, int], map_cells: tuple[int, int]
    ) -> None:
        super().__init__(shares)
        sigma = SMOOTHING / lite.stride(SURFACE)
        down, across = (
            gaussian_matrix(many, sigma) @ bilinear_matrix(few, many, True)
            for few, many in zip(cells, map_cells, strict=True)
        )
        self.register_buffer("rows", down, persistent=False)
        self.register_buffer("columns", across.T.contiguous(), persistent=False)

    def forward(self, distances: list[Tensor], _stages: list[Tensor]) -> Tensor:
        """Return the map, ``[N, H, W]``."""
        return self.rows @ self.joined(distances) @ self.columns


class FusedHead(Head):
    """A power of the product of the trained and the taught score; the taught map, scaled to it.

    Args:
        shares: Of each distance in their sum.
        power: Of the product. It changes no order of scores. Higher, and maps of photos with high
            scores stand out more.
        cells: ``(height, width)`` of the distances and of the taught score's features.
    """

    score_units: Tensor
    taught: TaughtHead

    def __init__(self, shares: tuple[float, ...], power: float, cells: tuple[int, int]) -> None:
        super().__init__(shares)
        self._power = power
        self.taught = TaughtHead((lite.channels(DEEP), *cells), lite.channels(SURFACE))
        # Of the trained and of the taught score.
        self.register_buffer("score_units", torch.ones(2))

    def fit_units(self, distances: list[Tensor], deep: Tensor) -> None:
        """Measure the units of distances and scores on held-out good photos."""
        super().fit_units(distances, deep)
        trained = _mean_of_top(self.joined(distances))
        taught = _mean_of_top(self.taught.distances(deep))
        self.score_units.copy_(torch.stack([trained.mean(), taught.mean()]).clamp_min(1e-9))

    def forward(self, distances: list[Tensor], stages: list[Tensor]) -> Tensor:
        """Return the map, ``[N, H, W]``; its maximum is the score."""
        trained = _mean_of_top(self.joined(distances)) / self.score_units[0]
        taught = _mean_of_top(self.taught.distances(stages[DEEP])) / self.score_units[1]
        level = (trained * taught) ** self._power
        shape = self.taught.shape(stages[SURFACE])
        # In this order the largest value is exactly the level.
        return shape / shape.amax(dim=(1, 2), keepdim=True) * level[:, None, None]


def _mean_of_top(distances: Tensor) -> Tensor:
    """Return the mean of the highest twentieth of the cells, ``[N, ...]`` to ``[N]``."""
    cells = distances.flatten(1)
    count = top_of((1, cells.shape[1]))
    # A mean over an axis needs opset 18.
    return cells.topk(count, dim=1).values.sum(1) / count
