"""Pictures that show no part: the student must stay silent on them.

The paper draws them from ImageNet (section 3.2). By default they are generated, so that training
needs no download: dead-leaves images, whose edges, occlusions and scales follow natural photos,
and fractal noise, whose spectrum does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.progress import progress

GENERATED = 256
FOLDER_LIMIT = 4096
GREY_SHARE = 0.3  # RandomGrayscale(0.3) of the reference implementation


def generate(count: int, size: tuple[int, int], seed: int) -> npt.NDArray[np.uint8]:
    """Make penalty images.

    Returns:
        uint8 ``[count, height, width, 3]`` BGR; two of three are dead leaves, the rest noise.
    """
    rng = np.random.default_rng([seed, 2])
    made = np.empty((count, *size, 3), np.uint8)
    for index in range(count):
        made[index] = _fractal_noise(size, rng) if index % 3 == 2 else _dead_leaves(size, rng)
    return made


def from_folder(folder: str, size: tuple[int, int], seed: int) -> npt.NDArray[np.uint8]:
    """Read penalty images: twice the input size, centre crop (reference implementation).

    Of a folder with more than 4096 pictures a random 4096 are taken.

    Returns:
        uint8 ``[N, height, width, 3]`` BGR.

    Raises:
        DataError: The folder is missing or holds no pictures.
        ImageError: A picture cannot be read.
    """
    paths = images.find_images([Path(folder)])
    if len(paths) > FOLDER_LIMIT:
        chosen = np.random.default_rng([seed, 3]).choice(len(paths), FOLDER_LIMIT, replace=False)
        paths = [paths[index] for index in sorted(chosen)]
    height, width = size
    loaded = np.empty((len(paths), height, width, 3), np.uint8)
    for index, path in enumerate(progress(paths, total=len(paths), label="penalty images")):
        double = images.resize(images.read_image(path), (2 * height, 2 * width))
        loaded[index] = double[height // 2 : height // 2 + height, width // 2 : width // 2 + width]
    return loaded


def draw(
    pool: npt.NDArray[np.uint8], count: int, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Draw penalty images for one step, flipped at random and grey with probability 0.3.

    The flips are ours: they double a small pool. The rest is the reference implementation's.
    """
    drawn = []
    for index in rng.integers(len(pool), size=count):
        picture = pool[index]
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
        if rng.random() < GREY_SHARE:
            grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_BGR2GRAY)
            picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        drawn.append(picture)
    return np.stack(drawn)


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
