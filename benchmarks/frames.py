"""Frames to benchmark with: the user's photos, or generated ones."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgead import images, photo_files
from edgead.errors import UsageError

_COUNT = 8
_MOST_MEGAPIXELS = 75
_MOST_PHOTOS = 64
_MOST_BYTES = 192 << 20  # a small board has a gigabyte for everything


def generated(size: tuple[int, int], seed: int = 0) -> list[images.Image]:
    """Make camera-like frames: smooth shapes with sensor noise, uint8 ``[H, W, 3]`` BGR.

    Latency does not depend on what is on a frame for the detectors here (convolutions), but it
    does on its size: resizing a large frame can cost more than a small network.

    Raises:
        UsageError: No camera has such frames.
    """
    if size[0] * size[1] > _MOST_MEGAPIXELS * 1e6:
        raise UsageError(
            f"frames of {size[0]}x{size[1]} are larger than {_MOST_MEGAPIXELS} megapixels: give "
            "the size of your camera's frames"
        )
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(_COUNT):
        coarse = rng.uniform(30, 220, (9, 12, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        noise = rng.normal(0, 4, (*size, 1)).astype(np.float32)
        frames.append(np.clip(smooth + noise, 0, 255).astype(np.uint8))
    return frames


def from_photos(paths: Sequence[str]) -> list[images.Image]:
    """Decode photos beforehand, 64 or 192 MiB of them at most: a camera delivers pixels, not files.

    Raises:
        DataError: There are no photos.
        ImageError: One cannot be read.
    """
    photos: list[images.Image] = []
    for path in photo_files.find_and_report(paths)[:_MOST_PHOTOS]:
        photos.append(images.read_image(path))
        if sum(photo.nbytes for photo in photos) > _MOST_BYTES:
            break
    return photos
