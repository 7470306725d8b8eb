"""What a detector that is taught must do: learn vectors of photos, and give distances from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Head(Protocol):
    """What was learned of patch vectors."""

    def distances(self, vectors: Floats) -> Floats:
        """Return how far patch vectors of a photo are from good ones, as the graph does.

        Args:
            vectors: float32 ``[h * w, channels]`` of length 1, row by row.

        Returns:
            float32 ``[h * w]``.
        """
        ...

    def tensors(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the graph's weights that hold it, by their names."""
        ...

    def macs(self, cells: tuple[int, int]) -> int:
        """Return the multiply-accumulates of the distances of one photo."""
        ...


class Learner(Protocol):
    """Learns the patch vectors of photos one by one, in bounded memory."""

    def wants(self, owner: int) -> bool:
        """Whether the vectors of a photo, by its number, can change the result."""
        ...

    def add(self, vectors: Floats, owner: int) -> None:
        """Learn the patch vectors of a photo, float32 ``[h * w, channels]``, row by row."""
        ...

    def head(self) -> Head:
        """Return what was learned."""
        ...

    def without(self, vectors: Floats, owner: int) -> Head | None:
        """Return what was learned from the other photos; ``None`` where there are none."""
        ...

    def fresh(self) -> Learner:
        """Return a learner of the same options that knows nothing."""
        ...

    def again(self) -> Learner:
        """Return a learner for the vectors of the same photos in other arithmetic."""
        ...
