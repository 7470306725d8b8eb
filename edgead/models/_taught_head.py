"""What ``edgead teach`` learns, inside a trained detector: its score and the shape of its map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgead.errors import DataError
from edgead.teaching.padim import (
    DIRECTIONS,
    FEWEST_PHOTOS,
    MEANS,
    SCALES,
    WHITENING,
    Padim,
    block_of,
    kept_of,
)
from edgead.teaching.texture import LEAST_SQUARE, Moments

_LEAST_LENGTH = 1e-12  # of a squared vector
_LEAST_DISTANCE = 1e-6  # squared


class TaughtHead(nn.Module):
    """Gaussians of deep features at each place, and one Gaussian of shallow ones.

    The same as ``padim`` (:mod:`edgead.teaching.padim`, :mod:`edgead.teaching.texture`).

    Args:
        deep: ``(channels, h, w)`` of the features that give the score.
        surface: Channels of the features that give the map its shape.
    """

    means: Tensor
    whitening: Tensor
    scales: Tensor
    directions: Tensor
    texture_weight: Tensor
    texture_bias: Tensor

    def __init__(self, deep: tuple[int, int, int], surface: int) -> None:
        super().__init__()
        channels, self._rows, self._columns = deep
        self._block = block_of((self._rows, self._columns))
        blocks = self._rows * self._columns // self._block**2
        self.register_buffer("means", torch.zeros(1, channels, self._rows, self._columns))
        self.register_buffer("whitening", torch.eye(channels))
        self.register_buffer("scales", torch.ones(1, blocks, 1))
        self.register_buffer("directions", torch.zeros(blocks, channels, kept_of(channels)))
        self.register_buffer("texture_weight", torch.eye(surface))
        self.register_buffer("texture_bias", torch.zeros(surface))

    def distances(self, deep: Tensor) -> Tensor:
        """Return the distance of each cell of ``[N, C, h, w]`` from its Gaussian, ``[N, b, b2]``.

        Cells are in the order of the blocks that share a covariance.
        """
        block, down, across = self._block, self._rows // self._block, self._columns // self._block
        vectors = _vectors(deep)
        count, channels = vectors.shape[:2]
        found = self.whitening @ vectors.flatten(2) - self.means.flatten(2)
        found = found.reshape(count, channels, down, block, across, block)
        found = found.permute(0, 2, 4, 3, 5, 1)
        found = found.reshape(count, down * across, block * block, channels)
        energy = found.square().sum(3) * self.scales
        known = (found @ self.directions).square().sum(3)
        return (energy - known).clamp_min(_LEAST_DISTANCE).sqrt()

    def shape(self, surface: Tensor) -> Tensor:
        """Return how unusual the texture of each cell is, ``[N, C, H, W]`` to ``[N, H, W]``."""
        vectors = _vectors(surface)
        rows, columns = vectors.shape[2:]
        found = self.texture_weight @ vectors.flatten(2) + self.texture_bias[:, None]
        distance = (found.square().sum(1) + LEAST_SQUARE).sqrt()
        return distance.reshape(-1, rows, columns)


class TaughtLearner:
    """Learns a :class:`TaughtHead` from good photos.

    Args:
        cells: ``(h, w)`` of the deep features.
    """

    def __init__(self, cells: tuple[int, int]) -> None:
        self._deep = Padim(cells)
        self._surface: Moments | None = None
        self._photos = 0

    def add(self, deep: Tensor, surface: Tensor) -> None:
        """Add features of photos, ``[N, C, h, w]`` and ``[N, C, H, W]``."""
        for one, other in zip(_vectors(deep), _vectors(surface), strict=True):
            self._deep.add(_by_cell(one), self._photos)
            moments = Moments.of(_by_cell(other))
            self._surface = moments if self._surface is None else self._surface + moments
            self._photos += 1

    def teach(self, head: TaughtHead) -> None:
        """Give a head what was learned.

        Raises:
            DataError: Too few photos.
        """
        if self._photos < FEWEST_PHOTOS or self._surface is None:
            raise DataError(
                f"the option fusion=taught needs {FEWEST_PHOTOS} photos to train on, and there are "
                f"{self._photos}: add photos of good parts, or use the option fusion=none"
            )
        learned = self._deep.head().tensors()
        texture = self._surface.texture()
        for buffer, values in (
            (head.means, learned[MEANS]),
            (head.whitening, learned[WHITENING][..., 0, 0]),
            (head.scales, learned[SCALES]),
            (head.directions, learned[DIRECTIONS]),
            (head.texture_weight, texture.weight),
            (head.texture_bias, texture.bias),
        ):
            buffer.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _vectors(features: Tensor) -> Tensor:
    """Return the mean of 3x3 cells (of fewer at the border), each vector of length 1."""
    around = nn.functional.avg_pool2d(features, 3, 1, 1, count_include_pad=False)
    length = (around.square().sum(1, keepdim=True) + _LEAST_LENGTH).sqrt()
    return around / length


def _by_cell(vectors: Tensor) -> npt.NDArray[np.float32]:
    return vectors.flatten(1).T.float().cpu().contiguous().numpy()
