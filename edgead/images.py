"""Photos in, pixels out: reading, and the one resize that every stage shares.

Training, calibration, evaluation and every runtime call :func:`resize` and nothing else. That is
what makes an exported score equal to the trained one on photos of any size.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead import _formats, files, resizing
from edgead._formats import Alpha, Damage, Header, Refusal
from edgead._formats.decoding import samples
from edgead.errors import ImageError, UsageError

Image = resizing.Image
Samples = npt.NDArray[Any]
"""uint8 or uint16."""

RESIZE_METHOD = resizing.AREA
"""What :func:`resize` does unless told otherwise, as the manifest records it."""

MAX_MEGAPIXELS = 75.0
"""Larger photos are refused before they are decoded, where neither the call nor the environment
says otherwise. A process that reads one photo stays within 600 MB, whatever the file claims."""

MAX_MEGAPIXELS_VARIABLE = "EDGEAD_MAX_MEGAPIXELS"

_BYTES_PER_PIXEL = 6.5  # a JPEG's and its file's: others share them out
_AT_ONCE = 1 << 20  # samples, where NumPy makes indices of them that take eight times as much


def read_image(path: str | os.PathLike[str], max_megapixels: float | None = None) -> Image:
    """Read a photo as a person would see it; docs/reference/photos.md has the formats and limits.

    EXIF rotation is applied, more than 8 bits are scaled from the white that the file states (that
    of the stored type, where it states nothing), transparent pixels are laid over black, and a grey
    photo gets three equal channels.

    Args:
        path: A regular file, of any name: formats are known by their content.
        max_megapixels: The largest photo that is decoded, in millions of pixels. ``None``: what
            the environment variable ``EDGEAD_MAX_MEGAPIXELS`` says, else 75. Kinds that take more
            memory for a pixel than a JPEG does have a lower limit in proportion.

    Returns:
        uint8 array ``[H, W, 3]``, BGR.

    Raises:
        ImageError: The file is missing, empty, no regular file, larger than the limit, truncated,
            reported as damaged by its decoder, of a format or kind that is not read, or has no
            defined brightness (floating point, for example).
    """
    return decode(read_bytes(path, max_megapixels), path, max_megapixels)


def read_bytes(path: str | os.PathLike[str], max_megapixels: float | None = None) -> bytes:
    """Read the file of a photo for :func:`decode`.

    Args:
        path: As in :func:`read_image`.
        max_megapixels: As in :func:`read_image`.

    Raises:
        ImageError: The file is missing, empty, no regular file, or too large for the limit.
    """
    limit = _limit() if max_megapixels is None else max_megapixels
    try:
        data = files.read_regular(path, int(limit * 1e6 * _BYTES_PER_PIXEL))
    except OSError as error:
        raise ImageError(f"cannot read {path}: {_reason(error)}") from error
    if not data:
        raise ImageError(f"{path} is empty (0 bytes); copy it again from its source")
    return data


def decode(data: bytes, name: str | os.PathLike[str], max_megapixels: float | None = None) -> Image:
    """Decode a photo as :func:`read_image` does.

    Args:
        data: The whole file.
        name: What errors call it.
        max_megapixels: As in :func:`read_image`.

    Returns:
        uint8 array ``[H, W, 3]``, BGR.

    Raises:
        ImageError: As :func:`read_image`.
    """
    stored, header = _samples(data, name, max_megapixels)
    photo = _to_uint8(stored, _white(stored, header))
    if header.transparent is not None:
        photo = np.where(stored == header.transparent, np.uint8(0), photo)
    if photo.ndim == 3 and photo.shape[2] == 4:
        photo = _over_black(photo, header)
    return as_bgr(_turned(photo, header.orientation), str(name))


def read_stored(path: str | os.PathLike[str], max_megapixels: float | None = None) -> Samples:
    """Read an image as it is stored, with the checks of :func:`read_image`; for masks and labels.

    Args:
        path: As in :func:`read_image`.
        max_megapixels: As in :func:`read_image`.

    Returns:
        uint8 or uint16, ``[H, W]`` grey, ``[H, W, 3]`` BGR or ``[H, W, 4]`` BGRA, turned as EXIF
        says and not scaled.

    Raises:
        ImageError: As :func:`read_image`.
    """
    stored, header = _samples(read_bytes(path, max_megapixels), path, max_megapixels)
    return _turned(stored, header.orientation)


def _samples(
    data: bytes, path: str | os.PathLike[str], max_megapixels: float | None
) -> tuple[Samples, Header]:
    """Return the samples of a photo, not yet turned, and its header."""
    limit = _limit() if max_megapixels is None else max_megapixels
    try:
        header = _formats.inspect(data)
        _check_size(path, header, len(data), limit)
        stored = samples(data, header)
    except MemoryError as error:
        raise ImageError(
            f"{path} ({len(data):,} bytes) needs more memory to decode than is available; make it "
            "smaller first"
        ) from error
    except Damage as damage:
        raise ImageError(f"{path} is damaged: {damage}; copy it again from its source") from damage
    except Refusal as refusal:
        raise ImageError(
            f"{path} {refusal}; convert it to PNG, grey or RGB, of 8 or 16 bits"
        ) from refusal
    expected = (header.height, header.width)
    if stored.shape[:2] not in (expected, expected[::-1]):
        raise ImageError(
            f"{path} is damaged: its header has {header.width}x{header.height} px, but it was "
            f"decoded to {stored.shape[1]}x{stored.shape[0]} px; copy it again from its source"
        )
    return stored, header


def _limit() -> float:
    stated = os.environ.get(MAX_MEGAPIXELS_VARIABLE)
    if stated is None:
        return MAX_MEGAPIXELS
    try:
        limit = float(stated)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e6:
        raise UsageError(
            f"{MAX_MEGAPIXELS_VARIABLE} must be a number of megapixels above 0, not {stated!r}"
        )
    return limit


def _reason(error: OSError) -> str:
    too_large = error.errno == errno.EFBIG
    return f"{error.strerror}; {_advice()}" if too_large else f"{error.strerror}"


def _advice() -> str:
    return f"if it is a real photo, set {MAX_MEGAPIXELS_VARIABLE} to a higher limit"


def _check_size(path: str | os.PathLike[str], header: Header, size: int, limit: float) -> None:
    most_bytes = int(limit * 1e6 * _BYTES_PER_PIXEL)
    most = min(limit * 1e6, max(0, most_bytes - size) / header.memory)
    if header.pixels > most:
        raise ImageError(
            f"{path} has {header.width}x{header.height} px ({header.pixels / 1e6:,.0f} megapixels) "
            f"in its header, but the limit for this file ({header.kind}, {size:,} bytes) is "
            f"{most / 1e6:,.0f} megapixels; {_advice()}"
        )


def as_bgr(frame: npt.NDArray[Any], name: str = "the frame") -> Image:
    """Check a frame and give it three channels.

    Args:
        frame: uint8 ``[H, W, 3]`` BGR, or grey ``[H, W]`` or ``[H, W, 1]``.
        name: What to call the frame in an error.

    Returns:
        uint8 array ``[H, W, 3]``, BGR; the same array where it already was that.

    Raises:
        ImageError: Another shape or dtype, or no pixels; names both sides.
    """
    frame = as_frame(frame, name)
    return (
        frame if frame.ndim == 3 else np.asarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR), np.uint8)
    )


def without_colour(photo: Image) -> Image:
    """Return a photo uint8 ``[H, W, 3]`` BGR in grey, of the same shape."""
    grey = cv2.cvtColor(np.ascontiguousarray(photo), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def as_frame(frame: npt.NDArray[Any], name: str = "the frame") -> Image:
    """Check a frame and leave grey as it is.

    Resizing one channel and then making three of it costs half of the other order, and gives the
    same bytes.

    Args:
        frame: uint8 ``[H, W, 3]`` BGR, or grey ``[H, W]`` or ``[H, W, 1]``.
        name: What to call the frame in an error.

    Returns:
        The same pixels, ``[H, W, 3]`` or ``[H, W]``; a copy of a frame in planes, in Fortran order
        or mirrored, else a view. The caller's array is never written to.

    Raises:
        ImageError: Another shape or dtype, or no pixels; names both sides.
    """
    if not isinstance(frame, np.ndarray):
        raise ImageError(f"{name} must be a NumPy array or a path, but is a {type(frame).__name__}")
    if frame.dtype != np.uint8:
        raise ImageError(f"{name} must hold uint8 values 0..255, but holds {frame.dtype}")
    if frame.size == 0:
        raise ImageError(f"{name} has no pixels (shape {frame.shape})")
    if frame.ndim == 3 and frame.shape[2] == 1:
        return _pixel_by_pixel(frame[..., 0])
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3):
        return _pixel_by_pixel(frame)
    raise ImageError(f"{name} must have shape [H, W, 3] (BGR) or [H, W], but has {frame.shape}")


def _pixel_by_pixel(frame: npt.NDArray[Any]) -> Image:
    """Give a frame the layout that OpenCV takes everywhere: pixels of a row one after the other.

    Planes, Fortran order and mirrored views are copied; a crop of a frame is not.
    """
    plain = np.asarray(frame)  # a subclass may calculate in its own way, as a matrix does
    row = plain[:1]
    is_usable = row.flags.c_contiguous and plain.strides[0] >= row.nbytes
    return plain if is_usable else np.ascontiguousarray(plain)


def resize(image: Image, size: tuple[int, int], method: str = RESIZE_METHOD) -> Image:
    """Resize a photo to the network's input; the only resize of photos in the project.

    Args:
        image: uint8 ``[H, W, 3]``, or grey ``[H, W]``.
        size: ``(height, width)`` in pixels. The aspect ratio is not kept.
        method: One of :data:`edgead.resizing.METHODS`.

    Returns:
        uint8 ``[height, width, 3]`` or ``[height, width]``; ``image`` itself where it already has
        that size.

    Raises:
        UsageError: There is no such method.
    """
    return resizing.resize(image, size, method)


def _white(stored: Samples, header: Header) -> int | None:
    if header.bits is None or not _has_raw_bits(stored, header.bits):
        return header.white
    return (1 << header.bits) - 1


def _has_raw_bits(stored: Samples, bits: int) -> bool:
    """Whether samples of fewer bits were stored as they are, and not scaled up as PNG asks for.

    Scaled samples repeat their first bits in their last ones, have zeros there, or are rounded.
    """
    colours = stored[..., :3] if stored.ndim == 3 else stored
    if int(colours.max()) >> bits:
        return False
    spare = 8 * stored.itemsize - bits
    raw = np.arange(1 << bits)
    spread = (raw << spare) | (raw >> max(0, bits - spare))
    exact = raw * (int(np.iinfo(stored.dtype).max) / ((1 << bits) - 1))
    scaled = np.zeros(1 << 8 * stored.itemsize, bool)
    for values in (raw << spare, spread, np.rint(exact).astype(int), exact.astype(int)):
        scaled[values] = True
    return not all(scaled[rows].all() for rows in _in_parts(colours))


def _in_parts(image: Samples) -> Iterator[Samples]:
    rows = max(1, _AT_ONCE // (image[0].size or 1))
    return (image[start : start + rows] for start in range(0, len(image), rows))


def _to_uint8(image: Samples, white: int | None = None) -> Image:
    if white is None:
        white = int(np.iinfo(image.dtype).max)
    if white == np.iinfo(np.uint8).max and image.dtype == np.uint8:
        return image
    values = np.arange(np.iinfo(image.dtype).max + 1)
    table = np.minimum((values * 255 + white // 2) // max(white, 1), 255).astype(np.uint8)
    scaled = np.empty(image.shape, np.uint8)
    for part, out in zip(_in_parts(image), _in_parts(scaled), strict=True):
        out[...] = table[part]
    return scaled


def _turned(image: Samples, orientation: int) -> Samples:
    """Turn an image as an EXIF orientation says."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _over_black(bgra: Image, header: Header) -> Image:
    colour, alpha = bgra[..., :3], bgra[..., 3]
    is_unwritten = not alpha.any() and header.kind.startswith("BMP")
    if header.alpha is not Alpha.STRAIGHT or is_unwritten or alpha.min() == 255:
        return np.ascontiguousarray(colour)
    laid = np.empty_like(colour, order="C")
    for channel in range(3):
        laid[..., channel] = cv2.multiply(colour[..., channel], alpha, scale=1 / 255)
    return laid
