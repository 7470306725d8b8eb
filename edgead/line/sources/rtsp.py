"""Network cameras, through OpenCV and FFmpeg."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2

from edgead.line.errors import SourceError
from edgead.line.sources.base import Grabbed, Source
from edgead.line.sources.capture import Capture, open_capture

_OPEN_MS, _READ_MS = 3000, 2000
_PASSWORD = re.compile(r"(?<=://)[^/@]*@")


@dataclass(frozen=True)
class RtspOptions:
    """A stream.

    Attributes:
        url: ``rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH``.
        transport: ``tcp`` loses no packets; ``udp`` may be earlier by some milliseconds.
    """

    url: str
    transport: Literal["tcp", "udp"] = "tcp"

    def __post_init__(self) -> None:
        if not self.url.startswith(("rtsp://", "rtsps://")):
            raise ValueError(f"url must begin with rtsp://, not {self.url[:20]!r}")


class Rtsp(Source):
    """A stream of a network camera."""

    Options = RtspOptions
    is_live = True

    def __init__(self, options: RtspOptions) -> None:
        super().__init__(options)
        self._capture: Capture | None = None
        self._shown = _PASSWORD.sub("", options.url)

    def open(self) -> None:
        """Connect, with as little buffering as FFmpeg allows."""
        options = f"rtsp_transport;{self.options.transport}|fflags;nobuffer|flags;low_delay"
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            _OPEN_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            _READ_MS,
        ]
        capture = open_capture(self.options.url, cv2.CAP_FFMPEG, limits, options)
        if not capture.is_open:
            capture.close()
            raise SourceError(
                f"{self._shown} cannot be opened: check address, user and password, for example "
                "with ffplay"
            )
        self._capture = capture

    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next frame; FFmpeg waits two seconds at most."""
        assert self._capture is not None
        frame = self._capture.read("frame")
        if frame is None:
            raise SourceError(f"{self._shown} gives no frames: the camera or the network is down")
        return frame

    def close(self) -> None:
        """Disconnect."""
        if self._capture is not None:
            self._capture.close()
            self._capture = None

    def settings(self) -> Mapping[str, float | str]:
        """Return the size of the frames; the rest is set in the camera."""
        if self._capture is None:
            return {}
        return {
            "width": self._capture.get(cv2.CAP_PROP_FRAME_WIDTH),
            "height": self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT),
        }
