"""The samples of a TIFF page: blocks decompressed and put together, bits unpacked."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead._formats import tiff
from edgead._formats.header import Damage
from edgead._formats.tiff import Page, Tag

Bytes = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]
"""uint8 or uint16."""
Decode = Callable[[bytes], Samples]

_LEFT_TO_OPENCV = (tiff.LZW, tiff.PACKBITS)
_SHORT, _LONG = 3, 4


def samples(data: bytes, page: Page, decode: Decode) -> Samples:
    """Return the samples of a page: ``[H, W]`` grey, or ``[H, W, C]`` BGR and then alpha, if any.

    Args:
        data: The file.
        page: Its page.
        decode: Decodes a file as OpenCV stores it.

    Returns:
        uint8, or uint16 for more than 8 bits. White is the page's; MinIsWhite is inverted and a
        palette applied.

    Raises:
        Damage: A block does not hold its pixels.
    """
    if page.compression == tiff.JPEG:
        return np.asarray(decode(_plain_file(data, page, 0, page.width)))
    planes = [_unpacked(_rows(data, page, plane, decode), page) for plane in range(page.planes)]
    if page.photometric == tiff.PALETTE:
        return _coloured(planes[0][..., 0], page)
    used = 1 if page.photometric != tiff.RGB else 3
    used += page.alpha.needs_sample
    found = planes[0][..., :used] if page.planes == 1 else np.concatenate(planes[:used], axis=2)
    if page.photometric == tiff.MIN_IS_WHITE and page.white is not None:
        found = found.copy()
        found[..., 0] = page.white - np.minimum(found[..., 0], page.white)
    if used < 3:
        return found[..., 0] if used == 1 else found[..., [0, 0, 0, 1]]
    code = cv2.COLOR_RGB2BGR if used == 3 else cv2.COLOR_RGBA2BGRA
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(found), code))


def _row_bytes(page: Page, pixels: int) -> int:
    return (pixels * (page.samples // page.planes) * page.depth + 7) // 8


def _rows(data: bytes, page: Page, plane: int, decode: Decode) -> Bytes:
    """Return the decompressed bytes of one plane's rows, ``[H, bytes of a row]``."""
    rows, columns = page.block
    in_file = _row_bytes(page, columns)
    down, across = -(-page.height // rows), -(-page.width // columns)
    if page.compression in _LEFT_TO_OPENCV:
        whole = _by_opencv(data, page, plane, decode, in_file * across)
    else:
        shape = (down * rows if page.is_tiled else page.height, in_file * across)
        whole = np.zeros(shape, np.uint8)
        for index in range(down * across):
            at = plane * down * across + index
            top, left = index // across * rows, index % across * in_file
            height = rows if page.is_tiled else min(rows, page.height - top)
            packed = memoryview(data)[page.offsets[at] : page.offsets[at] + page.counts[at]]
            block = _decompressed(packed, page.compression, height * in_file)
            whole[top : top + height, left : left + in_file] = block.reshape(height, in_file)
    if page.has_predictor:
        for left in range(0, in_file * across, in_file):
            _undo_differences(whole[:, left : left + in_file], page)
    return whole[: page.height, : _row_bytes(page, page.width)]


def _decompressed(packed: memoryview, compression: int, size: int) -> Bytes:
    if compression != tiff.NONE:
        inflate = zlib.decompressobj()
        try:
            packed = memoryview(inflate.decompress(packed, size + 1))
        except zlib.error as error:
            raise Damage(f"a block of its pixels is broken ({error})") from error
        if not inflate.eof and len(packed) <= size:
            raise Damage("a block of its pixels has no end")
    if len(packed) < size:
        raise Damage(f"a block of its pixels has {len(packed)} of {size} bytes")
    return np.frombuffer(packed, np.uint8, size)


def _by_opencv(data: bytes, page: Page, plane: int, decode: Decode, width: int) -> Bytes:
    """Let OpenCV decompress, as a grey photo whose samples are the bytes of the rows.

    Of 16-bit photos it reports broken blocks, and of 8-bit ones not: so two bytes are a sample
    where rows allow that.
    """
    rows = decode(_plain_file(data, page, plane, width))
    if rows.dtype == np.uint16:
        rows = np.ascontiguousarray(rows).astype(f"{page.order}u2", copy=False).view(np.uint8)
    if rows.ndim != 2 or rows.shape != (page.height, width):
        raise Damage("its pixels cannot be decompressed")
    return rows if rows.flags.writeable else rows.copy()


def _plain_file(data: bytes, page: Page, plane: int, width: int) -> bytes:
    """Return the file with a directory behind it for one plane as a plain photo.

    Args:
        data: The file.
        page: Its page.
        plane: Which of the planes.
        width: Bytes of a row, or for JPEG its pixels.
    """
    is_jpeg = page.compression == tiff.JPEG
    per_sample = 1 if is_jpeg or width % 2 or _row_bytes(page, page.block[1]) % 2 else 2
    blocks = len(page.offsets) // page.planes if page.planes > 1 else len(page.offsets)
    mine = slice(plane * blocks, (plane + 1) * blocks)
    block_width = page.block[1] if is_jpeg else _row_bytes(page, page.block[1]) // per_sample
    numbers = {
        256: (width // per_sample,),
        257: (page.height,),
        258: (8 * per_sample,) * (page.samples if is_jpeg else 1),
        259: (page.compression,),
        262: (page.photometric if is_jpeg else tiff.MIN_IS_BLACK,),
        277: (page.samples if is_jpeg else 1,),
        284: (1,),
    }
    if page.is_tiled:
        numbers |= {322: (block_width,), 323: (page.block[0],)}
    else:
        numbers |= {278: (page.block[0],)}
    offsets, counts = (324, 325) if page.is_tiled else (273, 279)
    numbers |= {offsets: page.offsets[mine], counts: page.counts[mine]}
    kept = {number: tag for number, tag in page.tags if is_jpeg and number in tiff.KEPT_FOR_JPEG}
    return _with_directory(data, page, numbers, kept)


def _with_directory(
    data: bytes, page: Page, numbers: dict[int, tuple[int, ...]], kept: dict[int, Tag]
) -> bytes:
    order, long = page.order, "Q" if page.is_big else "I"
    room, kind = struct.calcsize(long), 16 if page.is_big else _LONG
    tags = {
        number: Tag(_SHORT, len(content), struct.pack(f"{order}{len(content)}H", *content))
        if max(content) < 1 << 16
        else Tag(kind, len(content), struct.pack(f"{order}{len(content)}{long}", *content))
        for number, content in numbers.items()
    }
    tags |= kept
    padding = bytes(-len(data) % 8)
    end = len(data) + len(padding)
    behind, entries = bytearray(), bytearray()
    for number, tag in sorted(tags.items()):
        content = tag.raw.ljust(room, b"\0")
        if len(tag.raw) > room:
            content = struct.pack(f"{order}{long}", end + len(behind))
            behind += tag.raw + bytes(-len(tag.raw) % 8)
        entries += struct.pack(f"{order}HH{long}", number, tag.type, tag.count) + content
    directory = struct.pack(f"{order}{'Q' if page.is_big else 'H'}", len(tags)) + entries
    start = struct.pack(f"{order}{long}", end + len(behind))
    at = 8 if page.is_big else 4
    rest = memoryview(data)[at + room :]
    return b"".join((data[:at], start, rest, padding, behind, directory, bytes(room)))


def _undo_differences(block: Bytes, page: Page) -> None:
    """Sum up each row of a block in place, sample by sample."""
    step = page.samples // page.planes
    stored = np.dtype(f"{page.order}u{page.depth // 8}")
    width = page.block[1]
    differences = np.ascontiguousarray(block).view(stored).reshape(len(block), width, step)
    native = np.uint8 if page.depth == 8 else np.uint16
    summed = np.cumsum(differences, axis=1, dtype=native)
    block[...] = np.ascontiguousarray(summed.astype(stored)).reshape(len(block), -1).view(np.uint8)


def _unpacked(rows: Bytes, page: Page) -> Samples:
    """Return the samples of packed rows, ``[H, W, samples of a plane]``."""
    each = page.samples // page.planes
    shape = (page.height, page.width, each)
    if page.depth == 8:
        return rows.reshape(shape)
    if page.depth == 16:
        stored = np.ascontiguousarray(rows).view(f"{page.order}u2")
        return stored.astype(np.uint16, copy=False).reshape(shape)
    period = next(count for count in (2, 4, 8) if count * page.depth % 8 == 0)
    packed = period * page.depth // 8
    width = -(-page.width * each // period)
    padded = np.zeros((page.height, width * packed + 2), np.uint8)
    padded[:, : rows.shape[1]] = rows
    kind = np.uint8 if page.depth < 8 else np.uint16
    found = np.empty((page.height, width * period), kind)
    for index in range(period):
        first, used = divmod(index * page.depth, 8)
        window = np.zeros((page.height, width), np.uint32)
        for byte in range(3):
            window <<= 8
            window |= padded[:, first + byte : first + byte + width * packed : packed][:, :width]
        found[:, index::period] = window >> (24 - used - page.depth) & ((1 << page.depth) - 1)
    return found[:, : page.width * each].reshape(shape)


def _coloured(indices: Samples, page: Page) -> Samples:
    red, green, blue = np.asarray(page.palette, np.uint32).reshape(3, -1)
    table = np.stack([blue, green, red], axis=1)
    # Some writers put 8-bit values into the 16-bit map.
    scaled = table if table.max() < 256 else (table + 128) // 257
    return np.asarray(scaled.astype(np.uint8)[indices])
