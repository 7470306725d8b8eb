"""The contract of a source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar

from edgead.images import Image


class EndOfFrames(Exception):
    """There are no more frames, as at the end of a video; not a fault."""


@dataclass(frozen=True)
class Grabbed:
    """One frame as it arrived.

    Attributes:
        picture: uint8 ``[H, W, 3]`` BGR or ``[H, W]`` grey. Its memory is its own: no later frame
            is written there. ``None`` where there is one that cannot be read, such as a damaged
            file.
        at: ``time.monotonic()`` of its arrival in this process.
        name: What reports call it: a file name, a frame number.
        problem: Why it cannot be read, a sentence; the part is rejected.
    """

    picture: Image | None
    at: float
    name: str
    problem: str | None = None

    def __post_init__(self) -> None:
        if (self.picture is None) == (self.problem is None):
            raise ValueError("a frame has either a picture or a problem")


class Source(ABC):
    """One camera, folder or video. All calls come from one thread; it may be opened again.

    Attributes:
        Options: A frozen dataclass of the keys under ``source`` in the configuration. It checks
            its values in ``__post_init__`` and raises ``ValueError`` with a part of a sentence.
        is_live: Whether frames come at their own pace, so that only the newest counts (a camera).
            Frames of other sources (a folder, a video) wait and are judged one by one.
        can_be_triggered: Whether a trigger may ask for a frame. Not of a folder: a photo that came
            too late for its trigger would wait, and be taken for the next part.
    """

    Options: ClassVar[type]
    is_live: ClassVar[bool]
    can_be_triggered: ClassVar[bool] = True

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def open(self) -> None:
        """Open the device, and lock what can be locked.

        Raises:
            SourceError: It cannot be opened: absent, busy, refused.
            MissingDependencyError: A package is missing.
        """

    @abstractmethod
    def read(self, timeout_s: float) -> Grabbed | None:
        """Return the next frame; ``None`` if none came within ``timeout_s``.

        Raises:
            SourceError: The device is lost; ``close`` and ``open`` follow.
            EndOfFrames: There will be no more.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the device. It raises nothing, and may be called twice."""

    def judged(self, frame: Grabbed) -> None:  # noqa: B027  # most sources need not know
        """Note that a frame has its verdict; only of sources that are not live.

        The next frame is read after this, so that no file is moved away that was not judged.
        """

    def settings(self) -> Mapping[str, float | str]:
        """Return exposure, gain, size and so on as the device reports them, by name; once open.

        They are compared with those of the last start: leave out what changes by itself.
        """
        return {}

    def __enter__(self) -> Source:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
