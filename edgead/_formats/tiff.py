"""TIFF: the directory of the first page, and which kinds of pages are read.

OpenCV reads some TIFFs as another picture without a word (planes of 16 bits, MinIsWhite of 16 bits,
straight alpha, compressions that it lacks), so only the decompression of LZW, PackBits and JPEG is
left to it (``tiff_pixels``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgead._formats.header import Alpha, Damage, Header, Refusal, peak

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
_MOST_PER_BYTE = {NONE: 1, LZW: 4096, JPEG: 2048, DEFLATE: 1032, OLD_DEFLATE: 1032, PACKBITS: 64}
"""Bytes that one byte of a compressed strip can become."""

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_COLOURS = {5: "CMYK", 8: "CIE Lab", 9: "ICC Lab", 32803: "raw sensor", 32844: "Log luminance"}
_COLOUR_SAMPLES = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, YCBCR: 3}

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL_ORDER, _OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _COUNTS = 266, 273, 274, 277, 278, 279
_MOST_SAMPLE, _PLANAR, _PREDICTOR, _COLOUR_MAP = 281, 284, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _MOST_SAMPLE_VALUE = 338, 339, 341
KEPT_FOR_JPEG = (347, 529, 530, 531, 532)  # tables, and how YCbCr is meant

_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_REDUCED, _MASK = 1, 4
_MOST_PAGES = 1000
_SENSOR_WHITES = frozenset((1 << bits) - 1 for bits in range(9, 16))


@dataclass(frozen=True)
class Tag:
    """One entry of a directory: its type, its count and the bytes of its values."""

    type: int
    count: int
    raw: bytes


@dataclass(frozen=True)
class Page(Header):
    """A page that is read, with where its samples lie.

    Attributes:
        order: ``<`` or ``>``, of numbers in the file.
        is_big: Whether it is a BigTIFF.
        samples: Samples of a pixel, alpha and others included.
        depth: Bits of a stored sample.
        photometric: What the colour samples mean.
        compression: Of each block.
        has_predictor: Whether samples are differences to the pixel at their left.
        planes: 1 for interleaved samples, else as many as samples.
        block: Height and width in pixels of a strip or tile.
        is_tiled: Whether the blocks are tiles.
        offsets: Where blocks begin, plane by plane.
        counts: Their bytes.
        palette: Colour map, all reds first, 16 bits; empty for other photometrics.
        tags: The directory as it is.
    """

    order: str = "<"
    is_big: bool = False
    samples: int = 1
    depth: int = 8
    photometric: int = MIN_IS_BLACK
    compression: int = NONE
    has_predictor: bool = False
    planes: int = 1
    block: tuple[int, int] = (1, 1)
    is_tiled: bool = False
    offsets: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    palette: tuple[int, ...] = ()
    tags: tuple[tuple[int, Tag], ...] = ()


def inspect(data: bytes) -> Page:
    """Read the directory of a TIFF, and see whether its page can be read right and is whole.

    Args:
        data: The file.

    Raises:
        Refusal: Its kind is not read, or it has several pages.
        Damage: It is cut, or its directory is broken.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    try:
        tags, following = _directory(data, order, is_big, _first(data, order, is_big))
        _refuse_other_pages(data, order, is_big, tags, following)
        return _page(data, order, is_big, tags)
    except struct.error as error:
        raise Damage("its directory is cut, so it is truncated") from error


def values(tag: Tag, order: str) -> tuple[int, ...]:
    """Return the numbers of a tag; none where it holds no whole numbers."""
    code = _TYPES.get(tag.type)
    return struct.unpack(f"{order}{tag.count}{code}", tag.raw) if code else ()


def _first(data: bytes, order: str, is_big: bool) -> int:
    if is_big and struct.unpack_from(f"{order}HH", data, 4) != (8, 0):
        raise Damage("its header is not valid")
    return int(struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)[0])


