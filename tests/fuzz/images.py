"""Photos in every format that OpenCV writes here and in some made by hand, damaged."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgead.images import read_image
from tests.conftest import part
from tests.fuzz.campaign import WrongError
from tests.fuzz.mutation import Rng, mutate_bytes, pick

MOST_MIB = 600
_HEAD = 200
_SIZE = (40, 52)
_PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Seed:
    """A good photo: its file name, its bytes, its pixels; ``None`` where it is refused."""

    name: str
    data: bytes
    pixels: np.ndarray | None


@dataclass(frozen=True)
class Corpus:
    seeds: list[Seed]
    scratch: Path


def build(folder: Path) -> None:
    colour = part(1, _SIZE, defect=True)
    grey = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    wide = colour.astype(np.uint16) * 257
    alpha = np.dstack([colour, np.full(_SIZE, 200, np.uint8)])
    real = colour.astype(np.float32) / 255
    formats = {
        "jpg": (colour, grey),
        "png": (colour, grey, alpha, wide, wide[..., 0]),
        "bmp": (colour, grey, alpha),
        "tif": (colour, grey, alpha, wide, real),
        "webp": (colour, alpha),
        "jp2": (colour, wide),
        "ppm": (colour, wide),
        "pgm": (grey, wide[..., 0]),
        "pbm": (grey,),
        "pam": (colour, alpha),
        "pfm": (real,),
        "hdr": (real,),
        "exr": (real,),
        "ras": (colour,),
        "gif": (colour,),
        "avif": (colour,),
    }
    for suffix, pictures in formats.items():
        for index, picture in enumerate(pictures):
            with contextlib.suppress(cv2.error):  # this build of OpenCV does not write it
                done, encoded = cv2.imencode(f".{suffix}", picture)
                if done:
                    (folder / f"{index}.{suffix}").write_bytes(encoded.tobytes())
    for name, data in _handmade(colour, grey):
        (folder / name).write_bytes(data)


def load(folder: Path, scratch: Path) -> Corpus:
    seeds = []
    for path in sorted(folder.iterdir()):
        try:
            pixels = read_image(path)
        except Exception:  # some formats hold what a photo cannot be
            pixels = None
        seeds.append(Seed(path.name, path.read_bytes(), pixels))
    return Corpus(seeds, scratch)


def case(rng: Rng, corpus: Corpus) -> None:
    seed, other = pick(rng, corpus.seeds), pick(rng, corpus.seeds)
    kind = rng.random()
    is_cut = False
    if kind > 0.85:
        data = _resized(rng, seed.data)
    elif kind < 0.15:
        data = seed.data[: int(rng.integers(len(seed.data)))]
        is_cut = True
    elif kind < 0.35 and seed.data.startswith(_PNG_START):
        data = _mutate_png(rng, seed.data)
    else:
        data = mutate_bytes(rng, seed.data, other.data, _HEAD)
    path = corpus.scratch / seed.name
    path.write_bytes(data)
    with _words_name(seed.name, corpus.scratch):
        photo = read_image(path)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or photo.size == 0:
        raise WrongError(f"a photo of {photo.dtype} {photo.shape}")
    if is_cut and not np.array_equal(photo, seed.pixels):
        raise WrongError("a photo that was cut off was read as another picture")


@contextlib.contextmanager
def _words_name(name: str, scratch: Path) -> Iterator[None]:
    """Hold what is written to the standard error to naming the file; a decoder's own does not."""
    kept = os.dup(2)
    log = scratch / "stderr.txt"
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    for line in log.read_text(errors="replace").splitlines():
        if name not in line:
            raise WrongError(f"a line on stderr names no file: {line[:300]!r}")


def _resized(rng: Rng, data: bytes) -> bytes:
    """Let the header promise another size: one to two thousand million pixels on each side."""
    width, height = (int(2 ** rng.uniform(0, 31)) for _ in range(2))
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", width, pick(rng, (height, -height))) + data[26:]
    if data.startswith(b"\xff\xd8"):
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        sides = struct.pack(">HH", height % 65536, width % 65536)
        return data[: at + 5] + sides + data[at + 9 :]
    if data.startswith((b"II*\0", b"MM\0*")):
        order = "<" if data.startswith(b"II") else ">"
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(f"{order}H", data, entry)
            if tag in (256, 257):
                value = struct.pack(f"{order}HII", 4, 1, width if tag == 256 else height)
                data = data[: entry + 2] + value + data[entry + 12 :]
        return data
    if data[:1] == b"P":
        return data.replace(b" ".join(data.split()[1:3]), b"%d %d" % (width, height), 1)
    return mutate_bytes(rng, data, head=_HEAD)


