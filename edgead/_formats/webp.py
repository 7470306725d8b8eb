"""WebP: the RIFF chunks, and what of a file's damage shows without decoding."""

from __future__ import annotations

from edgead._formats.exif import orientation
from edgead._formats.header import Alpha, Damage, Header, Refusal, has_zeros, peak

_ANIMATED, _ALPHA = 0x02, 0x10
_LOSSY, _LOSSLESS, _EXTENDED = b"VP8 ", b"VP8L", b"VP8X"
_LOSSY_START, _LOSSLESS_START = b"\x9d\x01\x2a", 0x2F

_ZEROS = 64
_EVEN_PIXELS_PER_ZERO = 8192
"""Zero bytes in a row that an encoder writes: 18 at the most in photos, and in lossy files one for
each 10,000 pixels of an even surface (all of 3000x2000 pixels: 596)."""


def is_webp(data: bytes) -> bool:
    """Whether a file begins like a WebP."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def inspect(data: bytes) -> Header:
    """Read the header of a WebP, and see whether it is whole.

    Args:
        data: The file.

    Raises:
        Refusal: It is an animation.
        Damage: It is cut, its chunks are broken, or its pixels have a hole of zeros.
    """
    chunks = _chunks(data)
    extended = chunks.get(_EXTENDED, b"")
    flags = extended[0] if len(extended) >= 10 else 0
    if flags & _ANIMATED or b"ANIM" in chunks or b"ANMF" in chunks:
        raise Refusal("is an animated WebP, and it is not known which picture is the photo")
    if _LOSSY in chunks:
        width, height = _lossy(chunks[_LOSSY])
        has_alpha = b"ALPH" in chunks
    elif _LOSSLESS in chunks:
        width, height, has_alpha = _lossless(chunks[_LOSSLESS])
    else:
        raise Damage("it has no pixels")
    if extended and (_number(extended[4:7]) + 1, _number(extended[7:10]) + 1) != (width, height):
        raise Damage("it states two different sizes")
    has_alpha = has_alpha and (not extended or bool(flags & _ALPHA))
    turned = orientation(bytes(chunks.get(b"EXIF", b"")))
    return Header(
        "WebP with alpha" if has_alpha else "WebP",
        width,
        height,
        memory=peak(
            4 if has_alpha else 3, 8, decoder=5, has_alpha=has_alpha, is_turned=turned != 1
        ),
        alpha=Alpha.STRAIGHT if has_alpha else Alpha.NONE,
        orientation=turned,
    )


def _chunks(data: bytes) -> dict[bytes, bytes]:
    end = 8 + _number(data[4:8])
    if end > len(data):
        raise Damage("its end is missing, so it is truncated")
    found: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= end:
        kind, length = data[position : position + 4], _number(data[position + 4 : position + 8])
        if position + 8 + length > end:
            raise Damage("its chunks are broken")
        found.setdefault(kind, data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return found


def _lossy(frame: bytes) -> tuple[int, int]:
    tag = _number(frame[:3])
    is_key, first, partitions = not tag & 1, tag >> 5, frame[10:]
    if len(frame) < 10 or not is_key or frame[3:6] != _LOSSY_START or first > len(partitions):
        raise Damage("its pixels are broken")
    width, height = _number(frame[6:8]) & 0x3FFF, _number(frame[8:10]) & 0x3FFF
    if not (width and height):
        raise Damage(f"its header says {width}x{height} px")
    _refuse_hole(frame, _ZEROS + width * height // _EVEN_PIXELS_PER_ZERO)
    return width, height


def _lossless(stream: bytes) -> tuple[int, int, bool]:
    if len(stream) < 5 or stream[0] != _LOSSLESS_START:
        raise Damage("its pixels are broken")
    _refuse_hole(stream, _ZEROS)
    bits = _number(stream[1:5])
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)


def _refuse_hole(pixels: bytes, most: int) -> None:
    if has_zeros(pixels, most):
        raise Damage("there is a hole of zeros in its pixels")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
