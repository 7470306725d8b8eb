"""Ways to bring a photo to the network's input, each with the name that a manifest records.

A way never changes once files name it: every score of such a file rests on its bytes. Another way
gets another name.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from edgead.errors import UsageError

Image = npt.NDArray[np.uint8]

AREA = "opencv: INTER_AREA when both sides shrink, INTER_LINEAR otherwise"
"""OpenCV's own. It calculates in floating point: a byte in some 50,000 is one higher or lower on
another kind of processor."""

HALVED = "edgead 1: 2x2 means while both sides are at least twice the target, then area or linear"
"""In integers: the same bytes everywhere. Less than half of the time of :data:`AREA` for a large
photo (docs/notes/resize.md).

1. Halving, while both sides of the *photo* are at least ``2**(k + 1)`` times the target after ``k``
   halvings. A pixel becomes ``(a + b + c + d + 2) >> 2``: the photo gets brighter by 1/8 of a level
   on average. An odd last row or column is paired with itself: no pixel is lost.
2. Columns, then rows: each output pixel is ``(w1 p1 + w2 p2 + ... + 128) >> 8``, and its weights
   sum to 256. Where the side shrinks, a weight is the share of the output pixel that the pixel
   covers, with all edges rounded to 1/256 of an output pixel. Edges are those of the photo: after
   ``k`` halvings, pixel ``j`` covers ``2**k j`` to ``2**k (j + 1)`` of it, and the last one ends
   where the photo ends. So nothing drifts, whatever the sides. Where the side grows, the two
   nearest pixel centres have weights by distance (half-pixel centres), rounded to 1/256.

Grey photos and each colour channel are treated alike.
"""

METHODS = (AREA, HALVED)

_ONE = 256  # weights of an output pixel together: 255 * 256 + 128 is within 16 bits
_STRIP = 256  # rows of which columns are made at a time
_AT_ONCE = 1 << 15  # samples that stay in the first caches, with their sums

Ints = npt.NDArray[np.int64]
Taps = tuple[npt.NDArray[np.intp], npt.NDArray[np.uint16]]


def resize(image: Image, size: tuple[int, int], method: str) -> Image:
    """Resize a photo.

    Args:
        image: uint8 ``[H, W, 3]``, or grey ``[H, W]``; may be a crop of a larger photo.
        size: ``(height, width)`` in pixels. The aspect ratio is not kept.
        method: One of :data:`METHODS`.

    Returns:
        uint8 ``[height, width, 3]`` or ``[height, width]``; ``image`` itself where it already has
        that size.

    Raises:
        UsageError: There is no such method.
    """
    _check(method)
    if image.shape[:2] == tuple(size):
        return image
    return _by_opencv(image, size) if method == AREA else _by_halves(image, size)


def footprints(
    photo: tuple[int, int], size: tuple[int, int], method: str
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find the pixels of a photo that each row and column of the resized one depends on.

    Output pixel ``(i, j)`` depends on no pixel outside ``rows[i, 0] <= y < rows[i, 1]``,
    ``columns[j, 0] <= x < columns[j, 1]``. This holds for both methods.

    Args:
        photo: ``(height, width)`` of the photo.
        size: ``(height, width)`` of the resized one.
        method: One of :data:`METHODS`.

    Returns:
        Rows ``[height, 2]`` and columns ``[width, 2]``: where they start, and the first after them.

    Raises:
        UsageError: There is no such method.
    """
    _check(method)
    shrinks = [length >= target for length, target in zip(photo, size, strict=True)]
    if method == AREA:
        shrinks = [all(shrinks)] * 2
    halvings = _halvings(photo, size) if method == HALVED else 0
    rows, columns = map(_reach, photo, size, shrinks, [halvings] * 2)
    return rows, columns