def _directory(data: bytes, order: str, is_big: bool, at: int) -> tuple[dict[int, Tag], int]:
    """Return the tags of a directory, and where the next directory is (0 for none)."""
    count, long, size = ("Q", "Q", 20) if is_big else ("H", "I", 12)
    if at > len(data):
        raise Damage("its directory lies behind its end, so it is truncated")
    (entries,) = struct.unpack_from(f"{order}{count}", data, at)
    at += struct.calcsize(count)
    if entries > 4096 or at + entries * size > len(data):
        raise Damage("its directory is broken")
    tags: dict[int, Tag] = {}
    for position in range(at, at + entries * size, size):
        number, kind, values_count = struct.unpack_from(f"{order}HH{long}", data, position)
        length = _SIZES.get(kind, 0) * values_count
        place = position + 4 + struct.calcsize(long)
        if length > struct.calcsize(long):
            (place,) = struct.unpack_from(f"{order}{long}", data, place)
        if place + length > len(data):
            raise Damage("a value of its directory lies behind its end, so it is truncated")
        tags.setdefault(number, Tag(kind, values_count, data[place : place + length]))
    (following,) = struct.unpack_from(f"{order}{long}", data, at + entries * size)
    return tags, following


def _refuse_other_pages(
    data: bytes, order: str, is_big: bool, first: dict[int, Tag], following: int
) -> None:
    if _number(first, _SUBFILE, order, 0) & (_REDUCED | _MASK):
        raise Refusal("is a TIFF whose first page is a thumbnail or a mask (raw photos are)")
    pages = 1
    for _ in range(_MOST_PAGES):
        if following == 0:
            break
        tags, following = _directory(data, order, is_big, following)
        pages += not _number(tags, _SUBFILE, order, 0) & (_REDUCED | _MASK)
    if pages > 1:
        raise Refusal(f"is a TIFF of {pages} pages, and it is not known which one is the photo")


def _number(tags: dict[int, Tag], number: int, order: str, default: int) -> int:
    found = values(tags[number], order) if number in tags else ()
    return found[0] if found else default


def _page(data: bytes, order: str, is_big: bool, tags: dict[int, Tag]) -> Page:
    def number(tag: int, default: int) -> int:
        return _number(tags, tag, order, default)

    def several(tag: int) -> tuple[int, ...]:
        return values(tags[tag], order) if tag in tags else ()

    width, height = number(_WIDTH, 0), number(_HEIGHT, 0)
    samples, compression = number(_SAMPLES, 1), number(_COMPRESSION, NONE)
    photometric = number(_PHOTOMETRIC, -1)
    if not (0 < width < 1 << 24 and 0 < height < 1 << 24 and 0 < samples < 1000):
        raise Damage(f"its directory says {width}x{height} px of {samples} samples")
    depth = _depth(several(_BITS) or (1,), several(_SAMPLE_FORMAT) or (1,))
    if photometric not in _COLOUR_SAMPLES or (photometric == YCBCR and compression != JPEG):
        name = "YCbCr" if photometric == YCBCR else _COLOURS.get(photometric, f"{photometric}")
        raise Refusal(f"is a TIFF in {name} colours, which are not read")
    if compression not in _MOST_PER_BYTE or number(_FILL_ORDER, 1) != 1:
        raise Refusal(
            f"is a TIFF with compression {compression}, which is not read (none, LZW, Deflate, "
            "PackBits and JPEG are)"
        )
    extra = samples - _COLOUR_SAMPLES[photometric]
    planes = samples if number(_PLANAR, 1) == 2 else 1
    predictor = number(_PREDICTOR, 1) if compression != JPEG else 1
    jpeg_like = photometric in (MIN_IS_BLACK, RGB, YCBCR) and (depth, extra, planes) == (8, 0, 1)
    if (
        not 0 <= extra <= 4
        or (photometric == PALETTE and (depth > 8 or extra))
        or (compression == JPEG and not jpeg_like)
        or predictor not in (1, 2)
        or (predictor == 2 and (depth not in (8, 16) or compression in (NONE, PACKBITS)))
    ):
        raise Refusal(
            f"is a TIFF of {samples} samples of {depth} bits with compression {compression}, "
            "which is not read"
        )
    palette = several(_COLOUR_MAP) if photometric == PALETTE else ()
    if photometric == PALETTE and len(palette) != 3 << depth:
        raise Damage("its colour map is broken")
    is_tiled = _TILE_OFFSETS in tags
    rows = min(number(_ROWS, height) or height, height)
    block = (number(_TILE_HEIGHT, 0), number(_TILE_WIDTH, 0)) if is_tiled else (rows, width)
    turned = number(_ORIENTATION, 1)
    alpha = _alpha(extra, several(_EXTRA_SAMPLES))
    page = Page(
        kind=_name(depth, photometric, planes, extra),
        width=width,
        height=height,
        memory=_memory(samples, depth, compression, alpha.needs_sample),
        white=None
        if palette
        else _white(depth, several(_MOST_SAMPLE), several(_MOST_SAMPLE_VALUE)),
        alpha=alpha,
        orientation=turned if 1 <= turned <= 8 else 1,
        order=order,
        is_big=is_big,
        samples=samples,
        depth=depth,
        photometric=photometric,
        compression=compression,
        has_predictor=predictor == 2,
        planes=planes,
        block=block,
        is_tiled=is_tiled,
        offsets=several(_TILE_OFFSETS if is_tiled else _OFFSETS),
        counts=several(_TILE_COUNTS if is_tiled else _COUNTS),
        palette=palette,
        tags=tuple(tags.items()),
    )
    _check_blocks(page, len(data))
    return page


