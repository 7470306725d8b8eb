"""Pictures that show no part, generated: edges, occlusions and spectra as natural photos have them.

Dead-leaves images and fractal noise. Training keeps the student silent on them
(:mod:`edgead.training.penalty`), and a compression learns from them what its networks do on
pictures unlike the good parts.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def generate(count: int, size: tuple[int, int], seed: int) -> npt.NDArray[np.uint8]:
    """Make pictures.

    Returns:
        uint8 ``[count, height, width, 3]`` BGR; two of three are dead leaves, the rest noise.
    """
    rng = np.random.default_rng([seed, 2])
    made = np.empty((count, *size, 3), np.uint8)
    for index in range(count):
        made[index] = _fractal_noise(size, rng) if index % 3 == 2 else _dead_leaves(size, rng)
    return made


def _dead_leaves(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Discs, ellipses and polygons of power-law size that occlude each other, each textured."""
    height, width = size
    image: npt.NDArray[Any] = np.empty((height, width, 3), np.float32)
    image[:] = rng.uniform(0, 255, 3)
    texture = _fractal_noise(size, rng).astype(np.float32) - 128
    repeated = np.tile(texture, (2, 2, 1))  # a leaf's grain is a window of it
    side = max(size)
    smallest, largest = side / 64, side / 2.5
    for _ in range(int(rng.integers(60, 260))):
        # Inverse transform of a density falling with the cube of the radius: scale invariant.
        u = rng.random()
        radius = (smallest**-2 - u * (smallest**-2 - largest**-2)) ** -0.5
        centre = rng.uniform((0, 0), (width, height))
        mask = np.zeros((height, width), np.uint8)
        if rng.random() < 0.5:
            axes = (max(1, int(radius)), max(1, int(radius * rng.uniform(0.3, 1))))
            point = (int(centre[0]), int(centre[1]))
            cv2.ellipse(mask, point, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
            cv2.fillPoly(mask, [corners.astype(np.int32)], 255)
        down, right = (int(v) for v in rng.integers(0, side, 2))
        strength, colour = rng.uniform(0, 0.8), rng.uniform(0, 255, 3).astype(np.float32)
        x, y, wide, tall = cv2.boundingRect(mask)
        top, left = y + -down % height, x + -right % width
        grain = repeated[top : top + tall, left : left + wide]
        leaf = image[y : y + tall, x : x + wide]
        inside = mask[y : y + tall, x : x + wide] > 0
        leaf[inside] = (colour + grain * strength)[inside]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.5)))
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def _fractal_noise(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Coloured noise with amplitude falling as a random power of the frequency, as in photos."""
    height, width = size
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    stretch = rng.uniform(0.4, 2.5)
    frequency = np.sqrt((fy * stretch) ** 2 + (fx / stretch) ** 2)
    frequency[0, 0] = 1
    amplitude = frequency ** -rng.uniform(0.6, 2.0)
    amplitude[0, 0] = 0
    channels = []
    for _ in range(3):
        phase = rng.normal(size=amplitude.shape) + 1j * rng.normal(size=amplitude.shape)
        channels.append(np.fft.irfft2(amplitude * phase, size))
    noise = np.stack(channels, -1)
    mixing = np.eye(3) * rng.uniform(0.1, 1) + rng.uniform(0, 1)  # channels go together in photos
    noise = noise @ mixing
    noise *= rng.uniform(15, 60) / max(float(noise.std()), 1e-12)
    return np.clip(noise + rng.uniform(60, 195, 3), 0, 255).astype(np.uint8)
