"""JPEG: the frame header, and what of a file's damage shows without decoding."""

from __future__ import annotations

from edgead._formats.exif import orientation
from edgead._formats.header import Damage, Header, Refusal, peak

START = b"\xff\xd8\xff"
_END = b"\xff\xd9"
_SCAN, _TABLES, _APP1, _APP14 = 0xDA, 0xC4, 0xE1, 0xEE
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_TABLES, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})

_END_OF_BLOCK = 0
_MOST_PADDING = 8

_PIXELS_PER_BYTE = 512
"""A block of 8x8 takes a bit or more, in the scan that takes least of a progressive file."""

_ZEROS = bytes(128)
"""Where zeros do not end a block, so many can only be blocks whose coefficients are all the same: a
hole. No encoder made them in 6,000 photos."""


def inspect(data: bytes) -> Header:
    """Read the header of a JPEG, and see whether it is whole.

    Args:
        data: The file.

    Raises:
        Refusal: Its kind is not read (CMYK, 12 bits, lossless, arithmetic coding).
        Damage: It is cut, its segments are broken, or its scan has a hole.
    """
    segments, scan = _segments(data)
    frames = [(marker, content) for marker, content in segments if marker in _FRAMES]
    if len(frames) != 1:
        raise Damage(f"it has {len(frames)} frame headers before its pixels")
    marker, frame = frames[0]
    if marker not in (_BASELINE, _EXTENDED, _PROGRESSIVE):
        raise Refusal("is a JPEG in lossless, hierarchical or arithmetic coding, which is not read")
    if len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        raise Damage("its frame header is broken")
    bits, components = frame[0], frame[5]
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if bits != 8:
        raise Refusal(f"is a JPEG of {bits} bits a sample, which is not read")
    if components not in (1, 3):
        raise Refusal(f"is a JPEG of {components} components (CMYK has 4), which is not read")
    if width == 0 or height == 0:
        raise Damage(f"its header says {width}x{height} px")
    # Pixels never hold the end marker, but a thumbnail before them and a camera's own data
    # behind them may: so look for the first one after the scan begins.
    end = data.find(_END, scan)
    if end < 0:
        raise Damage("its end is missing, so it is truncated")
    size = end - scan
    if width * height > _PIXELS_PER_BYTE * size:
        raise Damage(f"its header says {width}x{height} px, and {size} bytes cannot hold them")
    is_progressive = marker == _PROGRESSIVE
    has_hole = not is_progressive and data.find(_ZEROS, scan, end) >= 0
    if has_hole and _zeros_are_pixels(data[scan : scan + 20], segments, components):
        raise Damage("there is a hole of zeros in its pixels")
    exif = next((content for kind, content in segments if kind == _APP1), b"")
    memory = peak(
        3,
        bits,
        decoder=_coefficients(frame) if is_progressive else 0.0,
        is_turned=orientation(exif) != 1,
    )
    return Header("progressive JPEG" if is_progressive else "JPEG", width, height, memory)


def is_padding(data: bytes, count: int) -> bool:
    """Whether the bytes before the end are what some cameras fill up with, and no lost pixels.

    Args:
        data: A whole JPEG.
        count: How many bytes libjpeg had no use for.
    """
    end = data.find(_END, _segments(data)[1])
    return count <= _MOST_PADDING and set(data[end - count : end]) in ({0x00}, {0xFF}, {0x00, 0xFF})


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Return the segments before the first scan, and where that scan's header begins."""
    found: list[tuple[int, bytes]] = []
    position = 2
    while True:
        if data[position : position + 1] != b"\xff":
            raise Damage("its segments are broken" if position < len(data) else "it is truncated")
        while data[position : position + 1] == b"\xff":
            position += 1
        marker = data[position] if position < len(data) else 0
        position += 1
        if marker in _ALONE:
            continue
        if marker == _SCAN:
            return found, position
        length = int.from_bytes(data[position : position + 2], "big")
        if length < 2 or position + length > len(data):
            cut = position + length > len(data)
            raise Damage("it is truncated" if cut else "its segments are broken")
        found.append((marker, data[position + 2 : position + length]))
        position += length


def _coefficients(frame: bytes) -> float:
    """Return the bytes of coefficients that a progressive file takes for each pixel."""
    samplings = [
        (frame[7 + 3 * index] >> 4, frame[7 + 3 * index] & 15) for index in range(frame[5])
    ]
    if any(not (1 <= across <= 4 and 1 <= down <= 4) for across, down in samplings):
        raise Damage("its frame header is broken")
    most = max(across for across, _ in samplings) * max(down for _, down in samplings)
    return 2.0 * sum(across * down for across, down in samplings) / most


def _zeros_are_pixels(scan: bytes, segments: list[tuple[int, bytes]], components: int) -> bool:
    """Whether a block of some component cannot end in a run of zeros.

    Where each one's ends (in tables made for an even photo), such runs are what it looks like.

    Args:
        scan: From the length of the first scan's header.
        segments: What is before it.
        components: Of the frame.
    """
    if len(scan) < 3 + 2 * components or scan[2] != components:
        return False  # a scan for each component, or damage that libjpeg reports
    used = {scan[4 + 2 * index] & 15 for index in range(components)}
    tables = b"".join(content for marker, content in segments if marker == _TABLES)
    position = 0
    shortest: dict[int, int] = {}
    while position + 17 < len(tables):
        if tables[position] & 0x10:
            shortest[tables[position] & 15] = tables[position + 17]
        position += 17 + sum(tables[position + 1 : position + 17])
    return any(shortest.get(table, _END_OF_BLOCK) != _END_OF_BLOCK for table in used)
