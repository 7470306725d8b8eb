"""What sources that read through OpenCV share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

import cv2
import numpy as np

from edgead.line.errors import SourceError
from edgead.line.sources.base import Grabbed

_SELECT_S = "2"
_opening = threading.Lock()  # the environment is one for all captures


class Capture:
    """A ``cv2.VideoCapture`` that counts its frames."""

    def __init__(self, of: str | int, backend: int, parameters: Sequence[int] = ()) -> None:
        """Open it; :attr:`is_open` says whether that worked."""
        self._capture = cv2.VideoCapture(of, backend, list(parameters))
        self._frames = 0

    @property
    def is_open(self) -> bool:
        """Whether it can be read."""
        return self._capture.isOpened()

    def read(self, name: str) -> Grabbed | None:
        """Return the next frame, called by ``name`` and its number; ``None`` if there is none."""
        is_read, picture = self._capture.read()
        if not is_read or picture is None:
            return None
        self._frames += 1
        return Grabbed(np.asarray(picture, np.uint8), time.monotonic(), f"{name} {self._frames}")

    def set(self, prop: int, value: float) -> bool:
        """Set a property; whether the driver took it."""
        return bool(self._capture.set(prop, value))

    def get(self, prop: int) -> float:
        """Return a property."""
        return float(self._capture.get(prop))

    def close(self) -> None:
        """Release the device or file."""
        self._capture.release()


def open_capture(
    of: str | int, backend: int, parameters: Sequence[int] = (), ffmpeg_options: str | None = None
) -> Capture:
    """Open a capture, and keep OpenCV and FFmpeg from printing about it.

    Args:
        of: Device, address or file.
        backend: ``cv2.CAP_V4L2`` or ``cv2.CAP_FFMPEG``.
        parameters: Properties and values in turn, as OpenCV takes them.
        ffmpeg_options: ``key;value|key;value``.

    Raises:
        SourceError: OpenCV was built without the backend.
    """
    if not cv2.videoio_registry.hasBackend(backend):
        name = cv2.videoio_registry.getBackendName(backend)
        raise SourceError(f"OpenCV {cv2.__version__} here has no {name}: install its usual wheel")
    with _opening:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", _SELECT_S)
        if ffmpeg_options is not None:
            os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = ffmpeg_options
        try:
            return Capture(of, backend, parameters)
        finally:
            if ffmpeg_options is not None:
                del os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"]
