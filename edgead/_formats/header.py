"""What a photo's header says, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Refusal(Exception):
    """A photo cannot be read right. The text follows the file's name in a sentence."""


class Damage(Refusal):
    """A photo is not whole. The text is what is wrong with it."""


class Alpha(Enum):
    """What the sample behind the colours means."""

    NONE = "no alpha, or one that nobody wrote"
    STRAIGHT = "colours are as without it"
    PREMULTIPLIED = "colours lie over black already"

    @property
    def needs_sample(self) -> bool:
        """Whether the photo cannot be made without the sample."""
        return self is Alpha.STRAIGHT


@dataclass(frozen=True)
class Header:
    """The facts of a photo that decoding and its limits need.

    Attributes:
        kind: The format and what is special about the photo, for a sentence ("16-bit PNG").
        width: Pixels, as stored (before an EXIF rotation).
        height: Pixels, as stored.
        memory: Bytes for each pixel at the peak of decoding, the result included.
        white: The sample value that is white; ``None`` for the largest of the decoded dtype.
        bits: Bits of a sample that the writer states where they may be fewer than stored ones
            (PNG's sBIT); ``None`` where nothing is stated.
        alpha: What a fourth sample means.
        transparent: The sample value of a grey photo that stands for no pixel.
        orientation: EXIF orientation that is still to be applied, 1 to 8.
    """

    kind: str
    width: int
    height: int
    memory: float
    white: int | None = None
    bits: int | None = None
    alpha: Alpha = Alpha.NONE
    transparent: int | None = None
    orientation: int = 1

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height


def has_zeros(pixels: bytes, count: int) -> bool:
    """Whether there are so many zero bytes in a row."""
    return count <= len(pixels) and bytes(count) in pixels


def peak(
    stored: float,
    bits: int,
    *,
    decoder: float = 0.0,
    has_alpha: bool = False,
    is_turned: bool = False,
) -> float:
    """Return the bytes for each pixel that are taken at the worst moment of making a photo.

    Args:
        stored: Bytes for each pixel as they are decoded; OpenCV's binding copies them once.
        bits: Of a sample; 16-bit samples are brought to 8 bits in a second array.
        decoder: What the decoder takes for itself beside its first array.
        has_alpha: Whether there is a fourth sample.
        is_turned: Whether EXIF turns the photo, which takes a copy.
    """
    eight = stored / 2 if bits > 8 else stored
    alive = stored + eight if bits > 8 else stored
    moments = [2 * stored, stored + decoder, alive]
    if eight < 3:
        moments.append(alive + 3)  # three channels of a grey one
    if has_alpha:
        moments.append(alive + 6)  # the colours, and one of them at a time
    if is_turned:
        moments.append(alive + 6)
    return float(max(moments))
