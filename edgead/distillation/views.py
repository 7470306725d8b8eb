"""Crops of photos with the features that a source network gives for them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgead import images
from edgead.distillation.cells import cell_side, is_local, to_cells, window_cells
from edgead.distillation.changes import SIDE
from edgead.distillation.config import DistillConfig
from edgead.distillation.sources import Source
from edgead.errors import EdgeadError
from edgead.networks.pdn import TEACHER_CHANNELS
from edgead.progress import progress

_CACHE_LIMIT = 16 << 30
SOURCE_BATCH = 8
"""Views that the source network describes at a time."""


class Views:
    """Crops of the photos with the source network's features on the teacher's cells."""

    def __init__(
        self, paths: list[Path], config: DistillConfig, source: Source, scratch: Path
    ) -> None:
        self._paths, self._config, self._source = paths, config, source
        probe = source.features(np.zeros((1, source.side, source.side, 3), np.uint8))
        self._to_cells = to_cells(config.size, probe.shape)
        cells = self._to_cells(probe).shape[2:]
        self.count = len(paths) * config.views
        shape = (self.count, TEACHER_CHANNELS, *cells)
        size = 2 * math.prod(shape)
        self._pixels: npt.NDArray[np.uint8] | None = None
        if size <= _CACHE_LIMIT:
            free = shutil.disk_usage(scratch).free
            if free < 1.1 * size:
                raise EdgeadError(
                    f"caching the source network's features takes {size / 1e9:.1f} GB, but "
                    f"{scratch.parent} has {free / 1e9:.1f} GB free: choose --out on another disk "
                    "or fewer --views"
                )
            self._cache = np.lib.format.open_memmap(
                scratch / "features.npy", "w+", np.float16, shape
            )
            self._pixels = np.lib.format.open_memmap(
                scratch / "views.npy", "w+", np.uint8, (self.count, SIDE, SIDE, 3)
            )
            starts = range(0, self.count, SOURCE_BATCH)
            for start in progress(starts, total=len(starts), label="source features"):
                indices = range(start, min(start + SOURCE_BATCH, self.count))
                crops = np.stack([self._crop(index) for index in indices])
                self._pixels[start : indices.stop] = _resized(crops, SIDE)
                self._cache[start : indices.stop] = self._to_cells(source.features(crops))

    def get(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return uint8 ``[N, 256, 256, 3]`` BGR views and float32 source features."""
        if self._pixels is not None:
            chosen, target = self._pixels[indices], self._cache[indices].astype(np.float32)
        else:
            crops = np.stack([self._crop(index) for index in indices])
            chosen, target = _resized(crops, SIDE), self._to_cells(self._source.features(crops))
        return torch.from_numpy(chosen), torch.from_numpy(target)

    def windows(self, indices: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a random window of each view, on whole cells, with its source features."""
        pixels, target = self.get(indices)
        side, cells = self._config.window, window_cells(self._config)
        if not is_local(self._config.size):
            return pixels, target
        cell = cell_side(self._config.size)
        starts = rng.integers((SIDE - side) // cell + 1, size=(len(indices), 2)).tolist()
        return (
            torch.stack(
                [
                    view[row * cell : row * cell + side, column * cell : column * cell + side]
                    for view, (row, column) in zip(pixels, starts, strict=True)
                ]
            ),
            torch.stack(
                [
                    features[:, row : row + cells, column : column + cells]
                    for features, (row, column) in zip(target, starts, strict=True)
                ]
            ),
        )

    def _crop(self, index: int) -> npt.NDArray[np.uint8]:
        """Cut a view of the source's size."""
        side = self._source.side
        view, photo_index = divmod(index, len(self._paths))
        photo = shrunk(images.read_image(self._paths[photo_index]), side)
        if view == 0:
            return centre(photo, side)
        slack = photo.shape[0] - side, photo.shape[1] - side
        rng = np.random.default_rng([self._config.seed, 7, index])
        top, left = int(rng.integers(slack[0] + 1)), int(rng.integers(slack[1] + 1))
        crop = photo[top : top + side, left : left + side]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return self._config.changes.made(crop, rng)


def shrunk(photo: images.Image, side: int) -> images.Image:
    """Resize a photo until its shorter side is ``side`` pixels."""
    scale = side / min(photo.shape[:2])
    height, width = (max(side, round(pixels * scale)) for pixels in photo.shape[:2])
    return images.resize(photo, (height, width))


def centre(photo: images.Image, side: int) -> images.Image:
    """Cut a square of ``side`` pixels out of a photo's middle."""
    top, left = ((pixels - side) // 2 for pixels in photo.shape[:2])
    return photo[top : top + side, left : left + side]


def _resized(views: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    return np.stack([images.resize(view, (side, side)) for view in views])
