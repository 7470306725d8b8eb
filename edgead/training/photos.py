"""Training photos in memory, and which of them are held out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgead import images
from edgead.datasets import identical
from edgead.progress import progress

HELD_OUT_SHARE = 0.1  # as in the reference implementation's split of MVTec AD's train folder
BATCH = 8
HELD_OUT_FEW = 10  # small sets hold out up to a quarter, so that the threshold has something


@dataclass(frozen=True)
class Split:
    """Good photos to learn from, and good photos kept for quantiles, threshold and calibration."""

    training: tuple[Path, ...]
    held_out: tuple[Path, ...]

    @classmethod
    def of(cls, photos: Sequence[Path], seed: int) -> Split:
        """Draw the held-out photos; the same seed and file names give the same split.

        A tenth is held out; of fewer than 100 photos ten, but never more than a quarter. Copies of
        a held-out photo are not learned from: a threshold fitted to learned photos is too low.
        """
        count = max(round(HELD_OUT_SHARE * len(photos)), min(len(photos) // 4, HELD_OUT_FEW), 1)
        order = np.random.default_rng([seed, 1]).permutation(len(photos))
        chosen = set(order[:count].tolist())
        held_out = tuple(photo for index, photo in enumerate(photos) if index in chosen)
        others = [photo for index, photo in enumerate(photos) if index not in chosen]
        copies = {copy for _, copy in identical(held_out, others)}
        return cls(tuple(photo for photo in others if photo not in copies), held_out)


def load(paths: Sequence[Path], size: tuple[int, int], label: str) -> npt.NDArray[np.uint8]:
    """Read and resize photos.

    Args:
        paths: Image files.
        size: ``(height, width)`` in pixels.
        label: What to call this in the progress line.

    Returns:
        uint8 ``[N, height, width, 3]`` BGR.

    Raises:
        ImageError: A photo cannot be read; names it.
    """
    loaded = np.empty((len(paths), *size, 3), np.uint8)
    for index, path in enumerate(progress(paths, total=len(paths), label=label)):
        loaded[index] = images.resize(images.read_image(path), size)
    return loaded


def batches(pixels: npt.NDArray[np.uint8], label: str) -> Iterator[Tensor]:
    """Yield photos uint8 ``[N, height, width, 3]`` in order, at most :data:`BATCH` at a time.

    Args:
        pixels: Photos of one size.
        label: What to call this in the progress line.
    """
    starts = range(0, len(pixels), BATCH)
    for start in progress(starts, total=len(starts), label=label):
        yield torch.from_numpy(pixels[start : start + BATCH])


def digest(paths: Sequence[Path]) -> str:
    """Hash names and contents, so that a resumed training sees that its photos are the same."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(os.fsencode(path.name) + b"\0")  # names need not be UTF-8
        sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()
