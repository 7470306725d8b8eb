"""Least squares for a convolution, and the best one of a lower rank.

Both are closed forms: the weights that bring a convolution's outputs closest to given ones under
the second moments of its patches, and among those of rank ``r`` the best under a given weighting
of the outputs' errors (reduced-rank regression, Izenman 1975; for convolutions Zhang et al.,
"Accelerating very deep convolutional networks", TPAMI 2016, sections 3.1 and 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgead.export.compress.moments import Regression
from edgead.export.compress.network import Floats

_DAMPING = 1e-3
"""Pull towards the original weights, as a share of the patches' mean variance: directions that the
photos do not show keep the weights that training gave them."""

_LEAST_IMPORTANCE = 1e-2


@dataclass(frozen=True)
class Factors:
    """A convolution as two: one with ``r`` outputs, and a 1x1 convolution from them.

    The ``r`` activations between them have zero mean and about unit variance, and rounding them to
    INT8 costs as little as it can (:func:`reduced_rank`).

    Attributes:
        inner, inner_bias: ``[r, inputs]`` and ``[r]``.
        outer, outer_bias: ``[outputs, r]`` and ``[outputs]``.
    """

    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: Floats


def least_squares(moments: Regression, original: Floats) -> tuple[Floats, Floats]:
    """Fit weights ``[outputs, inputs]`` and bias ``[outputs]`` to given outputs.

    Args:
        moments: Moments of patches and outputs.
        original: Weights for directions in which the patches do not vary.
    """
    damping = _DAMPING * float(np.trace(moments.patches)) / len(moments.patches) + 1e-12
    left = moments.patches + damping * np.eye(len(moments.patches))
    right = moments.crossed + damping * original
    weights = np.linalg.solve(left, right.T).T
    return weights, moments.output_mean - weights @ moments.patch_mean


def reduced_rank(
    moments: Regression, weights: Floats, bias: Floats, importance: Floats, rank: int
) -> Factors:
    """Find the best factors of a rank.

    Any invertible matrix may stand between the two. INT8 gives all ``r`` activations one step, in
    proportion to their range, so they should have equal ranges. A direction that holds most of
    the energy, brightness for example, must not be rounded by a share of it: two networks see it
    alike, and the score is what they differ by. With direction ``i`` of weighted deviation ``d_i``
    scaled to ``a_i`` and all of them turned so that each activation has some of each, the weighted
    error is in proportion to ``sum(a^2) sum(d^2 / a^2)``, least at ``a^2 = d``.

    Args:
        moments: Moments of the patches.
        weights: The weights to approximate, ``[outputs, inputs]``.
        bias: Their bias, ``[outputs]``.
        importance: ``[outputs, outputs]``, how errors of the outputs count together.
        rank: Outputs of the inner convolution.
    """
    root, inverse = _roots(importance)
    spread = weights @ moments.patches @ weights.T
    values, vectors = np.linalg.eigh(root @ spread @ root)
    basis = vectors[:, ::-1][:, :rank]
    deviation = np.sqrt(np.maximum(values[::-1][:rank], 1e-12 * max(values[-1], 1e-30)))
    scale = np.sqrt(deviation / deviation.mean())
    turned = cosines(rank)
    inner = turned.T @ ((basis / deviation * scale).T @ root @ weights)
    outer = (inverse @ basis * deviation / scale) @ turned
    inner_bias = -inner @ moments.patch_mean
    return Factors(inner, inner_bias, outer, bias + weights @ moments.patch_mean)


def cosines(count: int) -> Floats:
    """Return the orthonormal cosine transform (DCT-II), ``[count, count]``.

    Its squares are about equal, so every output has about the same share of every input's energy.
    """
    frequency, place = np.arange(count)[:, None], np.arange(count)[None]
    basis = np.cos(np.pi * frequency * (place + 0.5) / count) * np.sqrt(2 / count)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float64)


def tail(covariance: Floats, importance: Floats) -> Floats:
    """Return the weighted energy that is lost with each rank 0, 1, ... channels."""
    root, _ = _roots(importance)
    values = np.linalg.eigvalsh(root @ covariance @ root)[::-1]
    kept = np.concatenate([[0.0], np.cumsum(np.maximum(values, 0))])
    return np.asarray(kept[-1] - kept)


def _roots(importance: Floats) -> tuple[Floats, Floats]:
    """Square root and inverse square root of an importance, made definite."""
    values, vectors = np.linalg.eigh((importance + importance.T) / 2)
    values = np.maximum(values, 0) + _LEAST_IMPORTANCE * max(float(values.mean()), 1e-30)
    root = np.sqrt(values)
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
