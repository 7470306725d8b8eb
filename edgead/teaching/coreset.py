"""A few vectors that cover many: greedy k-centre selection with bounded memory.

Source: Roth et al., "Towards total recall in industrial anomaly detection" (PatchCore, CVPR 2022).
Vectors beyond what fits are treated as in Charikar et al., "Incremental clustering and dynamic
information retrieval" (STOC 1997): what lies within the radius of the centres chosen so far is
covered, the rest waits for the next choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CAPACITY = 16_384
"""Vectors that wait at most; of 256 a photo, those of 64 photos."""

_SAME = 1e-6
"""Cosine distance of vectors that count as equal."""


@dataclass(frozen=True)
class Bank:
    """Vectors of good photos.

    Attributes:
        vectors: float32 ``[N, channels]`` of length 1.
        owners: Number of the photo that each comes from, int64 ``[N]``.
        places: Number of the cell in that photo, row by row, int64 ``[N]``.
    """

    vectors: Floats
    owners: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]

    def without(self, owner: int) -> Bank:
        """Return the vectors that do not come from a photo."""
        return self.only(np.flatnonzero(self.owners != owner))

    def only(self, chosen: npt.NDArray[np.int64]) -> Bank:
        """Return some of the vectors, by their positions."""
        return Bank(self.vectors[chosen], self.owners[chosen], self.places[chosen])


class Coreset:
    """Collects vectors and chooses those that cover them.

    Args:
        size: How many to choose.
        capacity: How many wait for a choice at most.
    """

    def __init__(self, size: int, capacity: int = CAPACITY) -> None:
        self._size, self._capacity = size, max(capacity, 4 * size)
        self._waiting: list[Bank] = []
        self._centres: Floats | None = None
        self._radius = 0.0

    def add(self, vectors: Floats, owner: int) -> None:
        """Add the vectors of a photo, float32 ``[N, channels]`` of length 1."""
        places = np.arange(len(vectors))
        if self._centres is not None:
            distances = 1 - (vectors @ self._centres.T).max(1)
            places = places[distances > self._radius]
        if not len(places):
            return
        owners = np.full(len(places), owner, np.int64)
        self._waiting.append(Bank(vectors[places], owners, places))
        if sum(len(part.vectors) for part in self._waiting) > self._capacity:
            kept, self._radius = greedy(_joined(self._waiting), 2 * self._size)
            self._waiting, self._centres = [kept], kept.vectors

    def choose(self) -> Bank:
        """Return at most ``size`` vectors that cover all that were added."""
        return greedy(_joined(self._waiting), self._size)[0]


def greedy(bank: Bank, size: int) -> tuple[Bank, float]:
    """Choose vectors, each next one farthest from those chosen before.

    Args:
        bank: At least one vector.
        size: How many to choose at most; fewer where the others equal them.

    Returns:
        The chosen ones, and the largest cosine distance of any vector from them.
    """
    vectors = bank.vectors
    farthest = int((vectors @ vectors.mean(0)).argmin())
    nearest = np.full(len(vectors), np.inf, np.float32)
    chosen: list[int] = []
    while len(chosen) < size:
        chosen.append(farthest)
        np.minimum(nearest, 1 - vectors @ vectors[farthest], out=nearest)
        farthest = int(nearest.argmax())
        if nearest[farthest] <= _SAME:
            break
    return bank.only(np.array(chosen)), float(nearest.max())


def _joined(parts: list[Bank]) -> Bank:
    return Bank(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.owners for part in parts]),
        np.concatenate([part.places for part in parts]),
    )
