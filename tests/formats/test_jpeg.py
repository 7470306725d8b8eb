from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import images
from edgead._formats import inspect
from edgead.errors import ImageError
from tests.conftest import part
from tests.formats.builders import encoded

PHOTO = part(0, (240, 320))
OPTIONS = {
    "baseline": (),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "optimised": (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
}


def read(tmp_path: Path, data: bytes) -> np.ndarray:
    path = tmp_path / "p.jpg"
    path.write_bytes(data)
    return images.read_image(path)


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(ImageError, match=r"p\.jpg") as error:
        read(tmp_path, data)
    return str(error.value)


def scan(data: bytes) -> tuple[int, int]:
    start = data.find(b"\xff\xda")
    return start + 2 + struct.unpack_from(">H", data, start + 2)[0], len(data) - 2


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize("quality", [1, 30, 75, 90, 100])
def test_whole_photos_are_read(tmp_path: Path, kind: str, is_grey: bool, quality: int) -> None:
    picture = PHOTO[..., 0].copy() if is_grey else PHOTO
    data = encoded(".jpg", picture, cv2.IMWRITE_JPEG_QUALITY, quality, *OPTIONS[kind])
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(read(tmp_path, data), expected)


@pytest.mark.parametrize("value", [0, 2000], ids=["black", "half black"])
@pytest.mark.parametrize("kind", OPTIONS)
def test_even_photos_are_whole(tmp_path: Path, kind: str, value: int) -> None:
    photo = np.zeros((1000, 1000, 3), np.uint8)
    photo[: value // 4] = part(0, (1000, 1000))[: value // 4]
    assert read(tmp_path, encoded(".jpg", photo, *OPTIONS[kind])).shape == photo.shape


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("fill", [b"\0", b"\xaa", b"\xff", b""], ids=["0", "aa", "ff", "cut out"])
def test_a_hole_in_the_pixels_is_named(
    tmp_path: Path, kind: str, fill: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(".jpg", PHOTO, cv2.IMWRITE_JPEG_QUALITY, 90, *OPTIONS[kind])
    start, end = scan(data)
    middle = (start + end) // 2
    damaged = data[:middle] + fill * 1024 + data[middle + 1024 :]
    assert "damaged" in refusal(tmp_path, damaged)
    assert capfd.readouterr().err == ""


def test_a_restart_that_is_missing_is_named(tmp_path: Path) -> None:
    data = encoded(".jpg", PHOTO, *OPTIONS["restarts"])
    first, third = data.find(b"\xff\xd1"), data.find(b"\xff\xd3")
    assert "instead of RST" in refusal(tmp_path, data[:first] + data[third:])


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 7, b"\xff\xff\xff"])
def test_padding_before_the_end_is_no_damage(tmp_path: Path, padding: bytes) -> None:
    data = encoded(".jpg", PHOTO)
    found = read(tmp_path, data[:-2] + padding + data[-2:])
    assert np.array_equal(found, read(tmp_path, data))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\xff\xc3\0\x0b\x08\0\x10\0\x10\1\1\x11\0", "lossless"),
        (b"\xff\xc9\0\x0b\x08\0\x10\0\x10\1\1\x11\0", "arithmetic"),
        (b"\xff\xc1\0\x0b\x0c\0\x10\0\x10\1\1\x11\0", "12 bits"),
        (b"\xff\xc0\0\x14\x08\0\x10\0\x10\4" + b"\1\x11\0" * 4, "CMYK"),
        (b"\xff\xc0\0\x0b\x08\0\0\0\x10\1\1\x11\0", "16x0 px"),
        (b"\xff\xc0\0\x0b\x08\x3e\x80\xff\xdc\1\1\x11\0", "65500x16000 px"),
        (b"\xff\xe0\0\x02", "0 frame headers"),
        (b"\xff\xe0\0\0", "segments are broken"),
        (b"\xff\xe0\xff\xff", "truncated"),
    ],
)
def test_what_a_header_cannot_be_is_refused_before_decoding(
    tmp_path: Path, frame: bytes, reason: str
) -> None:
    scan_header = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    assert reason in refusal(tmp_path, b"\xff\xd8" + frame + scan_header + bytes(60) + b"\xff\xd9")


def test_progressive_photos_count_their_coefficients() -> None:
    every = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    progressive = inspect(encoded(".jpg", PHOTO, *OPTIONS["progressive"], *every))
    assert progressive.memory >= inspect(encoded(".jpg", PHOTO, *every)).memory + 3
