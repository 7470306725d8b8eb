"""JPEG 2000: the boxes and the codestream's headers."""

from __future__ import annotations

import struct

from edgead._formats.header import Alpha, Damage, Header, Refusal, has_zeros, peak

START = b"\0\0\0\x0cjP  \r\n\x87\n"
STREAM_START = b"\xff\x4f\xff\x51"
_TILE_PART, _DATA, _END = 0xFF90, 0xFF93, b"\xff\xd9"
_SRGB, _GREY = 16, 17
_COLOURS = {1: (_GREY, None), 3: (_SRGB, None), 4: (_SRGB, None)}
_INTEGER = 4  # OpenJPEG decodes every sample to 32 bits

_HOLE = 64
_EVEN_PIXELS_PER_ZERO = 64
"""Zero bytes in a row that an encoder may write: an empty packet is one zero byte, and a tile has
one for each layer, resolution, colour and precinct."""


def inspect(data: bytes) -> Header:
    """Read the header of a JPEG 2000 file or codestream, and see whether it is whole.

    Args:
        data: The file.

    Raises:
        Refusal: Its colours are not grey, RGB or RGBA of equal bits and size.
        Damage: It is cut, or its headers are broken.
    """
    try:
        return _inspect(data)
    except (struct.error, IndexError) as error:
        raise Damage("its headers are cut, so it is truncated") from error


def _inspect(data: bytes) -> Header:
    stream, colour = (data, None) if data.startswith(STREAM_START) else _stream(data)
    if not stream.startswith(STREAM_START):
        raise Damage("its pixels are missing")
    right, bottom, left, top = struct.unpack_from(">IIII", stream, 8)
    tile_width, tile_height = struct.unpack_from(">II", stream, 24)
    (components,) = struct.unpack_from(">H", stream, 40)
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0 or not (tile_width and tile_height):
        raise Damage("its header is not valid")
    if components not in _COLOURS or colour not in _COLOURS[components]:
        raise Refusal(
            f"is a JPEG 2000 of {components} components in colours other than grey or RGB, which "
            "is not read"
        )
    kinds = {bytes(stream[42 + 3 * index : 45 + 3 * index]) for index in range(components)}
    bits, across, down = stream[42] + 1, stream[43], stream[44]
    if len(kinds) != 1 or across != 1 or down != 1 or bits > 16:
        raise Refusal(
            "is a JPEG 2000 whose components differ, are subsampled, signed or of more than 16 "
            "bits, which is not read"
        )
    _walk_tile_parts(stream, _HOLE + width * height // _EVEN_PIXELS_PER_ZERO)
    has_alpha = components == 4
    stored = components * (1 if bits <= 8 else 2)
    return Header(
        f"{bits}-bit JPEG 2000{' with alpha' if has_alpha else ''}",
        width,
        height,
        memory=peak(stored, bits, decoder=stored + _INTEGER * components, has_alpha=has_alpha),
        white=(1 << bits) - 1,
        alpha=Alpha.STRAIGHT if has_alpha else Alpha.NONE,
    )


def _stream(data: bytes) -> tuple[bytes, int | None]:
    """Return the codestream of a file, and the colours that its first colour box names."""
    colour: int | None = None
    stream = b""
    boxes = [(len(START), len(data))]
    while boxes:
        position, end = boxes.pop()
        while position + 8 <= end:
            length, kind = struct.unpack_from(">I4s", data, position)
            inside = position + 8
            if length == 1:
                (length,) = struct.unpack_from(">Q", data, inside)
                inside += 8
            length = length or end - position
            if length < inside - position or position + length > end:
                raise Damage("its boxes are cut, so it is truncated")
            if kind == b"jp2h":
                boxes.append((inside, position + length))
            elif kind == b"pclr":
                raise Refusal("is a JPEG 2000 with a palette, which is not read")
            elif kind == b"colr" and data[inside] == 1 and colour is None:
                (colour,) = struct.unpack_from(">I", data, inside + 3)
            elif kind == b"jp2c" and not stream:
                stream = data[inside : position + length]
            position += length
    return stream, colour


def _walk_tile_parts(stream: bytes, most_zeros: int) -> None:
    position = 2
    while True:  # the main header
        marker, length = struct.unpack_from(">HH", stream, position)
        if marker == _TILE_PART:
            break
        if marker < 0xFF00 or length < 2:
            raise Damage("its headers are broken")
        position += 2 + length
    if has_zeros(stream[position:], most_zeros):
        raise Damage("there is a hole of zeros in its pixels")
    while stream[position : position + 2] != _END:
        marker, _, _, length = struct.unpack_from(">HHHI", stream, position)
        if marker != _TILE_PART:
            raise Damage("its tiles are broken")
        if length == 0:  # to the end
            position = len(stream.rstrip(b"\0")) - 2
            if stream[position : position + 2] != _END:
                raise Damage("its end is missing, so it is truncated")
            return
        if length < 14:
            raise Damage("its tiles are broken")
        position += length
        if position + 2 > len(stream):
            raise Damage("its end is missing, so it is truncated")
