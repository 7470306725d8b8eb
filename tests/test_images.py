from __future__ import annotations

import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead import images
from edgead.errors import ImageError, UsageError
from tests.conftest import part, write_photo


def test_colour_photo_is_read_as_bgr(tmp_path: Path) -> None:
    photo = part(0)
    assert np.array_equal(images.read_image(write_photo(tmp_path / "p.png", photo)), photo)


def test_grey_photo_gets_three_equal_channels(tmp_path: Path) -> None:
    grey = part(0)[..., 0]
    read = images.read_image(write_photo(tmp_path / "p.png", grey))
    assert np.array_equal(read, np.repeat(grey[..., None], 3, 2))


def test_16_bit_photo_keeps_black_white_and_order(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    read = images.read_image(write_photo(tmp_path / "p.png", ramp))[..., 0]
    assert read.dtype == np.uint8
    assert (read.min(), read.max()) == (0, 255)
    assert np.array_equal(read, np.rint(ramp / 257).astype(np.uint8))


def test_transparent_pixels_are_laid_over_black(tmp_path: Path) -> None:
    bgra = np.full((20, 20, 4), 200, np.uint8)
    bgra[..., 3] = 255
    bgra[:10, :, 3] = 0
    bgra[10:12, :, 3] = 128
    read = images.read_image(write_photo(tmp_path / "p.png", bgra))
    assert (read[:10] == 0).all()
    assert (read[10:12] == 100).all()
    assert (read[12:] == 200).all()


@pytest.mark.parametrize(
    ("head", "values"),
    [
        (b"P5 3 1 4095\n", np.array([0, 2048, 4095], ">u2").tobytes()),
        (b"P5\n# a comment\n3 1\n127\n", bytes([0, 64, 127])),
        (b"P2 3 1 4095\n", b"0 2048 4095\n"),
        (b"P2 3 1 127\n", b"0 64 127\n"),
        (b"P6 1 1 1023\n", np.array([1023, 512, 0], ">u2").tobytes()),
    ],
)
def test_white_is_what_a_pgm_or_ppm_says(tmp_path: Path, head: bytes, values: bytes) -> None:
    path = tmp_path / "p.pgm"
    path.write_bytes(head + values)
    read = images.read_image(path)
    seen = read[0, 0] if head.startswith(b"P6") else read[0, :, 0]
    assert seen.tolist() == pytest.approx([0, 128, 255], abs=1)


def test_a_bmp_whose_alpha_nobody_wrote_is_opaque(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 4), (10, 120, 200, 0), np.uint8)
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xFF0000, 0xFF00, 0xFF))
    size = (40).to_bytes(4, "little")
    rest = b"\x01\0\x20\0\x03\0\0\0" + pixels.nbytes.to_bytes(4, "little") + bytes(16)
    head = size + (6).to_bytes(4, "little") + (4).to_bytes(4, "little") + rest + masks
    start = b"BM" + (14 + len(head) + pixels.nbytes).to_bytes(4, "little") + bytes(4)
    data = start + (14 + len(head)).to_bytes(4, "little") + head + pixels.tobytes()
    (tmp_path / "p.bmp").write_bytes(data)
    assert (images.read_image(tmp_path / "p.bmp") == (10, 120, 200)).all()


def test_exif_rotation_is_applied_to_a_png_with_alpha_too(tmp_path: Path) -> None:
    bgra = np.zeros((40, 60, 4), np.uint8)
    bgra[:20, :30] = 255
    bgra[20:, 30:] = (0, 200, 0, 128)
    done, encoded = cv2.imencode(".png", bgra)
    assert done
    data = encoded.tobytes()
    exif = b"eXIf" + b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + bytes(4)
    chunk = (len(exif) - 4).to_bytes(4, "big") + exif + zlib.crc32(exif).to_bytes(4, "big")
    (tmp_path / "p.png").write_bytes(data[:33] + chunk + data[33:])
    read = images.read_image(tmp_path / "p.png")
    expected = np.zeros((40, 60, 3), np.uint8)
    expected[:20, :30] = 255
    expected[20:, 30:] = (0, 100, 0)
    assert np.array_equal(read, np.rot90(expected, 3))


