"""Synthetic defects: photos of good parts with something wrong painted in.

They stand in for defective parts where none may be used: parity checks and the accuracy gate need
scores from the whole range, and test photos choose nothing.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgead.images import Image


def with_defect(photo: Image, rng: np.random.Generator) -> Image:
    """Paint one defect into a photo: a scratch, a stain, or a patch from elsewhere in it.

    Args:
        photo: uint8 ``[H, W, 3]`` BGR; not changed.
        rng: Draws kind, place, size and strength.

    Returns:
        uint8 of the same shape.
    """
    paint = (_scratch, _stain, _misplaced_patch)[rng.integers(3)]
    return paint(photo.copy(), rng)


def _scratch(photo: Image, rng: np.random.Generator) -> Image:
    height, width = photo.shape[:2]
    side = min(height, width)
    points = [rng.uniform((0.15 * width, 0.15 * height), (0.85 * width, 0.85 * height))]
    direction = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 6))):
        direction += rng.normal(0, 0.4)
        step = rng.uniform(0.04, 0.12) * side
        points.append(points[-1] + step * np.array([np.cos(direction), np.sin(direction)]))
    mask = np.zeros((height, width), np.uint8)
    thickness = max(1, round(side * rng.uniform(0.004, 0.015)))
    cv2.polylines(mask, [np.array(points).astype(np.int32)], False, 255, thickness, cv2.LINE_AA)
    return _shifted(photo, mask, rng)


def _stain(photo: Image, rng: np.random.Generator) -> Image:
    height, width = photo.shape[:2]
    side = min(height, width)
    mask = np.zeros((height, width), np.uint8)
    centre = rng.uniform((0.2 * width, 0.2 * height), (0.8 * width, 0.8 * height))
    for _ in range(int(rng.integers(1, 5))):
        radius = side * rng.uniform(0.015, 0.06)
        point = centre + rng.normal(0, radius, 2)
        cv2.circle(mask, (int(point[0]), int(point[1])), max(1, int(radius)), 255, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.6, side * 0.006)), np.uint8)
    return _shifted(photo, mask, rng)


def _misplaced_patch(photo: Image, rng: np.random.Generator) -> Image:
    height, width = photo.shape[:2]
    tall, wide = (
        min(side, max(2, int(side * rng.uniform(0.04, 0.15)))) for side in (height, width)
    )
    top, target_top = rng.integers(0, height - tall + 1, 2)
    left, target_left = rng.integers(0, width - wide + 1, 2)
    patch = photo[top : top + tall, left : left + wide]
    patch = np.rot90(patch, 2) if rng.random() < 0.5 else patch[:, ::-1]
    photo[target_top : target_top + tall, target_left : target_left + wide] = patch.copy()
    return photo


def _shifted(photo: Image, mask: Image, rng: np.random.Generator) -> Image:
    """Brighten or darken where the mask is, in a colour of its own."""
    amount = rng.uniform(30, 110) * rng.choice([-1, 1]) * rng.uniform(0.7, 1, 3)
    change = mask[..., None].astype(np.float32) / 255 * amount
    return np.asarray(np.clip(photo.astype(np.float32) + change, 0, 255), np.uint8)