def _depth(bits: tuple[int, ...], formats: tuple[int, ...]) -> int:
    if set(formats) != {1}:
        kind = {2: "int", 3: "float"}.get(formats[0])
        named = f"{kind}{bits[0]}" if kind else "samples of an unusual format"
        raise Refusal(
            f"is a TIFF that holds {named} instead of whole numbers from 0, so its brightness is "
            "not defined"
        )
    if len(set(bits)) != 1 or bits[0] not in (1, 2, 4, 8, 10, 12, 14, 16):
        raise Refusal(f"is a TIFF of {'/'.join(map(str, bits[:8]))} bits, which is not read")
    return bits[0]


def _name(depth: int, photometric: int, planes: int, extra: int) -> str:
    colours = {MIN_IS_WHITE: "grey (0 is white)", MIN_IS_BLACK: "grey", PALETTE: "palette"}
    behind = f" with {extra} extra sample{'s' * (extra > 1)}" if extra else ""
    planar = " in planes" if planes > 1 else ""
    return f"{depth}-bit {colours.get(photometric, 'colour')} TIFF{planar}{behind}"


def _memory(samples: int, depth: int, compression: int, has_alpha: bool) -> float:
    """Return bytes for each pixel: rows, samples of them, and what becomes of them."""
    stored = samples * (2 if depth > 8 else 1)
    copies = 2 * stored + 2 if compression == NONE else 3 * stored + 1
    return max(copies, peak(stored, depth, has_alpha=has_alpha))


def _white(depth: int, most: tuple[int, ...], most_value: tuple[int, ...]) -> int:
    """Return the value of white.

    The tags for the largest value are statistics of one photo, by the standard. Only where they
    are a sensor's white (1023, 4095, 16383) they say how its bits are stored.
    """
    stated = set(most_value or most)
    if depth == 16 and len(stated) == 1 and stated <= _SENSOR_WHITES:
        return stated.pop()
    return (1 << depth) - 1


def _alpha(extra: int, meanings: tuple[int, ...]) -> Alpha:
    if extra == 0 or not meanings:
        return Alpha.NONE
    return {1: Alpha.PREMULTIPLIED, 2: Alpha.STRAIGHT}.get(meanings[0], Alpha.NONE)


def _check_blocks(page: Page, size: int) -> None:
    rows, columns = page.block
    if not (0 < rows < 1 << 24 and 0 < columns < 1 << 24):
        raise Damage(f"its directory says blocks of {columns}x{rows} px")
    per_plane = -(-page.height // rows) * -(-page.width // columns)
    needed = per_plane * page.planes
    if len(page.offsets) < needed or len(page.counts) < needed:
        raise Damage(f"its directory has {len(page.offsets)} of {needed} blocks")
    in_block = page.samples // page.planes
    block_bytes = rows * ((columns * in_block * page.depth + 7) // 8)
    stored = 0
    for offset, count in zip(page.offsets[:needed], page.counts[:needed], strict=True):
        if offset + count > size:
            raise Damage("its pixels lie behind its end, so it is truncated")
        stored += min(count, block_bytes)
    rows_bytes = page.height * ((page.width * in_block * page.depth + 7) // 8) * page.planes
    if rows_bytes > _MOST_PER_BYTE[page.compression] * stored:
        raise Damage(
            f"its directory says {page.width}x{page.height} px, and {stored} bytes cannot hold them"
        )
    if page.is_tiled and block_bytes * per_plane > 4 * max(rows_bytes, 1 << 20):
        raise Damage(f"its directory says tiles of {columns}x{rows} px for so small a photo")
