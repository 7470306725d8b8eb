"""Ignored regions: as an image, on the canvas, and as text in a manifest.

Text is zlib of packed bits in base64: a reader knows how many bytes it must give, and takes no
more.
"""

from __future__ import annotations

import base64
import binascii
import os
import zlib

import numpy as np
import numpy.typing as npt

from edgead import images, resizing
from edgead.errors import DataError

Mask = npt.NDArray[np.bool_]

MOST_TEXT = 1 << 18
"""Characters of a mask in a manifest; regions drawn with rectangles need a few hundred."""

_WHITE = 128  # grey levels
_NEARLY_BLACK = 48  # a JPEG's black may be 20
_MOST_GREY = 0.05  # of the pixels: soft edges


def read(path: str | os.PathLike[str]) -> Mask:
    """Read the ignored regions of a frame: white is ignored, black is judged.

    Args:
        path: An image of the frame's size.

    Returns:
        bool ``[H, W]``.

    Raises:
        ImageError: It cannot be read.
        DataError: It is all white, all black, or a photo.
    """
    picture = images.read_image(path).max(axis=2)
    between = float(((picture >= _NEARLY_BLACK) & (picture < 256 - _NEARLY_BLACK)).mean())
    if between > _MOST_GREY:
        raise DataError(
            f"{between:.0%} of the mask {path} are neither black nor white, as in a photo: paint a "
            "picture of the photo's size black, and white only what is to be ignored"
        )
    found = np.asarray(picture >= _WHITE)
    if found.all():
        raise DataError(
            f"the mask {path} is white everywhere, so nothing would be judged: paint white only "
            "what is to be ignored"
        )
    if not found.any():
        raise DataError(
            f"the mask {path} has no white pixel, so nothing would be ignored: paint the regions "
            "to ignore white, or leave the mask out"
        )
    return found


def on_canvas(mask: Mask, size: tuple[int, int], method: str) -> Mask:
    """Return which pixels of a resized frame depend on an ignored one.

    So nothing that changes in the ignored regions changes any other pixel.

    Args:
        mask: bool ``[H, W]``, cropped as the frame is.
        size: ``(height, width)`` that the frame is resized to.
        method: One of :data:`edgead.resizing.METHODS`.
    """
    if mask.shape == size:
        return mask
    rows, columns = resizing.footprints((mask.shape[0], mask.shape[1]), size, method)
    sums = np.pad(mask.cumsum(0, np.int64).cumsum(1), ((1, 0), (1, 0)))
    below, above = sums[rows[:, 1]], sums[rows[:, 0]]
    inside = (below - above)[:, columns[:, 1]] - (below - above)[:, columns[:, 0]]
    return np.asarray(inside > 0)


def encoded(mask: Mask) -> str:
    """Return a mask as text."""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode("ascii")


def decoded(text: str, size: tuple[int, int]) -> Mask:
    """Return the mask of :func:`encoded`.

    Args:
        text: From a manifest.
        size: ``(height, width)`` that it must have.

    Raises:
        ValueError: It is no such mask.
    """
    count = size[0] * size[1]
    expected = -(-count // 8)
    try:
        unpacking = zlib.decompressobj()
        packed = unpacking.decompress(base64.b64decode(text, validate=True), expected + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"is no mask ({error})") from error
    if len(packed) != expected or not unpacking.eof:
        raise ValueError(f"is no mask of {size[1]}x{size[0]} px")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=count)
    return bits.reshape(size).astype(bool)
