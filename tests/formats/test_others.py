"""BMP, PBM to PPM, WebP, JPEG 2000, and formats that are not read."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import images
from edgead.errors import ImageError
from tests.conftest import part
from tests.formats import builders
from tests.formats.builders import encoded, pattern

BGR = pattern(30, 44)
PHOTO = part(0, (240, 320))


def read(tmp_path: Path, data: bytes) -> np.ndarray:
    path = tmp_path / "photo"  # formats are known by their content
    path.write_bytes(data)
    return images.read_image(path)


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ImageError, match=r"/photo") as error:
        read(tmp_path, data)
    return str(error.value)


def bmp(pixels: bytes, bits: int, compression: int = 0, masks: tuple[int, ...] = ()) -> bytes:
    """A BMP of 44x30 px, the upper row first."""
    size = 40 if len(masks) < 4 else 56
    info = struct.pack("<IiiHHIIiiII", size, 44, -30, 1, bits, compression, 0, 0, 0, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + pixels


def riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"WEBP"
    for kind, content in chunks:
        body += kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


BGRA = np.dstack([BGR, np.full_like(BGR[..., 0], 51)])
STANDARD = (0xFF0000, 0xFF00, 0xFF)


def test_the_fourth_byte_of_a_bmp_is_alpha_only_where_it_says_so(tmp_path: Path) -> None:
    assert np.array_equal(read(tmp_path, bmp(BGRA.tobytes(), 32)), BGR)
    assert np.array_equal(read(tmp_path, bmp(BGRA.tobytes(), 32, 3, STANDARD)), BGR)
    with_alpha = bmp(BGRA.tobytes(), 32, 3, (*STANDARD, 0xFF000000))
    assert np.array_equal(read(tmp_path, with_alpha), np.rint(BGR / 5))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bmp(BGRA.tobytes(), 32, 3, STANDARD[::-1]), "unusual order"),
        (bmp(BGRA.tobytes(), 8, 1), "run-length"),
        (bmp(BGRA.tobytes(), 24, 4), "JPEG in it"),
        (bmp(BGRA.tobytes()[:-1], 32), "truncated"),
        (bmp(BGRA.tobytes(), 17), "not valid"),
        (b"BM" + bytes(8), "truncated"),
    ],
)
def test_bmps_that_cannot_be_read_right_are_refused(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    assert reason in refusal(tmp_path, data)


@pytest.mark.parametrize("bits", [1, 8, 24])
def test_a_bmp_of_the_oldest_header_is_read_in_colour(tmp_path: Path, bits: int) -> None:
    table = b"" if bits == 24 else bytes([0, 0, 0, 250, 10, 20] + [0] * 3 * ((1 << bits) - 2))
    row = (44 * bits + 31) // 32 * 4
    pixels = (b"\xff" * row if bits == 1 else b"\1" * row) * 30
    info = struct.pack("<IHHHH", 12, 44, 30, 1, bits) + table
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(info)) + info + pixels
    assert (read(tmp_path, data) == ((1, 1, 1) if bits == 24 else (250, 10, 20))).all()


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"P4\n9 1\n\x55\x80", [1, 0] * 4 + [0]), (b"P1 9 1\n0 1 01 0101 1\n", [1, 0] * 4 + [0])],
)
def test_a_bit_of_a_pbm_is_black(tmp_path: Path, data: bytes, expected: list[int]) -> None:
    assert read(tmp_path, data)[0, :, 0].tolist() == [255 * value for value in expected]


@pytest.mark.parametrize(
    "data",
    [
        b"P5 4 4 255\n" + bytes(15),
        b"P5 4 4 65535\n" + bytes(31),
        b"P6 4 4 255\n" + bytes(47),
        b"P4 9 4\n" + bytes(7),
        b"P2 4 4 255\n" + b"1 " * 15,
        b"P2 32000 32000 255\n1 2 3\n",
        b"P5 4 4 0\n" + bytes(16),
        b"P5 4 4 65536\n" + bytes(64),
        b"P5 0 4 255\n" + bytes(64),
        b"P5 99999999999 4 255\n" + bytes(64),
        b"P5 " + b"#\n" * 5000 + b"4 4 255\n" + bytes(16),
    ],
)
def test_a_pnm_without_all_its_samples_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "damaged" in refusal(tmp_path, data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_webp_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    pixels = encoded(".webp", BGR, cv2.IMWRITE_WEBP_QUALITY, 101)
    (size,) = struct.unpack_from("<I", pixels, 16)
    flags = struct.pack("<I", 8) + (43).to_bytes(3, "little") + (29).to_bytes(3, "little")
    chunks = [(b"VP8X", flags), (pixels[12:16], pixels[20 : 20 + size])]
    found = read(tmp_path, riff([*chunks, (b"EXIF", builders.exif(orientation))]))
    exif = builders.chunk(b"eXIf", builders.exif(orientation))
    rgb = np.ascontiguousarray(BGR[..., ::-1]).reshape(30, -1)
    assert np.array_equal(found, read(tmp_path, builders.png(rgb, 2, 8, exif)))


@pytest.mark.parametrize("quality", [30, 80, 101], ids=["small", "usual", "lossless"])
def test_a_webp_with_a_hole_or_a_tail_of_zeros_is_refused(tmp_path: Path, quality: int) -> None:
    data = encoded(".webp", PHOTO, cv2.IMWRITE_WEBP_QUALITY, quality)
    middle, end = len(data) // 2, len(data)
    assert "hole" in refusal(tmp_path, data[:middle] + bytes(end - middle))
    assert "hole" in refusal(tmp_path, data[:middle] + bytes(200) + data[middle + 200 :])
    assert "truncated" in refusal(tmp_path, data[:-20])


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("quality", [1, 80, 101])
def test_an_even_webp_is_whole(tmp_path: Path, value: int, quality: int) -> None:
    photo = np.full((600, 900, 3), value, np.uint8)
    data = encoded(".webp", photo, cv2.IMWRITE_WEBP_QUALITY, quality)
    assert np.abs(read(tmp_path, data).astype(int) - value).max() <= 4


def test_a_webp_that_is_an_animation_or_of_two_sizes_is_refused(tmp_path: Path) -> None:
    pixels = encoded(".webp", BGR, cv2.IMWRITE_WEBP_QUALITY, 101)
    (size,) = struct.unpack_from("<I", pixels, 16)
    stream = (pixels[12:16], pixels[20 : 20 + size])
    animated = struct.pack("<I", 2) + (43).to_bytes(3, "little") + (29).to_bytes(3, "little")
    other = bytes(4) + (99).to_bytes(3, "little") + (29).to_bytes(3, "little")
    assert "animated" in refusal(tmp_path, riff([(b"VP8X", animated), stream]))
    assert "two different sizes" in refusal(tmp_path, riff([(b"VP8X", other), stream]))


def test_a_jpeg_2000_is_read_and_its_end_looked_for(tmp_path: Path) -> None:
    options = (cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000)
    photo = pattern(64, 80)
    data = encoded(".jp2", photo, *options)
    assert np.abs(read(tmp_path, data).astype(int) - photo).max() <= 1
    stream = data[data.find(b"\xff\x4f\xff\x51") :]
    assert np.array_equal(read(tmp_path, stream), read(tmp_path, data))
    grey = encoded(".jp2", photo[..., 0].astype(np.uint16) * 257, *options)
    assert np.abs(read(tmp_path, grey)[..., 0].astype(int) - photo[..., 0]).max() <= 1
    for length in range(20, len(data), 397):
        assert "damaged" in refusal(tmp_path, data[:length])
    huge = bytearray(data)
    at = data.find(b"\xff\x4f\xff\x51") + 8
    for side in (60_000, 0xFFFFFFFF):
        huge[at : at + 8] = struct.pack(">II", side, side)
        assert f"{side}x{side}" in refusal(tmp_path, bytes(huge))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GIF89a" + bytes(40), "GIF"),
        (b"\0\0\0\x20ftypavif" + bytes(40), "AVIF"),
        (b"\0\0\0\x20ftypheic" + bytes(40), "HEIC"),
        (b"\0\0\0\x20ftypisom" + bytes(40), "MP4"),
        (b"v/1\x01" + bytes(40), "OpenEXR"),
        (b"#?RADIANCE\n" + bytes(40), "Radiance"),
        (b"P7\nWIDTH 1\n", "PAM"),
        (b"PF\n1 1\n-1\n" + bytes(12), "PFM"),
        (b"\x59\xa6\x6a\x95" + bytes(40), "Sun raster"),
        (b"hello", "not an image"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, data: bytes, name: str) -> None:
    message = refusal(tmp_path, data)
    assert name in message
    assert "convert it to PNG" in message
