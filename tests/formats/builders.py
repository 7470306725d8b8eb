"""Files of each format, made byte by byte, so that the tests need no other library."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np


def pattern(height: int = 37, width: int = 53) -> np.ndarray:
    """A colour picture without symmetry, uint8 BGR."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(x + y) * 2 % 256, y * 5 % 256, x * 3 % 256], 2).astype(np.uint8)


def encoded(suffix: str, picture: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, picture, list(options))
    assert done
    return data.tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(
    rows: np.ndarray,
    colour: int,
    depth: int,
    extra: bytes = b"",
    size: tuple[int, int] | None = None,
) -> bytes:
    """A PNG of rows of bytes ``[H, bytes]``; ``size`` is ``(height, width)`` where not theirs."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    height, width = size or (len(rows), rows.shape[1] * 8 // depth // samples)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def big_endian(samples: np.ndarray) -> np.ndarray:
    """16-bit samples ``[H, ...]`` as rows of bytes."""
    return samples.reshape(len(samples), -1).astype(">u2").view(np.uint8)


def exif(orientation: int) -> bytes:
    return (
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + bytes(4)
    )


Tags = dict[int, tuple[int, ...]]


def tiff(
    blocks: list[bytes],
    size: tuple[int, int],
    tags: Tags,
    *,
    order: str = "<",
    is_big: bool = False,
    pages: int = 1,
) -> bytes:
    """A TIFF of blocks and tags (by number); ``size`` is ``(height, width)``.

    Where the blocks are stands in the tags 273 and 279, or 324 and 325 for a file with tag 322.
    """
    long, entry_size, first = ("Q", 20, 16) if is_big else ("I", 12, 8)
    start = (b"II" if order == "<" else b"MM") + struct.pack(
        f"{order}HHHQ" if is_big else f"{order}HI", *((43, 8, 0, 0) if is_big else (42, 0))
    )
    data = bytearray(start.ljust(first, b"\0"))
    offsets = []
    for block in blocks:
        offsets.append(len(data))
        data += block
    data += bytes(-len(data) % 8)
    places = (324, 325) if 322 in tags else (273, 279)
    written: Tags = {256: (size[1],), 257: (size[0],), 258: (8,), 259: (1,), 262: (1,), 277: (1,)}
    written |= {278: (size[0],)} if 322 not in tags else {}
    written |= {places[0]: tuple(offsets), places[1]: tuple(map(len, blocks))} | tags
    links = 4 if not is_big else 8
    for page in range(pages):
        directory = len(data)
        data[links : links + struct.calcsize(long)] = struct.pack(f"{order}{long}", directory)
        count = struct.pack(f"{order}{'Q' if is_big else 'H'}", len(written))
        behind = directory + len(count) + len(written) * entry_size + struct.calcsize(long)
        entries, rest = b"", b""
        for number, values in sorted(written.items()):
            is_short = max(values) < 1 << 16
            content = struct.pack(f"{order}{len(values)}{'H' if is_short else long}", *values)
            kind = 3 if is_short else 16 if is_big else 4
            head = struct.pack(f"{order}HH{long}", number, kind, len(values))
            room = struct.calcsize(long)
            if len(content) <= room:
                entries += head + content.ljust(room, b"\0")
            else:
                entries += head + struct.pack(f"{order}{long}", behind + len(rest))
                rest += content
        data += count + entries
        links = len(data) if page + 1 < pages else links
        data += bytes(struct.calcsize(long)) + rest
    return bytes(data)


def lzw(data: bytes) -> bytes:
    """TIFF's LZW, of codes that only clear and repeat bytes: valid, and not small."""
    bits = "".join(f"{256:09b}" + f"{byte:09b}" for byte in data) + f"{257:09b}"
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def packbits(data: bytes) -> bytes:
    parts = [data[start : start + 128] for start in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)
