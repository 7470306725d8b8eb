"""Photos for fitting a compression: good ones, synthetic defects, generated pictures.

The defects are drawn anew: those of the accuracy gate are for the gate alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.calibration.photos import CalibrationPhotos, covering
from edgead.calibration.pictures import generate
from edgead.calibration.synthetic import with_defect

_GOOD, _DEFECTIVE, _GENERATED = 16, 24, 8
_SEED = 17


def fitting_photos(photos: CalibrationPhotos) -> list[npt.NDArray[np.uint8]]:
    """Return batches of one, uint8 ``[1, height, width, 3]`` BGR, at most 48; see :func:`kinds`."""
    return [photo for kind in kinds(photos).values() for photo in kind]


def kinds(photos: CalibrationPhotos) -> dict[str, list[npt.NDArray[np.uint8]]]:
    """Return good photos, synthetic defects of them and generated pictures, apart.

    Args:
        photos: Good photos that the training held out, and where they are few some of the others.

    Raises:
        ImageError: One cannot be read any more.
    """
    height, width = photos.good.shape[1:3]
    rng = np.random.default_rng(_SEED)
    every = [*photos.paths, *photos.learned_paths]
    reader = photos.reader
    good = [reader.read(path).pixels for path in covering(every, _GOOD, reader)]
    defective = [with_defect(good[index % len(good)], rng) for index in range(_DEFECTIVE)]
    return {
        "good photos": [images.resize(photo, (height, width))[None] for photo in good],
        "synthetic defects": [images.resize(photo, (height, width))[None] for photo in defective],
        "generated pictures": [p[None] for p in generate(_GENERATED, (height, width), _SEED)],
    }
