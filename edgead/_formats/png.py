"""PNG: chunks and their checksums, and what they say about the pixels."""

from __future__ import annotations

import zlib

from edgead._formats.exif import orientation
from edgead._formats.header import Alpha, Damage, Header, Refusal, peak

START = b"\x89PNG\r\n\x1a\n"
_GREY, _COLOUR, _PALETTE, _GREY_ALPHA, _COLOUR_ALPHA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _COLOUR: 3, _PALETTE: 1, _GREY_ALPHA: 2, _COLOUR_ALPHA: 4}
_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _COLOUR: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _COLOUR_ALPHA: (8, 16),
}
_DEFLATE_MOST = 1032
"""Bytes that one byte of deflate can become."""


def inspect(data: bytes) -> Header:
    """Read the header of a PNG, and see whether it is whole.

    Args:
        data: The file.

    Raises:
        Refusal: It is an animation.
        Damage: It is cut, a checksum is wrong, or its header is not a valid one.
    """
    chunks, packed = _chunks(data)
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13:
        raise Damage("its header is missing")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, interlace = header[8], header[9], header[12]
    if not (width and height and depth in _DEPTHS.get(colour, ()) and interlace in (0, 1)):
        raise Damage("its header is not valid")
    if int.from_bytes(chunks.get(b"acTL", b"")[:4], "big") > 1:
        raise Refusal("is an animated PNG, and it is not known which picture is the photo")
    if (width * _SAMPLES[colour] * depth + 7) // 8 * height > _DEFLATE_MOST * packed:
        raise Damage(f"its header says {width}x{height} px, and {packed} bytes cannot hold them")
    is_grey = colour == _GREY
    has_alpha = colour in (_GREY_ALPHA, _COLOUR_ALPHA) or (b"tRNS" in chunks and not is_grey)
    turned = orientation(chunks.get(b"eXIf", b""))
    stored = (4 if has_alpha else 1 if is_grey else 3) * (2 if depth == 16 else 1)
    return Header(
        f"{depth}-bit PNG{' with alpha' if has_alpha else ''}",
        width,
        height,
        memory=peak(stored, depth, has_alpha=has_alpha, is_turned=turned != 1),
        bits=_stated_bits(chunks.get(b"sBIT", b""), colour, depth),
        alpha=Alpha.STRAIGHT if has_alpha else Alpha.NONE,
        transparent=_transparent(chunks.get(b"tRNS", b""), depth) if is_grey else None,
        orientation=turned,
    )


def _chunks(data: bytes) -> tuple[dict[bytes, bytes], int]:
    """Return the chunks other than the pixels, the first of each kind, and the pixels' bytes."""
    view = memoryview(data)
    found: dict[bytes, bytes] = {}
    packed, position = 0, len(START)
    while position + 12 <= len(data):
        length = int.from_bytes(view[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(data):
            break
        kind = bytes(view[position + 4 : position + 8])
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise Damage(f"the checksum of its chunk {kind!r} is wrong")
        if kind == b"IDAT":
            packed += length
        elif kind == b"IEND":
            return found, packed
        elif kind not in found:
            found[kind] = bytes(view[position + 8 : end])
        position = end + 4
    raise Damage("its end is missing, so it is truncated")


def _stated_bits(content: bytes, colour: int, depth: int) -> int | None:
    """Return the bits that sBIT states for the colours, where they are fewer than stored."""
    colours = 3 if colour in (_COLOUR, _COLOUR_ALPHA) else 1
    bits = set(content[:colours])
    if colour == _PALETTE or len(bits) != 1:  # a palette has 8 bits, whatever its indices have
        return None
    (stated,) = bits
    return stated if 0 < stated < depth and depth >= 8 else None


def _transparent(content: bytes, depth: int) -> int | None:
    """Return the transparent grey value, as decoding scales it."""
    if len(content) != 2:
        return None
    value = int.from_bytes(content, "big") & ((1 << depth) - 1)
    return value if depth >= 8 else value * 255 // ((1 << depth) - 1)
