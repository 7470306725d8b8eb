"""Measure the memory that photos take to be read: ``python -m tests.formats.measure_memory``.

Each kind is made with 6000x4000 px and read in a process of its own; needs Linux. The figures are
those of docs/reference/photos.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edgead import _formats, images

_JPEG_444 = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_TIFF = cv2.IMWRITE_TIFF_COMPRESSION


def kinds() -> dict[str, tuple[str, np.ndarray, tuple[int, ...]]]:
    """Return for each kind the suffix, the picture and the encoder's options."""
    colour = np.zeros((4000, 6000, 3), np.uint8)
    colour[:800] = np.random.default_rng(0).integers(0, 256, (800, 6000, 3))
    grey = np.ascontiguousarray(colour[..., 0])
    alpha = np.dstack([colour, grey])

    def wide(picture: np.ndarray) -> np.ndarray:
        return picture.astype(np.uint16) * 257

    return {
        "JPEG": (".jpg", colour, ()),
        "progressive JPEG, 4:4:4": (".jpg", colour, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, *_JPEG_444)),
        "8-bit colour PNG": (".png", colour, ()),
        "8-bit grey PNG": (".png", grey, ()),
        "8-bit PNG with alpha": (".png", alpha, ()),
        "16-bit grey PNG": (".png", wide(grey), ()),
        "16-bit colour PNG": (".png", wide(colour), ()),
        "16-bit colour PNG with alpha": (".png", wide(alpha), ()),
        "WebP": (".webp", colour, (cv2.IMWRITE_WEBP_QUALITY, 80)),
        "WebP, lossless": (".webp", colour, (cv2.IMWRITE_WEBP_QUALITY, 101)),
        "WebP with alpha": (".webp", alpha, (cv2.IMWRITE_WEBP_QUALITY, 80)),
        "BMP": (".bmp", colour, ()),
        "PPM": (".ppm", colour, ()),
        "8-bit colour TIFF": (".tif", colour, (_TIFF, 1)),
        "8-bit colour TIFF, LZW": (".tif", colour, (_TIFF, 5)),
        "8-bit colour TIFF, Deflate": (".tif", colour, (_TIFF, 8)),
        "16-bit colour TIFF, LZW": (".tif", wide(colour), (_TIFF, 5)),
    }


def measure(path: Path) -> str:
    """Read a photo, and say how much memory that took for each pixel."""
    data = path.read_bytes()
    header, size = _formats.inspect(data), len(data)
    del data
    Path("/proc/self/clear_refs").write_text("5")
    before = _most_memory()
    images.read_image(path, max_megapixels=1000)
    taken = (_most_memory() - before - size) / header.pixels
    return f"{taken:5.1f} bytes a pixel (counted {header.memory:.0f}), and {size / 1e6:.0f} MB"


def _most_memory() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(Path(sys.argv[1])))
        sys.exit()
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, picture, options) in kinds().items():
            path = Path(folder) / f"photo{suffix}"
            cv2.imwrite(str(path), picture, options)
            command = (sys.executable, "-m", "tests.formats.measure_memory", str(path))
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"{name:30} {done.stdout.strip()}")
