"""Frames of a Python program."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgead.images import Image
from edgead.line.sources.base import EndOfFrames, Grabbed, Source


@dataclass(frozen=True)
class FramesOptions:
    """There are none."""


class Frames(Source):
    """Frames of an iterable, each of which is judged.

    Args:
        frames: uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey; nobody may write to them afterwards.
    """

    Options = FramesOptions
    is_live = False
    can_be_triggered = False

    def __init__(self, frames: Iterable[Image]) -> None:
        super().__init__(FramesOptions())
        self._frames = frames
        self._iterator: Iterator[Image] | None = None
        self._count = 0

    def open(self) -> None:
        """Begin to iterate, or go on."""
        if self._iterator is None:
            self._iterator = iter(self._frames)

    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next frame, however long that takes."""
        assert self._iterator is not None
        for picture in self._iterator:
            self._count += 1
            return Grabbed(picture, time.monotonic(), f"frame {self._count}")
        raise EndOfFrames

    def close(self) -> None:
        """Leave the iterator as it is."""