def _mutate_png(rng: Rng, data: bytes) -> bytes:
    """Change a chunk and give it the right checksum, so that the decoder believes it."""
    chunks = list(_chunks(data))
    at = int(rng.integers(len(chunks)))
    name, content = chunks[at]
    what = pick(rng, ("size", "kind", "bytes", "twice", "drop", "swap"))
    if what == "size":
        width, height = (int(2 ** rng.uniform(0, 31)) for _ in range(2))
        chunks[0] = (b"IHDR", struct.pack(">II", width, height) + chunks[0][1][8:])
    elif what == "kind":
        kind = bytes([pick(rng, (1, 2, 4, 8, 16, 32)), pick(rng, (0, 2, 3, 4, 6, 7)), 0, 0])
        chunks[0] = (b"IHDR", chunks[0][1][:8] + kind + bytes([pick(rng, (0, 1, 2))]))
    elif what == "bytes":
        chunks[at] = (name, mutate_bytes(rng, content or b"\0"))
    elif what == "twice":
        chunks.insert(at, (name, content))
    elif what == "drop":
        del chunks[at]
    else:
        place = int(rng.integers(len(chunks)))
        chunks[at], chunks[place] = chunks[place], chunks[at]
    return _PNG_START + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_PNG_START)
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        yield data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += length + 12


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _handmade(colour: np.ndarray, grey: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Yield what cameras and programs write and OpenCV does not."""
    height, width = grey.shape
    rgb = colour[..., ::-1]
    _, encoded = cv2.imencode(".png", grey.astype(np.uint16) * 16)
    chunks = list(_chunks(encoded.tobytes()))
    chunks.insert(1, (b"sBIT", b"\x0c"))
    yield "sbit12.png", _PNG_START + b"".join(_chunk(*chunk) for chunk in chunks)
    rows = b"".join(b"\0" + bytes(row // 64) for row in grey)
    indexed = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(range(12))),
        (b"tRNS", b"\xff\x80\x00\xff"),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    yield "palette.png", _PNG_START + b"".join(_chunk(*chunk) for chunk in indexed)
    _, encoded = cv2.imencode(".jpg", colour)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    yield "turned.jpg", b"\xff\xd8" + segment + encoded.tobytes()[2:]
    _, encoded = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    yield "progressive.jpg", encoded.tobytes()
    _, encoded = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])
    yield "restarts.jpg", encoded.tobytes()
    yield (
        "ascii.ppm",
        f"P3\n{width} {height}\n255\n".encode()
        + b" ".join(str(value).encode() for value in rgb.ravel()),
    )
    for name, method in {"none": 1, "lzw": 5, "jpeg": 7, "deflate": 8, "packbits": 32773}.items():
        done, encoded = cv2.imencode(".tif", colour, [cv2.IMWRITE_TIFF_COMPRESSION, method])
        if done:
            yield f"{name}.tif", encoded.tobytes()
    twelve = (grey.astype(">u2") * 16).tobytes()
    planes = b"".join(rgb[..., channel].tobytes() for channel in range(3))
    extra = np.dstack([rgb, np.full(grey.shape, 128, np.uint8)]).tobytes()
    yield "plain.tif", _tiff(rgb.tobytes(), width, height, 2, 3)
    yield "white.tif", _tiff(grey.tobytes(), width, height, 0, 1)
    yield "planes.tif", _tiff(planes, width, height, 2, 3, planar=2)
    yield "extra.tif", _tiff(extra, width, height, 2, 4, more={338: 0})
    yield "cmyk.tif", _tiff(extra, width, height, 5, 4)
    yield "twelve.tif", _tiff(twelve, width, height, 1, 1, bits=16, order=">", more={281: 4095})


def _tiff(
    pixels: bytes,
    width: int,
    height: int,
    photometric: int,
    samples: int,
    *,
    bits: int = 8,
    planar: int = 1,
    order: str = "<",
    more: dict[int, int] | None = None,
) -> bytes:
    """Write an uncompressed TIFF: the pixels, then one directory of tags."""
    planes = samples if planar == 2 else 1
    each = len(pixels) // planes
    tags: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * samples),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, [8 + plane * each for plane in range(planes)]),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, [each] * planes),
        284: (3, [planar]),
        **{tag: (3, [value]) for tag, value in (more or {}).items()},
    }
    outside = b""
    directory = struct.pack(f"{order}H", len(tags))
    after = 8 + len(pixels) + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{'I' if kind == 4 else 'H'}", *values)
        directory += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", after + len(outside))
            outside += packed
    start = b"II*\0" if order == "<" else b"MM\0*"
    offset = struct.pack(f"{order}I", 8 + len(pixels))
    return start + offset + pixels + directory + b"\0\0\0\0" + outside
