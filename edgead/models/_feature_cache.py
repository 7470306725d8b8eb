"""Teacher features of the un-augmented training photos, computed once."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgead.models.base import PhotoBatches

Pyramid = Callable[[Tensor], list[Tensor]]
"""Photos, uint8 ``[N, H, W, 3]`` BGR, to the features of several levels."""

IN_MEMORY_LIMIT = 1 << 30
"""Bytes kept in memory of all levels; the rest is in temporary files and the page cache."""


class FeatureCache:
    """Appends feature maps and gives them back by index.

    They are kept as float16, before normalisation: the rounding is below 0.2 % of a channel's
    deviation with the teachers of the package.

    Args:
        shape: ``(channels, height, width)`` of one entry.
        limit: Bytes kept in memory.
    """

    def __init__(self, shape: tuple[int, ...], limit: int = IN_MEMORY_LIMIT) -> None:
        self._shape, self._limit = shape, limit
        self._entry_bytes = 2 * int(np.prod(shape))
        self._memory: list[npt.NDArray[np.float16]] = []
        self._file: BinaryIO | None = None
        self._in_file = 0

    def append(self, features: Tensor) -> None:
        """Add ``[N, channels, height, width]`` features."""
        for entry in features.half().cpu().numpy():
            if (len(self._memory) + 1) * self._entry_bytes <= self._limit:
                self._memory.append(entry.copy())
                continue
            if self._file is None:
                # Open for as long as the cache lives; the system removes it when it is closed.
                self._file = cast(
                    BinaryIO,
                    tempfile.TemporaryFile(prefix="edgead-features-"),  # noqa: SIM115
                )
                weakref.finalize(self, self._file.close)
            self._file.seek(self._in_file * self._entry_bytes)
            self._file.write(np.ascontiguousarray(entry).tobytes())
            self._in_file += 1

    def get(self, indices: list[int]) -> Tensor:
        """Return float32 ``[len(indices), channels, height, width]``."""
        return torch.from_numpy(np.stack([self._entry(i) for i in indices])).float()

    def _entry(self, index: int) -> npt.NDArray[np.float16]:
        if index < len(self._memory):
            return self._memory[index]
        if self._file is None or index - len(self._memory) >= self._in_file:
            raise IndexError(f"no features for photo {index}")
        self._file.seek((index - len(self._memory)) * self._entry_bytes)
        data = self._file.read(self._entry_bytes)
        return np.frombuffer(data, np.float16).reshape(self._shape)


class PyramidCache:
    """Features of several levels, each in a cache of its own."""

    def __init__(self) -> None:
        self._levels: list[FeatureCache] = []

    @classmethod
    def of(cls, features: Pyramid, batches: PhotoBatches) -> PyramidCache:
        """Compute and keep a frozen network's features of photos."""
        made = cls()
        with torch.no_grad():
            for photos in batches():
                made.append(features(photos))
        return made

    def append(self, features: list[Tensor]) -> None:
        """Add each level's ``[N, channels, h, w]``."""
        if not self._levels:
            each = IN_MEMORY_LIMIT // len(features)
            self._levels = [FeatureCache(tuple(level.shape[1:]), each) for level in features]
        for kept, level in zip(self._levels, features, strict=True):
            kept.append(level)

    def get(self, indices: list[int]) -> list[Tensor]:
        """Return each level's float32 ``[len(indices), channels, height, width]``."""
        return [level.get(indices) for level in self._levels]
