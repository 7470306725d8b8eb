"""Photo formats: what a header says, and whether a file is whole, before anything is decoded.

One module a format, each with one pure function ``inspect(data) -> Header``. Formats are known by
their first bytes and never by their name. A file whose header cannot be read here is not given to
OpenCV, whose decoders allocate what a header claims.
"""

from __future__ import annotations

from edgead._formats import bmp, foreign, jpeg, jpeg2000, png, pnm, tiff, webp
from edgead._formats.header import Alpha, Damage, Header, Refusal

__all__ = ["Alpha", "Damage", "Header", "Refusal", "inspect", "is_jpeg"]


def inspect(data: bytes) -> Header:
    """Read a photo's header, and see whether the file is whole.

    Args:
        data: The file.

    Raises:
        Refusal: The format or its kind is not read.
        Damage: The file is not whole.
    """
    if is_jpeg(data):
        return jpeg.inspect(data)
    if data.startswith(png.START):
        return png.inspect(data)
    if data.startswith(tiff.STARTS):
        return tiff.inspect(data)
    if data.startswith(bmp.START):
        return bmp.inspect(data)
    if pnm.START.match(data):
        return pnm.inspect(data)
    if webp.is_webp(data):
        return webp.inspect(data)
    if data.startswith((jpeg2000.START, jpeg2000.STREAM_START)):
        return jpeg2000.inspect(data)
    name = foreign.name_of(data)
    if name is None:
        raise Refusal("is not an image of a format that is read")
    raise Refusal(f"is in the format {name}, which is not read")


def is_jpeg(data: bytes) -> bool:
    """Whether a file begins like a JPEG."""
    return data.startswith(jpeg.START)
