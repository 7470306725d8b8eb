"""How the shallow features of good parts vary: one Gaussian, which gives the heat map its shape.

A bank of deep features decides, but its cells are 32 pixels wide. The Mahalanobis distance of
features of stride 8 shows where the defect is (docs/notes/teach.md). Source of the shrinkage:
Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (Journal
of Multivariate Analysis 88, 2004), with a fixed weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SHRINKAGE = 0.1
"""Weight of the mean variance in the covariance: one photo is enough for a Gaussian, too."""

_LEAST = 1e-9  # of a variance: features of unit length whose photos are all one colour have none


@dataclass(frozen=True)
class Texture:
    """A Gaussian as a linear map: the length of ``weight @ x + bias`` is the distance of ``x``.

    Attributes:
        weight: float32 ``[channels, channels]``, invertible; distances of good features are near 1.
        bias: float32 ``[channels]``.
    """

    weight: Floats
    bias: Floats

    @classmethod
    def none(cls, channels: int) -> Texture:
        """Return one that changes nothing."""
        return cls(np.eye(channels, dtype=np.float32), np.zeros(channels, np.float32))

    def distances(self, vectors: Floats) -> Floats:
        """Return the distance of each vector, float32 ``[N]``, of float32 ``[N, channels]``."""
        found = vectors @ self.weight.T + self.bias
        return np.asarray(np.sqrt(np.square(found).sum(1) + np.float32(LEAST_SQUARE)), np.float32)

    def moments(self, weight: float) -> Moments:
        """Return mean and covariance again, as if so many vectors had been seen."""
        inverse = np.linalg.inv(self.weight.astype(np.float64))
        mean = -inverse @ self.bias
        shrunk = inverse @ inverse.T / len(mean)
        even = np.trace(shrunk) / len(mean) * np.eye(len(mean))
        covariance = (shrunk - SHRINKAGE * even) / (1 - SHRINKAGE)
        return Moments(weight, weight * mean, weight * (covariance + np.outer(mean, mean)))


LEAST_SQUARE = 1e-6
"""Added to a squared distance: what a map is divided by is never 0."""


@dataclass(frozen=True)
class Moments:
    """Sums over vectors.

    Attributes:
        count: How many.
        total: float64 ``[channels]``.
        products: float64 ``[channels, channels]``, of outer products.
    """

    count: float
    total: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64]

    @classmethod
    def of(cls, vectors: Floats) -> Moments:
        """Return those of float32 ``[N, channels]``."""
        exact = vectors.astype(np.float64)
        return cls(len(exact), exact.sum(0), exact.T @ exact)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count, self.total + other.total, self.products + other.products
        )

    def negative(self) -> Moments:
        """Return what takes these vectors away again when it is added."""
        return Moments(-self.count, -self.total, -self.products)

    def texture(self) -> Texture:
        """Return the Gaussian, its covariance shrunk."""
        mean = self.total / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        channels = len(mean)
        even = max(np.trace(covariance) / channels, _LEAST) * np.eye(channels)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * even
        weight = np.linalg.inv(np.linalg.cholesky(shrunk)) / np.sqrt(channels)
        return Texture(weight.astype(np.float32), (-weight @ mean).astype(np.float32))
