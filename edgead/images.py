"""Photos in, pixels out: reading, and the one resize that every stage shares.

Training, calibration, evaluation and every runtime call :func:`resize` and nothing else. That is
what makes an exported score equal to the trained one on photos of any size.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead.errors import ImageError

Image = npt.NDArray[np.uint8]

RESIZE_METHOD = "opencv: INTER_AREA when both sides shrink, INTER_LINEAR otherwise"
"""What :func:`resize` does, as the manifest records it."""

_JPEG_START, _JPEG_END, _JPEG_SCAN = b"\xff\xd8\xff", b"\xff\xd9", 0xDA
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_BMP_START = b"BM"
_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM_HEADER = re.compile(rb"P([2356])" + _SPACE + rb"\d+" + _SPACE + rb"\d+" + _SPACE + rb"(\d+)\s")
_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a photo as a person would see it.

    EXIF rotation is applied, 16-bit values are divided by 257, transparent pixels are laid over
    black, and a grey photo gets three equal channels.

    Args:
        path: An image file.

    Returns:
        uint8 array ``[H, W, 3]``, BGR.

    Raises:
        ImageError: The file is missing, empty, truncated, not an image, or of a pixel type that
            has no obvious meaning as a photo (floating point, for example).
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from error
    if not data:
        raise ImageError(f"{path} is empty (0 bytes); copy it again from its source")
    if _is_truncated(data):
        raise ImageError(f"{path} is truncated (its end is missing); copy it again from its source")
    encoded = np.frombuffer(data, np.uint8)
    if not data.startswith(_JPEG_START):  # a JPEG has neither alpha nor more than 8 bits
        stored = _decode(encoded, cv2.IMREAD_UNCHANGED, path)
        if stored.dtype not in (np.uint8, np.uint16):
            raise ImageError(
                f"{path} holds {stored.dtype} pixels; only 8-bit and 16-bit photos have a defined "
                "brightness, so convert it first"
            )
        if stored.ndim == 3 and stored.shape[2] == 4:
            colour = _decode(encoded, _COLOUR, path)
            # Some BMPs have 32 bits a pixel, of which nobody has written the last eight.
            is_unused = data.startswith(_BMP_START) and not stored[..., 3].any()
            return _to_uint8(colour if is_unused else _over_black(_turned_as(colour, stored)))
    return as_bgr(_to_uint8(_decode(encoded, _COLOUR, path), _stated_white(data)), str(path))


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
        The same pixels, ``[H, W, 3]`` or ``[H, W]``.

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
        return frame[..., 0]
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3):
        return frame
    raise ImageError(f"{name} must have shape [H, W, 3] (BGR) or [H, W], but has {frame.shape}")


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize a photo to the network's input; the only resize of photos in the project.

    Args:
        image: uint8 ``[H, W, 3]``, or grey ``[H, W]``.
        size: ``(height, width)`` in pixels. The aspect ratio is not kept.

    Returns:
        uint8 ``[height, width, 3]`` or ``[height, width]``; ``image`` itself where it already has
        that size.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def _is_truncated(data: bytes) -> bool:
    # OpenCV decodes a cut JPEG or PNG to a picture with a grey or black rest and no error.
    if data.startswith(_JPEG_START):
        # Pixels never hold the end marker, but a thumbnail before them and a camera's own data
        # behind them may: so look for the first one after the scan begins.
        return data.find(_JPEG_END, _jpeg_scan(data)) < 0
    if data.startswith(_PNG_START):
        return _PNG_END not in data
    return False


def _jpeg_scan(data: bytes) -> int:
    """Return where the first scan of a JPEG begins, or the position after the last segment."""
    position = len(_JPEG_START) - 1
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != _JPEG_SCAN:
        is_padding = data[position + 1] == 0xFF
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 1 if is_padding else 2 + length
    return position


def _decode(encoded: npt.NDArray[np.uint8], flags: int, path: Path) -> npt.NDArray[Any]:
    try:
        with _silence:  # the reason goes into our own sentence, not to stderr
            image = cv2.imdecode(encoded, flags)
    except cv2.error as error:  # its own words are a line of its source code
        raise ImageError(
            f"{path} is damaged or larger than OpenCV decodes (2^30 pixels, or "
            "OPENCV_IO_MAX_IMAGE_PIXELS)"
        ) from error
    if image is None:
        raise ImageError(f"{path} is not an image that OpenCV can read, or is damaged")
    return np.asarray(image)


class _Silence:
    """Keeps OpenCV from logging while at least one thread is inside.

    The level is the process's: threads that each set it and put it back could leave it at nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._level = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._level = cv2.utils.logging.setLogLevel(0)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                cv2.utils.logging.setLogLevel(self._level)


_silence = _Silence()


def _stated_white(data: bytes) -> int | None:
    """Return what a PGM or PPM says white is, where OpenCV gives its values as they are stored."""
    header = _PNM_HEADER.match(data)
    if header is None:
        return None
    is_text, white = header[1] in b"23", int(header[2])
    return None if is_text and white < 256 else white  # OpenCV scales those itself


def _to_uint8(image: npt.NDArray[Any], white: int | None = None) -> Image:
    if white is None:
        white = int(np.iinfo(image.dtype).max)
    if white == np.iinfo(np.uint8).max and image.dtype == np.uint8:
        return image
    scaled = (image.astype(np.uint32) * 255 + white // 2) // max(white, 1)
    return np.minimum(scaled, 255).astype(np.uint8)


def _turned_as(colour: npt.NDArray[Any], stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn a picture with alpha as its EXIF says, which OpenCV has done to its colours alone."""
    for turns in range(4):
        for flipped in (stored, stored[:, ::-1]):
            turned = np.rot90(flipped, turns)
            if np.array_equal(turned[..., :3], colour):
                return turned
    return stored


def _over_black(bgra: npt.NDArray[Any]) -> npt.NDArray[Any]:
    colour, alpha = bgra[..., :3], bgra[..., 3:]
    opaque = np.iinfo(bgra.dtype).max
    if (alpha == opaque).all():
        return np.ascontiguousarray(colour)
    return np.asarray((colour.astype(np.float64) * alpha / opaque).round(), bgra.dtype)
