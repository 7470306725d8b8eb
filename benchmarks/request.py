"""What ``edgead bench`` is asked to measure, on which frames: all that a repetition needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgead.benchmarks import frames
from edgead.benchmarks.protocol import Protocol

if TYPE_CHECKING:
    from edgead.benchmarks.result import Result
    from edgead.images import Image

_FRAME_SIZE = (1080, 1920)


@dataclass(frozen=True)
class Request:
    """A measurement as it was asked for.

    Attributes:
        protocol: How long, how often, in which runtime.
        images: The photos given; ``None`` for generated frames.
        frame_size: ``(height, width)`` of generated frames, in pixels.
        governor: The CPU's frequency governor meanwhile; ``None`` leaves it.
    """

    protocol: Protocol = field(default_factory=Protocol)
    images: tuple[str, ...] | None = None
    frame_size: tuple[int, int] = _FRAME_SIZE
    governor: str | None = None

    @classmethod
    def of_result(cls, result: Result) -> Request:
        """Ask for what a stored result was asked for."""
        config = result["config"]
        height, width = config["frame_size"]
        return cls(
            Protocol.of_config(config),
            tuple(config["images"]) if config["images"] else None,
            (height, width),
            config["set_governor"],
        )

    def frames(self) -> list[Image]:
        """Return the frames, uint8 ``[H, W, 3]`` BGR.

        Raises:
            EdgeadError: A photo cannot be read, there is none, or no camera has such frames.
        """
        if self.images:
            return frames.from_photos(self.images)
        return frames.generated(self.frame_size)

    def to_config(self) -> dict[str, Any]:
        """Return the keys of a result's ``config`` beside those of the protocol."""
        images = [str(Path(path).absolute()) for path in self.images] if self.images else None
        return {"images": images, "set_governor": self.governor}
