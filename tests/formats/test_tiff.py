from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import images
from edgead.errors import ImageError
from tests.formats import builders
from tests.formats.builders import Tags, pattern, tiff

BGR = pattern(40, 36)
RGB = BGR[..., ::-1]
GREY = BGR[..., 2]
GREY_BGR = np.repeat(GREY[..., None], 3, 2)
SIZE = (40, 36)
COMPRESSIONS = {1: bytes, 8: zlib.compress, 5: builders.lzw, 32773: builders.packbits}


def read(tmp_path: Path, data: bytes) -> np.ndarray:
    path = tmp_path / "p.tif"
    path.write_bytes(data)
    return images.read_image(path)


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ImageError, match=r"p\.tif") as error:
        read(tmp_path, data)
    return str(error.value)


def wide(samples: np.ndarray, order: str = "<") -> np.ndarray:
    return (samples.astype(np.uint32) * 257).astype(f"{order}u2")


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("samples", "tags", "expected"),
    [
        (GREY, {}, GREY_BGR),
        (255 - GREY, {262: (0,)}, GREY_BGR),
        (RGB, {262: (2,), 277: (3,)}, BGR),
        (np.dstack([RGB, GREY // 4]), {262: (2,), 277: (4,), 338: (0,)}, BGR),
        (np.dstack([RGB, GREY // 4]), {262: (2,), 277: (4,), 338: (1,)}, BGR),
        (np.dstack([RGB, GREY, GREY]), {262: (2,), 277: (5,), 338: (0, 0)}, BGR),
        (np.dstack([GREY, GREY // 4]), {277: (2,), 338: (0,)}, GREY_BGR),
        (
            np.dstack([RGB, np.full_like(GREY, 51)]),
            {262: (2,), 277: (4,), 338: (2,)},
            np.rint(BGR / 5).astype(np.uint8),
        ),
        (
            np.dstack([GREY, np.full_like(GREY, 51)]),
            {277: (2,), 338: (2,)},
            np.rint(GREY_BGR / 5).astype(np.uint8),
        ),
    ],
    ids=[
        "grey",
        "MinIsWhite",
        "RGB",
        "RGB and a sample without meaning",
        "RGB and premultiplied alpha",
        "RGB and two samples without meaning",
        "grey and a sample without meaning",
        "RGB and straight alpha",
        "grey and straight alpha",
    ],
)
def test_samples_mean_what_the_tags_say(
    tmp_path: Path,
    compression: int,
    order: str,
    bits: int,
    samples: np.ndarray,
    tags: Tags,
    expected: np.ndarray,
) -> None:
    stored = samples if bits == 8 else wide(samples, order)
    rows = [stored[top : top + 7].tobytes() for top in range(0, len(stored), 7)]
    every = tags | {258: (bits,) * tags.get(277, (1,))[0], 259: (compression,), 278: (7,)}
    data = tiff([COMPRESSIONS[compression](row) for row in rows], SIZE, every, order=order)
    assert np.array_equal(read(tmp_path, data), expected)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("is_big", [False, True], ids=["TIFF", "BigTIFF"])
def test_planes_are_put_together(tmp_path: Path, compression: int, bits: int, is_big: bool) -> None:
    stored = RGB if bits == 8 else wide(RGB)
    blocks = [
        COMPRESSIONS[compression](np.ascontiguousarray(stored[top : top + 16, :, plane]).tobytes())
        for plane in range(3)
        for top in range(0, len(stored), 16)
    ]
    tags = {258: (bits,) * 3, 259: (compression,), 262: (2,), 277: (3,), 278: (16,), 284: (2,)}
    assert np.array_equal(read(tmp_path, tiff(blocks, SIZE, tags, is_big=is_big)), BGR)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("bits", [8, 16])
def test_tiles_are_put_together(tmp_path: Path, compression: int, bits: int) -> None:
    stored = RGB if bits == 8 else wide(RGB)
    padded = np.zeros((48, 48, 3), stored.dtype)
    padded[:40, :36] = stored
    blocks = [
        COMPRESSIONS[compression](padded[top : top + 16, left : left + 16].tobytes())
        for top in range(0, 48, 16)
        for left in range(0, 48, 16)
    ]
    tags = {258: (bits,) * 3, 259: (compression,), 262: (2,), 277: (3,), 322: (16,), 323: (16,)}
    assert np.array_equal(read(tmp_path, tiff(blocks, SIZE, tags)), BGR)


@pytest.mark.parametrize("compression", [5, 8])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 16])
def test_differences_are_summed_up(tmp_path: Path, compression: int, order: str, bits: int) -> None:
    native = RGB if bits == 8 else wide(RGB).astype(np.uint16)
    differences = np.concatenate([native[:, :1], native[:, 1:] - native[:, :-1]], axis=1)
    stored = differences if bits == 8 else differences.astype(f"{order}u2")
    tags = {258: (bits,) * 3, 259: (compression,), 262: (2,), 277: (3,), 317: (2,)}
    data = tiff([COMPRESSIONS[compression](stored.tobytes())], SIZE, tags, order=order)
    assert np.array_equal(read(tmp_path, data), BGR)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1])
def test_packed_samples_are_scaled_from_their_white(
    tmp_path: Path, bits: int, photometric: int
) -> None:
    white = (1 << bits) - 1
    values = np.random.default_rng(bits).integers(0, white + 1, (9, 13))
    stored = values if photometric else white - values
    as_bits = (stored[..., None] >> np.arange(bits - 1, -1, -1) & 1).reshape(9, -1)
    packed = np.packbits(as_bits.astype(np.uint8), axis=1)
    data = tiff([packed.tobytes()], (9, 13), {258: (bits,), 262: (photometric,)})
    assert np.array_equal(read(tmp_path, data)[..., 0], np.rint(values * 255 / white))


@pytest.mark.parametrize("bits", [4, 8])
def test_a_palette_is_applied(tmp_path: Path, bits: int) -> None:
    table = np.random.default_rng(0).integers(0, 256, (3, 1 << bits))
    indices = np.random.default_rng(1).integers(0, 1 << bits, (6, 10), np.uint8)
    rows = indices if bits == 8 else indices[:, ::2] << 4 | indices[:, 1::2]
    colour_map = tuple(int(value) * 257 for value in table.ravel())
    data = tiff([rows.tobytes()], (6, 10), {258: (bits,), 262: (3,), 320: colour_map})
    assert np.array_equal(read(tmp_path, data), table.T[indices][..., ::-1])


def test_a_jpeg_in_a_tiff_is_read(tmp_path: Path) -> None:
    stream = builders.encoded(".jpg", pattern(48, 64), cv2.IMWRITE_JPEG_QUALITY, 95)
    tags: Tags = {258: (8, 8, 8), 259: (7,), 262: (6,), 277: (3,), 530: (2, 2)}
    expected = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_COLOR)
    found = read(tmp_path, tiff([stream], (48, 64), tags))
    assert np.abs(found.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("tag", [281, 341])
def test_a_sensors_white_is_taken_from_the_tags_and_a_photos_maximum_is_not(
    tmp_path: Path, tag: int
) -> None:
    stored = (GREY.astype(np.uint32) * 4095 // 255).astype("<u2")
    tags: Tags = {258: (16,), tag: (4095,)}
    assert np.array_equal(read(tmp_path, tiff([stored.tobytes()], SIZE, tags)), GREY_BGR)
    tags[tag] = (int(stored.max()),)
    assert read(tmp_path, tiff([stored.tobytes()], SIZE, tags)).max() < 20


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("has_alpha", [False, True])
def test_a_tiff_is_turned_as_opencv_turns_a_jpeg(
    tmp_path: Path, orientation: int, has_alpha: bool
) -> None:
    samples = np.dstack([RGB, np.full_like(GREY, 51)]) if has_alpha else RGB
    tags: Tags = {258: (8,) * samples.shape[2], 262: (2,), 277: (samples.shape[2],)}
    tags |= {274: (orientation,)} | ({338: (2,)} if has_alpha else {})
    found = read(tmp_path, tiff([samples.tobytes()], SIZE, tags))
    jpeg = builders.encoded(".jpg", BGR, cv2.IMWRITE_JPEG_QUALITY, 100)
    segment = b"Exif\0\0" + builders.exif(orientation)
    size = struct.pack(">H", len(segment) + 2)
    turned = jpeg[:2] + b"\xff\xe1" + size + segment + jpeg[2:]
    expected = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(found.astype(float) - expected / (5 if has_alpha else 1)).mean() < 4


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({258: (32,), 339: (3,)}, "float32"),
        ({258: (16,), 339: (2,)}, "int16"),
        ({258: (32,)}, "32 bits"),
        ({258: (5, 6, 5), 277: (3,), 262: (2,)}, "5/6/5 bits"),
        ({262: (5,), 277: (4,), 258: (8,) * 4}, "CMYK"),
        ({262: (6,), 277: (3,), 258: (8,) * 3}, "YCbCr"),
        ({262: (8,), 277: (3,), 258: (8,) * 3}, "CIE Lab"),
        ({259: (34712,)}, "compression 34712"),
        ({259: (4,), 258: (1,)}, "compression 4"),
        ({317: (2,)}, "which is not read"),
        ({254: (1,)}, "thumbnail"),
    ],
)
def test_kinds_that_would_be_another_picture_are_refused(
    tmp_path: Path, tags: Tags, reason: str
) -> None:
    message = refusal(tmp_path, tiff([bytes(40 * 36 * 16)], SIZE, tags))
    assert reason in message
    assert "convert it to PNG" in message


def test_several_pages_are_refused_and_thumbnails_are_no_pages(tmp_path: Path) -> None:
    assert "3 pages" in refusal(tmp_path, tiff([GREY.tobytes()], SIZE, {}, pages=3))
    data = bytearray(tiff([GREY.tobytes()], SIZE, {254: (0,)}, pages=2))
    first = struct.unpack_from("<I", data, 4)[0]
    entry = struct.pack("<HHIH", 254, 3, 1, 0)
    second = data.rfind(entry) if data.rfind(entry) != first + 2 else data.find(entry)
    data[second + 8] = 1
    assert np.array_equal(read(tmp_path, bytes(data)), GREY_BGR)


@pytest.mark.parametrize(
    ("blocks", "tags"),
    [
        ([GREY.tobytes()[:-1]], {}),
        ([zlib.compress(GREY.tobytes())[:-6]], {259: (8,)}),
        ([zlib.compress(GREY.tobytes()[:-50])], {259: (8,)}),
        ([zlib.compress(GREY.tobytes()).replace(b"\x78\x9c", b"\x78\x9d", 1)], {259: (8,)}),
        ([builders.lzw(GREY.tobytes())[:700]], {259: (5,)}),
        ([builders.packbits(GREY.tobytes())[:700]], {259: (32773,)}),
    ],
    ids=["short", "no checksum", "short inside", "bad stream", "LZW cut", "PackBits cut"],
)
def test_broken_blocks_are_refused(tmp_path: Path, blocks: list[bytes], tags: Tags) -> None:
    assert "damaged" in refusal(tmp_path, tiff(blocks, SIZE, tags))


def test_a_tiff_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = tiff([GREY.tobytes()], SIZE, {})
    for length in range(4, len(data), 41):
        assert "damaged" in refusal(tmp_path, data[:length])


def test_directories_in_a_circle_end(tmp_path: Path) -> None:
    data = bytearray(tiff([GREY.tobytes()], SIZE, {}, pages=2))
    data[data.rfind(bytes(4)) :][:4] = data[4:8]
    first = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    assert "pages" in refusal(tmp_path, bytes(data))
