"""Measure how much damage of JPEGs is found: ``python -m tests.formats.measure_damage PHOTOS``.

Photos of the folder are encoded again in four ways each, damaged once in each way, and read. The
figures are those of docs/reference/photos.md.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edgead import images
from edgead.errors import ImageError

_QUALITIES = (1, 5, 30, 60, 75, 85, 90, 95, 100)
_SAMPLINGS = (
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)
_FAR = 24  # grey levels
_VISIBLE = 0.005  # of the pixels
_ENDING = 64  # bytes that a tail of zeros leaves

Damage = Callable[[bytearray, int, int, random.Random], None]


def _hole(value: int) -> Damage:
    def damage(data: bytearray, start: int, end: int, rng: random.Random) -> None:
        size = min(rng.choice((512, 1024, 4096)), (end - start) // 2)
        at = rng.randrange(start, end - size)
        data[at : at + size] = bytes([value]) * size

    return damage


def _random_bytes(data: bytearray, start: int, end: int, rng: random.Random) -> None:
    size = min(512, (end - start) // 2)
    at = rng.randrange(start, end - size)
    data[at : at + size] = rng.randbytes(size)


def _missing(data: bytearray, start: int, end: int, rng: random.Random) -> None:
    size = min(512, (end - start) // 2)
    at = rng.randrange(start, end - size)
    del data[at : at + size]


def _tail(data: bytearray, start: int, end: int, rng: random.Random) -> None:
    at = rng.randrange((start + end) // 2, end - _ENDING)
    data[at:end] = bytes(end - at)


def _bit(data: bytearray, start: int, end: int, rng: random.Random) -> None:
    data[rng.randrange(start, end)] ^= 1 << rng.randrange(8)


def _exchange(data: bytearray, start: int, end: int, rng: random.Random) -> None:
    size = min(512, (end - start) // 4)
    at = rng.randrange(start, end - 2 * size)
    first, second = data[at : at + size], data[at + size : at + 2 * size]
    data[at : at + 2 * size] = second + first


_DAMAGES: dict[str, Damage] = {
    "hole of zeros": _hole(0),
    "hole of 0xFF": _hole(0xFF),
    "hole of 0xAA": _hole(0xAA),
    "tail of zeros": _tail,
    "random bytes": _random_bytes,
    "missing bytes": _missing,
    "exchanged blocks": _exchange,
    "one bit": _bit,
}


def _encoded(photo: np.ndarray, rng: random.Random) -> bytes:
    picture = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY) if rng.random() < 0.2 else photo
    options = (
        *(cv2.IMWRITE_JPEG_QUALITY, rng.choice(_QUALITIES)),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, int(rng.random() < 0.3)),
        *(cv2.IMWRITE_JPEG_RST_INTERVAL, rng.choice((0, 0, 0, 1, 8))),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, int(rng.random() < 0.3)),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, rng.choice(_SAMPLINGS)),
    )
    return cv2.imencode(".jpg", picture, options)[1].tobytes()


def measure(photos: list[Path], seed: int) -> dict[str, Counter[str]]:
    """Count what became of each damage, and of the whole photos."""
    rng = random.Random(seed)
    found: dict[str, Counter[str]] = {name: Counter() for name in ("whole", *_DAMAGES)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        for photo in photos:
            for _ in range(4):
                data = _encoded(images.read_image(photo), rng)
                path.write_bytes(data)
                whole = _read(path)
                found["whole"]["refused" if whole is None else "read"] += 1
                start = data.find(b"\xff\xda")
                start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
                if whole is None or len(data) - start < 4 * _ENDING:
                    continue
                for name, damage in _DAMAGES.items():
                    damaged = bytearray(data)
                    damage(damaged, start, len(data) - 2, rng)
                    if damaged != data:
                        path.write_bytes(damaged)
                        found[name][_outcome(_read(path), whole)] += 1
    return found


def _read(path: Path) -> np.ndarray | None:
    try:
        return images.read_image(path)
    except ImageError:
        return None


def _outcome(seen: np.ndarray | None, whole: np.ndarray) -> str:
    if seen is None:
        return "refused"
    is_far = np.abs(seen.astype(int) - whole) > _FAR
    return "read, changed" if is_far.mean() > _VISIBLE else "read, hardly changed"


if __name__ == "__main__":
    every = sorted(Path(sys.argv[1]).rglob("*.jpg"))
    random.Random(0).shuffle(every)
    for name, outcomes in measure(every[:250], seed=0).items():
        print(f"{name:18} {dict(outcomes)}")
