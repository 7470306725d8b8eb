"""Photos for fitting a compression: good ones, synthetic defects, generated pictures.

The defects are drawn anew: those of the accuracy gate are for the gate alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    view = photos.view
    assert view is not None
    if view.spec is None:
        every = [*photos.paths, *photos.learned_paths]
        reader = photos.reader
        whole = [reader.read(path).pixels for path in covering(every, _GOOD, reader)]
        defective = [with_defect(whole[index % len(whole)], rng) for index in range(_DEFECTIVE)]
        good = [view.prepare(photo) for photo in whole]
        bad = [view.prepare(photo) for photo in defective]
    else:  # windows are pictures of their own
        windows = photos.all_good[:: -(-len(photos.all_good) // _GOOD)]
        good = list(windows)
        bad = [with_defect(windows[index % len(windows)], rng) for index in range(_DEFECTIVE)]
    return {
        "good photos": [photo[None] for photo in good],
        "synthetic defects": [photo[None] for photo in bad],
        "generated pictures": [p[None] for p in generate(_GENERATED, (height, width), _SEED)],
    }