def _reach(length: int, target: int, is_area: bool, halvings: int) -> npt.NDArray[np.intp]:
    if is_area:
        step = 1 << halvings
        edges = np.arange(target + 1) * length
        start = edges[:-1] // (target * step) * step
        stop = -(-edges[1:] // (target * step)) * step
    else:
        first = ((2 * np.arange(target) + 1) * length - target) // (2 * target)
        start, stop = np.maximum(first, 0), first + 2
    return np.stack([start, np.minimum(stop, length)], axis=1).astype(np.intp)


def _check(method: str) -> None:
    if method not in METHODS:
        raise UsageError(f"unknown resize '{method}'; this version has: {'; '.join(METHODS)}")


def _by_opencv(image: Image, size: tuple[int, int]) -> Image:
    height, width = size
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def _by_halves(image: Image, size: tuple[int, int]) -> Image:
    photo = (image.shape[0], image.shape[1])
    halvings = _halvings(photo, size)
    for _ in range(halvings):
        image = _halved(image)
    rows, columns = (
        None if length == target << halvings else _taps(length, target, halvings)
        for length, target in zip(photo, size, strict=True)
    )
    if columns is not None:
        image = _across(image, columns)
    return image if rows is None else _weighted(image, rows)


def _halvings(photo: tuple[int, int], size: tuple[int, int]) -> int:
    ratio = min(photo[0] // size[0], photo[1] // size[1])
    return max(ratio, 1).bit_length() - 1


def _halved(image: Image) -> Image:
    """Replace 2x2 pixels by their mean, rounded half up: what OpenCV calculates in integers."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    even = image[: 2 * height, : 2 * width]
    out = np.empty((*_up(image.shape[:2]), *image.shape[2:]), np.uint8)
    cv2.resize(even, (width, height), dst=out[:height, :width], interpolation=cv2.INTER_AREA)
    if image.shape[0] > 2 * height:
        out[height:] = _halved(np.repeat(image[-1:], 2, axis=0))
    if image.shape[1] > 2 * width:
        out[:height, width:] = _halved(np.repeat(image[: 2 * height, -1:], 2, axis=1))
    return out


def _up(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((length + 1) // 2 for length in shape)


def _across(image: Image, taps: Taps) -> Image:
    """Make each column of the output of a few columns of an image."""
    out = np.empty((len(image), taps[0].shape[1], *image.shape[2:]), np.uint8)
    # In strips: two turned copies of a large photo would be the largest memory of a frame.
    for start in range(0, len(image), _STRIP):
        strip = slice(start, start + _STRIP)
        # Turned: the pixels that have one weight are then one block of bytes.
        out[strip] = _turned(_weighted(_turned(image[strip]), taps))
    return out


def _turned(image: Image) -> Image:
    return np.asarray(cv2.transpose(image), np.uint8)


def _weighted(image: Image, taps: Taps) -> Image:
    """Make each row of the output of a few rows of an image."""
    at, weights = taps
    rows = image.reshape(len(image), -1)
    count, samples = at.shape[1], rows.shape[1]
    out = np.empty((count, samples), np.uint8)
    most = max(1, _AT_ONCE // samples)
    blocks = [slice(start, min(start + most, count)) for start in range(0, count, most)]
    spans = [slice(int(at[0, b.start]), int(at[-1, b.stop - 1]) + 1) for b in blocks]
    # Taken once and together: memory that each block gets anew costs up to a fifth of the time.
    memory = np.empty((2 * most + max(s.stop - s.start for s in spans), samples), np.uint16)
    totals, terms, nearest = memory[:most], memory[most : 2 * most], memory[2 * most :]
    for block, span in zip(blocks, spans, strict=True):
        total, term = totals[: block.stop - block.start], terms[: block.stop - block.start]
        near = nearest[: span.stop - span.start]
        near[...] = rows[span]
        for tap in range(len(at)):
            summand = term if tap else total
            # "clip" changes no position here: it is the mode that writes into ``out`` at once.
            np.take(near, at[tap, block] - span.start, axis=0, out=summand, mode="clip")
            summand *= weights[tap, block]
            if tap:
                total += term
        total += _ONE // 2
        total >>= 8
        out[block] = total
    return out.reshape(count, *image.shape[1:])


@lru_cache(maxsize=64)
def _taps(length: int, target: int, halvings: int) -> Taps:
    """Find the rows that an output row is made of.

    Args:
        length: Rows of the photo.
        target: Rows of the output.
        halvings: How often the photo was halved.

    Returns:
        Positions ``[taps, target]`` and their weights ``[taps, target, 1]``.
    """
    shrinks = length >= target << halvings
    first, weights = _covering(length, target, halvings) if shrinks else _nearest(length, target)
    last = -(-length >> halvings) - 1
    at = np.clip(first + np.arange(len(weights))[:, None], 0, last)
    taps = at.astype(np.intp), weights[..., None].astype(np.uint16)
    for table in taps:
        table.setflags(write=False)
    return taps


def _covering(length: int, target: int, halvings: int) -> tuple[Ints, Ints]:
    """Weights by the share of an output row that a row covers."""
    rows = -(-length >> halvings)
    step = target * _ONE << halvings
    edges = np.minimum((2 * step * np.arange(rows + 1) + length) // (2 * length), target * _ONE)
    start = _ONE * np.arange(target)
    first = np.searchsorted(edges, start, side="right") - 1
    last = np.searchsorted(edges, start + _ONE, side="left") - 1
    at = first + np.arange((last - first).max() + 1)[:, None]
    begin, end = edges[np.minimum(at, rows)], edges[np.minimum(at + 1, rows)]
    return first, np.maximum(np.minimum(end, start + _ONE) - np.maximum(begin, start), 0)


def _nearest(length: int, target: int) -> tuple[Ints, Ints]:
    """Weights by the distance of the two nearest rows."""
    position = ((2 * np.arange(target) + 1) * length - target) * _ONE
    whole = (position + target) // (2 * target)  # rounded, in 1/256 of a row
    first, part = whole // _ONE, whole % _ONE
    return first, np.stack([_ONE - part, part])
