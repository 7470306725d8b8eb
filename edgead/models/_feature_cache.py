"""Teacher features of the un-augmented training photos, computed once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgead.models.base import PhotoBatches
from edgead.networks.inputs import to_network_input

Pyramid = Callable[[Tensor], list[Tensor]]
"""Normalised images to the features of several levels."""

IN_MEMORY_LIMIT = 1 << 30
"""Bytes kept in memory; what is more goes to a temporary file and the system's page cache."""


class FeatureCache:
    """Appends feature maps and gives them back by index.

    They are kept as float16: normalised features are of the order of 1, so the rounding (2**-11)
    is far below what a student can learn.

    Args:
        shape: ``(channels, height, width)`` of one entry.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._entry_bytes = 2 * int(np.prod(shape))
        self._memory: list[npt.NDArray[np.float16]] = []
        self._file: BinaryIO | None = None
        self._in_file = 0

    def append(self, features: Tensor) -> None:
        """Add ``[N, channels, height, width]`` features."""
        for entry in features.half().cpu().numpy():
            if (len(self._memory) + 1) * self._entry_bytes <= IN_MEMORY_LIMIT:
                self._memory.append(entry.copy())
                continue
            if self._file is None:
                # Open for as long as the cache lives; the system removes it with the process.
                self._file = cast(
                    BinaryIO,
                    tempfile.TemporaryFile(prefix="edgead-features-"),  # noqa: SIM115
                )
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

    def __init__(self, levels: list[FeatureCache]) -> None:
        self._levels = levels

    @classmethod
    def of(cls, network: Pyramid, batches: PhotoBatches) -> PyramidCache:
        """Compute and keep a frozen network's features of photos."""
        levels: list[FeatureCache] = []
        with torch.no_grad():
            for photos in batches():
                features = network(to_network_input(photos))
                if not levels:
                    levels = [FeatureCache(tuple(level.shape[1:])) for level in features]
                for kept, level in zip(levels, features, strict=True):
                    kept.append(level)
        return cls(levels)

    def get(self, indices: list[int]) -> list[Tensor]:
        """Return each level's float32 ``[len(indices), channels, height, width]``."""
        return [level.get(indices) for level in self._levels]
