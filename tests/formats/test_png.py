from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgead import images
from edgead.errors import ImageError
from tests.formats import builders
from tests.formats.builders import big_endian, chunk, pattern, png

BGR = pattern()
RGB = np.ascontiguousarray(BGR[..., ::-1])
GREY = np.ascontiguousarray(BGR[..., 2])
GREY_BGR = np.repeat(GREY[..., None], 3, 2)


def read(tmp_path: Path, data: bytes) -> np.ndarray:
    path = tmp_path / "p.png"
    path.write_bytes(data)
    return images.read_image(path)


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ImageError, match=r"p\.png") as error:
        read(tmp_path, data)
    return str(error.value)


def rows(samples: np.ndarray) -> np.ndarray:
    return samples.reshape(len(samples), -1)


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("has_colour", [False, True])
def test_stated_bits_are_white_where_they_were_stored_as_they_are(
    tmp_path: Path, bits: int, has_colour: bool
) -> None:
    photo, expected = (RGB, BGR) if has_colour else (GREY, GREY_BGR)
    raw = np.rint(photo / 255 * ((1 << bits) - 1)).astype(np.uint16)
    stated = chunk(b"sBIT", bytes([bits] * (3 if has_colour else 1)))
    data = png(big_endian(raw), 2 if has_colour else 0, 16, stated)
    assert np.array_equal(read(tmp_path, data), expected)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("darker", [1, 20], ids=["bright", "dark"])
@pytest.mark.parametrize("way", ["repeated", "shifted", "rounded"])
def test_stated_bits_change_nothing_where_samples_were_scaled_up(
    tmp_path: Path, bits: int, darker: int, way: str
) -> None:
    white = (1 << bits) - 1
    raw = GREY.astype(np.uint32) * white // 255 // darker
    spare = 16 - bits
    scaled = {
        "repeated": raw << spare | raw >> max(0, bits - spare),
        "shifted": raw << spare,
        "rounded": np.rint(raw * 65535 / white),
    }[way].astype(np.uint16)
    plain = read(tmp_path, png(big_endian(scaled), 0, 16))
    stated = read(tmp_path, png(big_endian(scaled), 0, 16, chunk(b"sBIT", bytes([bits]))))
    assert np.array_equal(stated, plain)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [0, 2])
def test_a_transparent_colour_is_black(tmp_path: Path, depth: int, colour: int) -> None:
    photo = RGB if colour == 2 else GREY
    clear = photo[20, 30]
    wide = 257 if depth == 16 else 1
    key = chunk(b"tRNS", np.atleast_1d(clear.astype(np.uint32) * wide).astype(">u2").tobytes())
    stored = big_endian(photo.astype(np.uint16) * 257) if depth == 16 else rows(photo)
    is_clear = (photo == clear).reshape(*photo.shape[:2], -1).all(-1)[..., None]
    expected = np.where(is_clear, 0, BGR if colour == 2 else GREY_BGR)
    assert np.array_equal(read(tmp_path, png(stored, colour, depth, key)), expected)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [4, 6])
def test_alpha_lays_colours_over_black(tmp_path: Path, depth: int, colour: int) -> None:
    photo, shown = (RGB, BGR) if colour == 6 else (GREY, GREY_BGR)
    stored = np.dstack([photo, np.full_like(GREY, 51)])
    data = big_endian(stored.astype(np.uint16) * 257) if depth == 16 else rows(stored)
    expected = np.rint(shown / 5)
    assert np.array_equal(read(tmp_path, png(data, colour, depth)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_png_is_turned_alike_with_and_without_alpha(tmp_path: Path, orientation: int) -> None:
    exif = chunk(b"eXIf", builders.exif(orientation))
    plain = read(tmp_path, png(rows(RGB), 2, 8, exif))
    assert plain.shape[:2] == (GREY.shape if orientation < 5 else GREY.shape[::-1])
    opaque = np.dstack([RGB, np.full_like(GREY, 255)])
    assert np.array_equal(read(tmp_path, png(rows(opaque), 6, 8, exif)), plain)


def test_an_animation_is_refused_and_one_picture_is_a_photo(tmp_path: Path) -> None:
    for pictures in (1, 2):
        data = png(rows(GREY), 0, 8, chunk(b"acTL", struct.pack(">II", pictures, 0)))
        if pictures == 1:
            assert np.array_equal(read(tmp_path, data), GREY_BGR)
        else:
            assert "animated" in refusal(tmp_path, data)


def test_each_changed_byte_is_damage(tmp_path: Path) -> None:
    data = png(rows(GREY), 0, 8)
    for position in range(8, len(data), 5):
        changed = bytearray(data)
        changed[position] ^= 0x10
        assert "damaged" in refusal(tmp_path, bytes(changed))


@pytest.mark.parametrize("missing", [1, 5, 36])
def test_rows_that_are_missing_are_damage(tmp_path: Path, missing: int) -> None:
    data = png(rows(GREY[:-missing]), 0, 8, size=GREY.shape)
    assert "damaged" in refusal(tmp_path, data)


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">IIBBBBB", 0, 5, 8, 0, 0, 0, 0),
        struct.pack(">IIBBBBB", 5, 5, 3, 0, 0, 0, 0),
        struct.pack(">IIBBBBB", 5, 5, 4, 2, 0, 0, 0),
        struct.pack(">IIBBBBB", 5, 5, 8, 7, 0, 0, 0),
        struct.pack(">IIBBBBB", 5, 5, 8, 0, 0, 0, 2),
        b"",
    ],
)
def test_an_invalid_header_is_refused(tmp_path: Path, header: bytes) -> None:
    pixels = chunk(b"IDAT", zlib.compress(bytes(30))) + chunk(b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels
    assert "header" in refusal(tmp_path, data)
