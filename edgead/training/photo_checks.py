"""What photos of good parts look like as a whole, before hours are spent on learning from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgead import images, notices
from edgead.calibration.outliers import far_above
from edgead.contrast import EVEN, GoodContrast
from edgead.datasets import FEWEST_TRAINING_PHOTOS
from edgead.errors import DataError
from edgead.training import photos
from edgead.view import View

_FLAT = 0.05  # grey levels of contrast: nothing, whatever the format
_DARK, _NEARLY_BLACK = 64, 16  # grey levels of the brightest pixel of all photos
_CAMERAS_BITS = (10, 12, 14)
_LOOKED_AT = 20  # photos, of which the stored values are read
_FEWEST_SCORES = 8  # fewer tell no deviation
_NAMED = 5

Pixels = npt.NDArray[np.uint8]


def check(
    paths: Sequence[Path], pixels: Sequence[Pixels], view: View | None = None
) -> GoodContrast:
    """Refuse photos that nothing can be learned from, and warn of what is odd.

    Args:
        paths: The photos.
        pixels: Their pixels uint8 ``[height, width, 3]`` BGR in the network's size, in the same
            order.
        view: What of them is judged.

    Returns:
        How much there is to see in them.

    Raises:
        DataError: They show nothing, or nearly all are the same picture.
    """
    ignored = None if view is None else view.ignored
    _warn_of_range(paths, pixels, ignored)  # first: it may be why they show nothing, or the same
    found = GoodContrast.of(pixels, view)
    folder = paths[0].parent
    flat = sum(mean < _FLAT for mean in found.means)
    if flat > len(paths) // 2:
        level = np.median([photo.mean() for photo in pixels])
        raise DataError(
            f"{flat} of the {len(paths)} photos in {folder} have a single even colour (grey level "
            f"{level:.0f} of 255) and show nothing: check some of them, the exposure and the lens "
            "cap, and train on photos that show the part"
        )
    photos.require_different(len(paths), _different(pixels), paths)
    _warn_of_blank(paths, found)
    return found


def warn_of_odd_score(paths: Sequence[Path], scores: Sequence[float], effect: str) -> None:
    """Name held-out photos whose scores lie far above the others': there may be a defect on them.

    Args:
        paths: Held-out photos of good parts.
        scores: Scores of the finished detector, in the same order.
        effect: What such a score does.
    """
    if len(scores) < _FEWEST_SCORES:
        return
    values, is_odd = np.asarray(scores), far_above(scores)
    if not is_odd.any():
        return
    others = values[~is_odd]
    for index in np.flatnonzero(is_odd).tolist():
        notices.warn(
            f"the validation photo {paths[index]} scores {values[index]:.3f}, the other good "
            f"validation photos {others.min():.3f} to {others.max():.3f}: {effect}. If it shows a "
            "defect, remove it and train again"
        )


def _different(pixels: Sequence[Pixels]) -> int:
    """Count the different photos, until there are enough."""
    seen: set[bytes] = set()
    for photo in pixels:
        seen.add(hashlib.sha256(photo.tobytes()).digest())
        if len(seen) == FEWEST_TRAINING_PHOTOS:
            break
    return len(seen)


def _warn_of_range(
    paths: Sequence[Path], pixels: Sequence[Pixels], ignored: npt.NDArray[np.bool_] | None
) -> None:
    """Warn of values that use a fraction of their range, as a camera's 12 bits in 16 do."""
    seen = slice(None) if ignored is None else ~ignored
    brightest = max(int(photo[seen].max()) for photo in pixels)
    if brightest > _DARK:
        return
    chosen = paths[:: -(-len(paths) // _LOOKED_AT)]
    stored = [images.read_stored(path) for path in chosen]
    highest = max(int((photo[..., :3] if photo.ndim == 3 else photo).max()) for photo in stored)
    white = int(np.iinfo(np.uint16).max)
    is_read_as_stored = abs(highest * 255 / white - brightest) < _DARK / 4  # no other white stated
    if all(photo.dtype == np.uint16 for photo in stored) and highest < 2**14 and is_read_as_stored:
        bits = next(bits for bits in _CAMERAS_BITS if highest < 2**bits)
        notices.warn(
            f"the brightest pixel of {len(chosen)} 16-bit photos is {highest} of {white}, so they "
            f"are read as nearly black; they look like {bits}-bit values: multiply them by "
            f"{2 ** (16 - bits)}, or save them with 8 bits"
        )
    elif brightest < _NEARLY_BLACK:
        notices.warn(
            f"the photos in {paths[0].parent} are nearly black: the brightest pixel has grey level "
            f"{brightest} of 255; check the exposure and the lens cap"
        )


def _warn_of_blank(paths: Sequence[Path], found: GoodContrast) -> None:
    """Name photos that show nearly nothing, and say where the check for blank photos cannot work.

    A dead sensor or a covered lens looks like them.
    """
    if found.odd:
        least = min(mean for index, mean in enumerate(found.means) if index not in found.odd)
        for index in found.odd[:_NAMED]:
            notices.warn(
                f"{paths[index]} has almost no contrast ({found.means[index]:.1f} grey levels; the "
                f"others have at least {least:.1f}): it is used for training, but not for the "
                "check for blank photos; remove it if it does not show a good part"
            )
        if len(found.odd) > _NAMED:
            notices.warn(f"{len(found.odd) - _NAMED} more photos have almost no contrast")
    elif found.blank:
        notices.warn(
            f"{len(found.blank)} of the {len(paths)} photos have almost no contrast, for example "
            f"{paths[found.blank[0]]}: they are too many for an error and count as good parts, so "
            "a dead sensor or a covered lens passes as good; remove them if they do not show good "
            "parts"
        )
    if not found.blank and max(found.least) < EVEN:
        notices.warn(
            "no region has contrast in all photos, so a dead sensor or a covered lens cannot be "
            "detected"
        )