def test_reading_in_threads_leaves_opencvs_log_as_it_was(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "p.png", part(0))
    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4.8: cv2's own
    level = log.getLogLevel()
    workers = [
        threading.Thread(target=lambda: [images.read_image(path) for _ in range(50)])
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert log.getLogLevel() == level


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int, turns: int) -> None:
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[:20, :30] = 255
    done, encoded = cv2.imencode(".jpg", photo)
    assert done
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0])
    exif = b"Exif\0\0" + tiff + b"\0\0\0\0"
    data = encoded.tobytes()
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "p.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    expected = np.rot90(cv2.imdecode(encoded, cv2.IMREAD_COLOR), turns)
    assert np.array_equal(images.read_image(path), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_photo_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write_photo(tmp_path / f"p{suffix}", part(0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ImageError, match=rf"{path}.*truncated"):
        images.read_image(path)


def test_a_jpeg_with_a_thumbnail_before_it_and_data_behind_it_is_whole(tmp_path: Path) -> None:
    done, encoded = cv2.imencode(".jpg", part(0))
    assert done
    data = encoded.tobytes()
    thumbnail = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    path = tmp_path / "p.jpg"
    path.write_bytes(data[:2] + thumbnail + data[2:] + b"maker's own \xff\xda data")
    assert np.array_equal(images.read_image(path), cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    path.write_bytes(data[:2] + thumbnail + data[2:-9])
    with pytest.raises(ImageError, match="truncated"):
        images.read_image(path)


def test_a_png_that_claims_more_than_its_bytes_hold_is_named(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    header = (70_000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(ImageError, match=r"huge\.png is damaged.*70000x70000") as error:
        images.read_image(path)
    assert "Assertion" not in str(error.value)


def flat_webp(side: int) -> bytes:
    """A few bytes that are many pixels."""
    done, encoded = cv2.imencode(".webp", np.zeros((side, side, 3), np.uint8))
    assert done
    return encoded.tobytes()


def test_a_photo_above_the_limit_is_refused_with_both_sizes_and_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.webp"
    path.write_bytes(flat_webp(2000))
    with pytest.raises(ImageError, match=r"2000x2000 px \(4 megapixels\).*is 2 mega") as error:
        images.read_image(path, max_megapixels=2)
    assert "EDGEAD_MAX_MEGAPIXELS" in str(error.value)
    monkeypatch.setenv("EDGEAD_MAX_MEGAPIXELS", "3")
    with pytest.raises(ImageError, match="is 2 megapixels"):  # of a WebP, which takes more
        images.read_image(path)
    monkeypatch.setenv("EDGEAD_MAX_MEGAPIXELS", "6")
    assert images.read_image(path).shape == (2000, 2000, 3)
    monkeypatch.setenv("EDGEAD_MAX_MEGAPIXELS", "many")
    with pytest.raises(UsageError, match="EDGEAD_MAX_MEGAPIXELS.*'many'"):
        images.read_image(path)


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "p.bmp"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ImageError, match="1,099,511,627,776 bytes.*EDGEAD_MAX_MEGAPIXELS"):
        images.read_image(path)


@pytest.mark.parametrize("suffix", [".webp", ".tif"], ids=["OpenCV decodes", "NumPy does"])
def test_a_photo_for_which_memory_is_missing_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 8] if suffix == ".tif" else []
    assert cv2.imwrite(str(path), np.zeros((6000, 6000, 3), np.uint8), options)
    code = (
        "import resource, sys; from edgead import images; images.read_image(sys.argv[1]);"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20),) * 2);"
        "images.read_image(sys.argv[2])"
    )
    small = write_photo(tmp_path / f"small{suffix}", part(0))
    done = subprocess.run(
        [sys.executable, "-c", code, small, path], capture_output=True, text=True, check=False
    )
    assert f"ImageError: {path} (" in done.stderr
    assert "needs more memory" in done.stderr


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "pipe.png", tmp_path / "folder.png", Path("/dev/zero")):
        with pytest.raises(ImageError, match=rf"cannot read {path}"):
            images.read_image(path)
    with pytest.raises(ImageError, match="cannot read"):
        images.read_image("a\0b.png")


