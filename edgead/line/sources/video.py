"""Video files, through OpenCV and FFmpeg: every frame is judged, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from edgead.line.errors import SourceError
from edgead.line.sources.base import EndOfFrames, Grabbed, Source
from edgead.line.sources.capture import Capture, open_capture


@dataclass(frozen=True)
class VideoOptions:
    """A video.

    Attributes:
        path: The file.
        loop: Begin again at its end.
    """

    path: Path
    loop: bool = False


class Video(Source):
    """A video file."""

    Options = VideoOptions
    is_live = False

    def __init__(self, options: VideoOptions) -> None:
        super().__init__(options)
        self._capture: Capture | None = None
        self._has_frames = False

    def open(self) -> None:
        """Open the file at its beginning."""
        path = self.options.path
        if not path.is_file():
            raise SourceError(f"{path} does not exist, or is no file")
        self._capture = open_capture(str(path), cv2.CAP_FFMPEG)
        self._has_frames = False
        if not self._capture.is_open:
            self.close()
            raise SourceError(f"{path} cannot be read as a video: play it with ffplay to see why")

    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next frame."""
        assert self._capture is not None
        frame = self._capture.read(f"{self.options.path.name} frame")
        if frame is not None:
            self._has_frames = True
            return frame
        if not self.options.loop or not self._has_frames:
            raise EndOfFrames
        self.close()
        self.open()
        return None

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.close()
            self._capture = None
