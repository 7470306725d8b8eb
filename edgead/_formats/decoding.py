"""From a file to its samples: the one place that gives bytes to OpenCV's decoders."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead._formats import bmp, is_jpeg, jpeg, tiff_pixels
from edgead._formats.c_stderr import collected
from edgead._formats.header import Alpha, Damage, Header
from edgead._formats.tiff import Page

_PIXELS_AS_STORED = cv2.IMREAD_UNCHANGED
_COLOUR_TURNED = cv2.IMREAD_COLOR
_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

_REPORTS_DAMAGE = (b"Corrupt JPEG data", b"Premature end")
_BYTES_BEFORE_END = re.compile(rb"(\d+) extraneous bytes before marker 0xd9")


def samples(data: bytes, header: Header) -> npt.NDArray[Any]:
    """Decode a photo whose header was inspected.

    Args:
        data: The file.
        header: What :func:`edgead._formats.inspect` found in it.

    Returns:
        uint8 or uint16, ``[H, W]`` grey, ``[H, W, 3]`` BGR or ``[H, W, 4]`` BGRA. A JPEG is turned
        as its EXIF says; others are as stored.

    Raises:
        Damage: The decoder fails, or reports that pixels are missing.
    """
    if isinstance(header, Page):
        return tiff_pixels.samples(data, header, lambda file: _decode(file, _PIXELS_AS_STORED))
    if is_jpeg(data):
        return _decode(data, _COLOUR_TURNED)
    if data.startswith(bmp.START) and header.alpha is Alpha.NONE:
        return _decode(data, _COLOUR)  # of old headers, OpenCV takes colours for grey otherwise
    return _decode(data, _PIXELS_AS_STORED)


def _decode(data: bytes, flags: int) -> npt.NDArray[Any]:
    try:
        with _silence, collected() as lines:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # its own words are a line of its source code
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise Damage("OpenCV cannot decode it") from error
    if image is None:
        raise Damage("OpenCV cannot decode it")
    if lines:
        _refuse_reported_damage(b"".join(lines), data)
    return np.asarray(image)


def _refuse_reported_damage(printed: bytes, data: bytes) -> None:
    report = next((line for line in printed.splitlines() if line.startswith(_REPORTS_DAMAGE)), None)
    if report is None:  # a colour profile that is not quite valid, for example
        return
    before_end = _BYTES_BEFORE_END.search(report)
    if before_end and jpeg.is_padding(data, int(before_end[1])):
        return
    raise Damage(f'its decoder reports "{report.decode(errors="replace")}"')


class _Silence:
    """Keeps OpenCV from logging while at least one thread is inside.

    The level is the process's: threads that each set it and put it back could leave it at nothing.
    """

    def __init__(self) -> None:
        self._set_level = getattr(cv2.utils, "logging", cv2).setLogLevel  # OpenCV 4.8: cv2's own
        self._level = 0
        self._start_again()
        os.register_at_fork(after_in_child=self._start_again)

    def _start_again(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._level = self._set_level(0)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set_level(self._level)


_silence = _Silence()
