"""Training photos in memory, and which of them are held out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgead import files, images
from edgead.datasets import FEWEST_TRAINING_PHOTOS, copies, held_out_count
from edgead.errors import DataError
from edgead.models import PhotoBatches
from edgead.progress import progress
from edgead.view import View

BATCH = 8


@dataclass(frozen=True)
class Split:
    """Good photos to learn from, and good photos kept for quantiles, threshold and calibration."""

    training: tuple[Path, ...]
    held_out: tuple[Path, ...]

    @classmethod
    def of(cls, photos: Sequence[Path], seed: int) -> Split:
        """Draw the held-out photos; the same seed and file names give the same split.

        :func:`held_out_count` is their number. Copies of a held-out photo are not learned from: a
        threshold fitted to learned photos is too low.

        Raises:
            DataError: Too few of the photos differ, or one has vanished.
        """
        with reading(photos):
            original = {copy: first for first, copy in copies(photos)}
        different = [photo for photo in photos if photo not in original]
        require_different(len(photos), len(different), photos)
        count = held_out_count(len(different))
        order = np.random.default_rng([seed, 1]).permutation(len(different))
        chosen = {different[index] for index in order[:count].tolist()}
        return cls(
            tuple(photo for photo in photos if original.get(photo, photo) not in chosen),
            tuple(photo for photo in different if photo in chosen),
        )


def require_different(count: int, different: int, photos: Sequence[Path]) -> None:
    """Refuse photos of which too few differ: there is nothing to learn from copies.

    Args:
        count: Number of photos.
        different: Number of different photos.
        photos: The photos, for the error.

    Raises:
        DataError: There are too few different photos.
    """
    if different < FEWEST_TRAINING_PHOTOS:
        raise DataError(
            f"{photos[0].parent} has {count} photos of good parts, but only {different} different "
            f"{'one' if different == 1 else 'ones'}, the others are copies; training takes at "
            f"least {FEWEST_TRAINING_PHOTOS} different photos (50 or more are better)"
        )


@contextlib.contextmanager
def reading(photos: Sequence[Path]) -> Iterator[None]:
    """Turn a photo that vanishes while photos are read into an error that names it.

    Raises:
        DataError: A file could not be read.
    """
    try:
        yield
    except OSError as error:
        name = error.filename or (photos[0].parent if photos else "the photos")
        raise DataError(
            f"cannot read {os.fspath(name)}: {error.strerror or error}; it was there when the "
            "photos were listed, so do not change the folder while a training begins"
        ) from error


def load(paths: Sequence[Path], view: View, label: str) -> npt.NDArray[np.uint8]:
    """Read photos and bring them to a detector's size.

    Args:
        paths: Image files.
        view: What of a photo the detector sees.
        label: What to call this in the progress line.

    Returns:
        uint8 ``[N, height, width, 3]`` BGR; with tiles they are canvases (:func:`windows`).

    Raises:
        ImageError: A photo cannot be read; names it.
        DataError: A photo has another aspect ratio than the view.
    """
    loaded = np.empty((len(paths), *view.canvas, 3), np.uint8)
    for index, path in enumerate(progress(paths, total=len(paths), label=label)):
        photo = images.read_image(path)
        view.require_aspect((photo.shape[0], photo.shape[1]), path)
        loaded[index] = view.prepare(photo)
    return loaded


def require_memory(count: int, view: View) -> None:
    """Refuse windows that do not fit into memory, before the first photo is read.

    Args:
        count: Number of photos.
        view: What of each the detector sees.

    Raises:
        DataError: Says how much they take and how much is free.
    """
    free = _free_memory()
    height, width = view.size
    canvas = 3 * view.canvas[0] * view.canvas[1]
    needed = count * (canvas + 3 * height * width * len(view.places))
    if view.spec is None or free is None or needed < free:
        return
    rows, columns = view.grid
    raise DataError(
        f"{count} photos of {rows}x{columns} windows take {needed / 1e9:.1f} GB of memory, and "
        f"{free / 1e9:.1f} GB are free: train with fewer tiles or fewer photos"
    )


def _free_memory() -> int | None:
    """Return the free bytes, where Linux tells; ``None`` elsewhere."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable: +(\d+) kB", text, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def windows(pixels: npt.NDArray[np.uint8], view: View) -> npt.NDArray[np.uint8]:
    """Cut photos of :func:`load` into what the network sees.

    Args:
        pixels: uint8 ``[N, height, width, 3]``.
        view: The view that they were loaded for.

    Returns:
        uint8 ``[M, height, width, 3]``, the windows of a photo one after the other.
    """
    if view.grid == (1, 1):
        return pixels
    each = len(view.places)
    cut = np.empty((len(pixels) * each, *view.size, 3), np.uint8)
    for index, canvas in enumerate(pixels):
        cut[index * each : (index + 1) * each] = view.windows(canvas)
    return cut


def batches(pixels: npt.NDArray[np.uint8], label: str) -> Iterator[Tensor]:
    """Yield photos uint8 ``[N, height, width, 3]`` in order, at most :data:`BATCH` at a time.

    Args:
        pixels: Photos of one size.
        label: What to call this in the progress line.
    """
    starts = range(0, len(pixels), BATCH)
    for start in progress(starts, total=len(starts), label=label):
        yield torch.from_numpy(pixels[start : start + BATCH])


def passes(pixels: npt.NDArray[np.uint8], device: torch.device, label: str) -> PhotoBatches:
    """Return what a detector calls for each pass over photos; arguments as in :func:`batches`.

    Args:
        pixels: Photos of one size.
        device: Where the batches are wanted.
        label: What to call this in the progress line.
    """
    return lambda: (batch.to(device) for batch in batches(pixels, label))


def digest(paths: Sequence[Path]) -> str:
    """Hash names and contents, so that a resumed training sees that its photos are the same."""
    sha = hashlib.sha256()
    with reading(paths):
        for path in paths:
            sha.update(os.fsencode(path.name) + b"\0")  # names need not be UTF-8
            sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()


def digests(paths: Sequence[Path]) -> tuple[str, ...]:
    """Hash the content of each photo, so that a photo that was changed can be named."""
    with reading(paths):
        return tuple(files.sha256_file(path) for path in paths)