def test_a_stored_image_keeps_its_type_and_channels(tmp_path: Path) -> None:
    for picture in (
        part(0)[..., 0].astype(np.uint16) * 257,
        np.dstack([part(0), part(1)[..., 0]]),
        part(0)[..., 0].copy(),
    ):
        path = write_photo(tmp_path / "p.png", picture)
        assert np.array_equal(images.read_stored(path), picture)


def test_what_is_not_a_photo_is_refused_by_name(tmp_path: Path) -> None:
    empty, text, missing = tmp_path / "e.png", tmp_path / "t.png", tmp_path / "m.png"
    empty.write_bytes(b"")
    text.write_text("hello")
    for path, reason in ((empty, "empty"), (text, "not an image"), (missing, "cannot read")):
        with pytest.raises(ImageError, match=reason) as error:
            images.read_image(path)
        assert str(path) in str(error.value)


def test_float_photo_is_refused(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "p.tiff", np.random.default_rng(0).random((8, 8), np.float32))
    with pytest.raises(ImageError, match="float32"):
        images.read_image(path)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.zeros((4, 4, 3), object), "object"),
        (np.zeros((4, 4, 3), np.int8), "int8"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\)"),
        (np.zeros(12, np.uint8), r"\(12,\)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        ([[1, 2]], "list"),
    ],
)
def test_wrong_frames_are_refused(frame: object, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        images.as_bgr(frame)  # type: ignore[arg-type]


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize(
    "view",
    [
        lambda frame: np.moveaxis(np.ascontiguousarray(np.moveaxis(frame, -1, 0)), 0, -1),
        np.asfortranarray,
        lambda frame: frame[::-1],
        lambda frame: frame[:, ::-1],
        lambda frame: frame[::2, ::3],
        lambda frame: frame[4:40, 5:60],
        lambda frame: frame[..., ::-1],
        lambda frame: frame.swapaxes(0, 1),
        lambda frame: np.broadcast_to(frame[:1], frame.shape),
        lambda frame: np.frombuffer(frame.tobytes(), np.uint8).reshape(frame.shape),
        lambda frame: frame.view(Subclass),
        lambda frame: frame[..., 1],
        lambda frame: np.asfortranarray(frame[..., 1:2]),
    ],
    ids=[
        "planes",
        "Fortran order",
        "upside down",
        "mirrored",
        "strided",
        "crop",
        "channels swapped",
        "transposed",
        "one row repeated",
        "read only",
        "subclass",
        "one channel",
        "one channel kept, Fortran order",
    ],
)
def test_a_frame_of_any_layout_is_a_frame(view: Callable[[np.ndarray], np.ndarray]) -> None:
    frame = part(0)
    seen = view(frame)
    before = np.array(seen)
    read = images.as_bgr(seen)
    plain = np.ascontiguousarray(before)
    assert type(read) is np.ndarray
    assert np.array_equal(read, images.as_bgr(plain))
    cv2.rectangle(np.array(read), (1, 1), (3, 3), (0, 0, 255))
    assert np.array_equal(
        images.resize(read, (20, 30)), images.resize(images.as_bgr(plain), (20, 30))
    )
    assert np.array_equal(seen, before)


def test_a_crop_is_not_copied() -> None:
    frame = part(0)
    assert np.shares_memory(images.as_frame(frame[4:40, 5:60]), frame)


def test_shrinking_averages_and_equal_size_is_untouched() -> None:
    photo = part(0, (64, 64))
    assert images.resize(photo, (64, 64)) is photo
    halved = images.resize(photo, (32, 32)).astype(int)
    means = photo.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(halved - means).max() <= 0.5 + 1e-6
    assert images.resize(photo, (100, 20)).shape == (100, 20, 3)


@pytest.mark.parametrize(
    "shape", [(1080, 1920), (301, 97), (256, 999), (40, 30), (64, 64), (128, 192), (63, 65)]
)
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_grey_is_the_same_before_and_after_the_resize(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    for grey in (rng.integers(0, 256, shape, np.uint8), part(0, shape)[..., 1]):  # not contiguous
        expected = images.resize(np.repeat(grey[..., None], 3, 2), size)
        for frame in (grey, grey[..., None]):
            found = images.as_bgr(images.resize(images.as_frame(frame), size))
            assert np.array_equal(found, expected)
            assert found.dtype == np.uint8
