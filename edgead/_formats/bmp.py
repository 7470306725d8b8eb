"""BMP: the header, and whether the pixels that it promises are there."""

from __future__ import annotations

import struct

from edgead._formats.header import Alpha, Damage, Header, Refusal, peak

START = b"BM"
_CORE, _INFO = 12, 40
_PLAIN, _MASKS, _MASKS_WITH_ALPHA = 0, 3, 6
_COMPRESSED = {1: "run-length coding", 2: "run-length coding", 4: "a JPEG in it", 5: "a PNG in it"}
_BGRA = (0xFF0000, 0xFF00, 0xFF)
_ORDERS = {16: ((0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)), 32: (_BGRA,)}


def inspect(data: bytes) -> Header:
    """Read the header of a BMP, and see whether its pixels are there.

    Args:
        data: The file.

    Raises:
        Refusal: It is compressed, or its colours lie in an unusual order.
        Damage: It is cut, or its header is not a valid one.
    """
    try:
        return _inspect(data)
    except struct.error as error:
        raise Damage("its header is cut, so it is truncated") from error


def _inspect(data: bytes) -> Header:
    start, size = struct.unpack_from("<II", data, 10)
    compression, used = _PLAIN, 0
    if size == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    elif _INFO <= size <= 1024:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        used = struct.unpack_from("<I", data, 46)[0]
    else:
        raise Damage("its header is not valid")
    height = abs(height)
    if compression in _COMPRESSED:
        raise Refusal(f"is a BMP with {_COMPRESSED[compression]}, which is not read")
    has_masks = compression in (_MASKS, _MASKS_WITH_ALPHA)
    if (
        width <= 0
        or height == 0
        or bits not in (1, 4, 8, 16, 24, 32)
        or (compression != _PLAIN and not (has_masks and bits in _ORDERS))
        or used > 256
    ):
        raise Damage("its header is not valid")
    alpha = 0
    if has_masks:
        masks = struct.unpack_from("<III", data, 54)
        if masks not in _ORDERS[bits]:
            raise Refusal("is a BMP whose colours lie in an unusual order, which is not read")
        if size >= 56 or compression == _MASKS_WITH_ALPHA:
            alpha = struct.unpack_from("<I", data, 66)[0]
    if start < 14 + size or start + (width * bits + 31) // 32 * 4 * height > len(data):
        raise Damage(f"its header says {width}x{height} px, and it ends before, so it is truncated")
    has_alpha = alpha != 0 and bits == 32
    return Header(
        "BMP with alpha" if has_alpha else "BMP",
        width,
        height,
        memory=peak(4 if has_alpha else 3, 8, has_alpha=has_alpha),
        alpha=Alpha.STRAIGHT if has_alpha else Alpha.NONE,
    )
