"""Batch normalisations folded into the convolutions before them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgead.backbones.safetensors import Arrays


@dataclass(frozen=True)
class Folded:
    """A convolution with its batch normalisation in it.

    Attributes:
        weight: float32 ``[outputs, inputs / groups, kernel, kernel]``.
        bias: float32 ``[outputs]``.
    """

    weight: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    bias: np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def folded(arrays: Arrays, convolution: str, normalisation: str, epsilon: float) -> Folded:
    """Fold a batch normalisation into the convolution before it.

    Args:
        arrays: Weights by name.
        convolution: Name of the convolution, such as ``"_conv_stem"``.
        normalisation: Name of the normalisation, such as ``"_bn0"``.
        epsilon: Added to the variance.
    """
    weight, scale, shift, mean, variance = (
        arrays[name].astype(np.float64)
        for name in (
            f"{convolution}.weight",
            f"{normalisation}.weight",
            f"{normalisation}.bias",
            f"{normalisation}.running_mean",
            f"{normalisation}.running_var",
        )
    )
    factor = scale / np.sqrt(variance + epsilon)
    return Folded(
        (weight * factor[:, None, None, None]).astype(np.float32),
        (shift - mean * factor).astype(np.float32),
    )
