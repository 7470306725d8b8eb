"""Arithmetic on maps as matrix products.

Bilinear enlargement and Gaussian smoothing are linear along rows and along columns, so each is a
constant matrix a side. In the exported graph that is two small matrix products: the same numbers in
every runtime, where Resize and Pad have conventions that differ.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_TRUNCATE = 4.0  # deviations, as in scipy.ndimage.gaussian_filter


def bilinear_matrix(cells: int, pixels: int, align_corners: bool) -> Tensor:
    """Return float32 ``[pixels, cells]`` that enlarges a row as ``interpolate`` does."""
    index = np.arange(pixels)
    if align_corners:
        position = index * (cells - 1) / max(pixels - 1, 1)
    else:
        position = np.clip((index + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(cells)[None, :]))
    return torch.from_numpy(weights).float()


def gaussian_matrix(pixels: int, sigma: float) -> Tensor:
    """Return float32 ``[pixels, pixels]`` that smooths a row, mirrored at its ends.

    The same as ``scipy.ndimage.gaussian_filter`` with its defaults.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((pixels, pixels))
    for row in range(pixels):
        mirrored = (row + offsets) % (2 * pixels)
        mirrored = np.where(mirrored >= pixels, 2 * pixels - 1 - mirrored, mirrored)
        np.add.at(matrix[row], mirrored, kernel)
    return torch.from_numpy(matrix).float()


def unit_features(features: Tensor) -> Tensor:
    """Divide each position's feature vector ``[N, C, h, w]`` by its length; zero stays zero."""
    length = features.square().sum(1, keepdim=True).sqrt()
    return features / length.clamp_min(1e-12)


def cosine_distance(left: Tensor, right: Tensor) -> Tensor:
    """Return one minus the cosine of the feature vectors of each position, ``[N, h, w]``."""
    product = (left * right).sum(1)
    # Clamped before the root, whose gradient at zero is infinite.
    squares = (left.square().sum(1) * right.square().sum(1)).clamp_min(1e-16)
    return 1 - product / squares.sqrt()
