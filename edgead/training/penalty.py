"""Pictures that show no part: the student must stay silent on them.

The paper draws them from ImageNet (section 3.2). By default they are generated, so that training
needs no download: dead-leaves images, whose edges, occlusions and scales follow natural photos,
and fractal noise, whose spectrum does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgead import images, photo_files
from edgead.calibration.pictures import generate
from edgead.progress import progress

__all__ = ["GENERATED", "draw", "from_folder", "generate"]

GENERATED = 256
FOLDER_LIMIT = 4096
GREY_SHARE = 0.3  # RandomGrayscale(0.3) of the reference implementation


def from_folder(folder: str, size: tuple[int, int], seed: int) -> npt.NDArray[np.uint8]:
    """Read penalty images: twice the input size, centre crop (reference implementation).

    Of a folder with more than 4096 pictures a random 4096 are taken.

    Returns:
        uint8 ``[N, height, width, 3]`` BGR.

    Raises:
        DataError: The folder is missing or holds no pictures.
        ImageError: A picture cannot be read.
    """
    paths = photo_files.find_and_report([folder])
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
            picture = images.without_colour(picture)
        drawn.append(picture)
    return np.stack(drawn)
