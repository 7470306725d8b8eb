"""PBM, PGM and PPM: the header, and whether the samples that it promises are there."""

from __future__ import annotations

import re

from edgead._formats.header import Damage, Header, peak

START = re.compile(rb"P[1-6]\s")
_SPACE = rb"(?:\s|#[^\r\n]{0,2000}[\r\n]){1,200}"
_SIZE = re.compile(rb"P([1-6])" + _SPACE + rb"(\d{1,10})" + _SPACE + rb"(\d{1,10})")
_WHITE = re.compile(_SPACE + rb"(\d{1,10})\s")


def inspect(data: bytes) -> Header:
    """Read the header of a PBM, PGM or PPM, and see whether its samples can all be there.

    Args:
        data: The file.

    Raises:
        Damage: It is cut, or its header is not a valid one.
    """
    size = _SIZE.match(data)
    if size is None:
        raise Damage("its header is not valid")
    kind, width, height = size[1], int(size[2]), int(size[3])
    is_text, is_bilevel, samples = kind in b"123", kind in b"14", 3 if kind in b"36" else 1
    end, white = size.end() + 1, 1
    if not is_bilevel:
        stated = _WHITE.match(data, size.end())
        if stated is None:
            raise Damage("its header is not valid")
        end, white = stated.end(), int(stated[1])
    if not (width and height and 0 < white < 65536):
        raise Damage("its header is not valid")
    wide = 2 if white > 255 else 1
    if is_text:  # a digit, and a space behind each but the last
        needed = width * height if is_bilevel else 2 * width * height * samples - 1
    else:
        needed = height * ((width + 7) // 8 if is_bilevel else width * samples * wide)
    if needed > len(data) - end:
        raise Damage(f"its header says {width}x{height} px, and it ends before, so it is truncated")
    scales_itself = is_bilevel or (is_text and wide == 1)  # OpenCV does
    return Header(
        f"{'PBM' if is_bilevel else 'PPM' if samples == 3 else 'PGM'} up to {white}",
        width,
        height,
        memory=peak(samples * wide, 8 * wide),
        white=None if scales_itself else white,
    )
