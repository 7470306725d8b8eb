"""Does the search for near-copies find copies that were made, and what does it say of real sets?

Usage: python -m studies.leaks OUT NAME=DATA [NAME=DATA ...]

Each data set in MVTec AD layout gives the number of its test photos that are reported. Then copies
of 30 of its training photos are made in several ways, and compared with all training photos. Test
photos are not looked at for that.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.datasets import Dataset
from edgead.datasets._near_copies import compare, reduced
from edgead.markdown import table
from studies.script import pairs, told, write_csv

COPIES = 30

_COLUMNS = ("set", "what", "found", "of", "pairs", "seconds")

Photo = npt.NDArray[np.uint8]


def _jpeg(photo: Photo, quality: int) -> Photo:
    _, data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _brighter(photo: Photo, factor: float) -> Photo:
    return np.asarray(np.clip(photo * np.float32(factor), 0, 255), np.uint8)


def _gamma(photo: Photo, exponent: float) -> Photo:
    return np.asarray(255 * (photo / np.float32(255)) ** exponent, np.uint8)


def _shifted(photo: Photo, share: float) -> Photo:
    height, width = photo.shape[:2]
    move = np.asarray([[1, 0, share * width], [0, 1, share * height]], np.float32)
    moved = cv2.warpAffine(photo, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _turned(photo: Photo, degrees: float) -> Photo:
    height, width = photo.shape[:2]
    move = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    moved = cv2.warpAffine(photo, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _halved(photo: Photo) -> Photo:
    half = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return _jpeg(np.asarray(half, np.uint8), 90)


def _cropped(photo: Photo, share: float) -> Photo:
    down, right = int(photo.shape[0] * share), int(photo.shape[1] * share)
    height, width = photo.shape[:2]
    return np.asarray(photo[down : height - down, right : width - right], np.uint8)


WAYS: dict[str, Callable[[Photo], Photo]] = {
    "JPEG, quality 40": lambda photo: _jpeg(photo, 40),
    "20 % brighter": lambda photo: _brighter(photo, 1.2),
    "20 % darker": lambda photo: _brighter(photo, 0.8),
    "gamma 1.4": lambda photo: _gamma(photo, 1.4),
    "shifted by 1 %": lambda photo: _shifted(photo, 0.01),
    "shifted by 2 %": lambda photo: _shifted(photo, -0.02),
    "shifted by 3 %": lambda photo: _shifted(photo, 0.03),
    "half the size": _halved,
    "turned by 1 degree": lambda photo: _turned(photo, 1),
    "cropped by 1.5 % a side": lambda photo: _cropped(photo, 0.015),
}
"""Shifts are along both axes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the sets and write ``leaks.csv``."""
    parser = argparse.ArgumentParser(prog="python -m studies.leaks")
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", nargs="+", metavar="NAME=DATA")
    given = parser.parse_args(arguments)
    sets = pairs(parser, given.sets, "of the form NAME=DATA")
    return told(functools.partial(_measured, sets, given.out))


def _measured(sets: Sequence[tuple[str, str]], out: Path) -> str:
    rows = [
        dict(zip(_COLUMNS, (name, *row), strict=True))
        for name, folder in sets
        for row in _rows(Dataset.from_folder(folder))
    ]
    write_csv(out / "leaks.csv", rows)
    return table(_COLUMNS, [[str(value) for value in row.values()] for row in rows])


def _rows(dataset: Dataset) -> list[list[object]]:
    began = time.perf_counter()
    found_pairs = dataset.near_copies()
    seconds = round(time.perf_counter() - began, 1)
    found = len({pair.test for pair in found_pairs})
    rows: list[list[object]] = [
        ["test photos", found, len(dataset.test), len(found_pairs), seconds]
    ]
    known = [reduced(images.read_image(path)) for path in dataset.train]
    chosen = np.random.default_rng(0).permutation(len(known))[:COPIES].tolist()
    originals = [images.read_image(dataset.train[index]) for index in chosen]
    for way, change in WAYS.items():
        pairs_found = compare(known, [reduced(change(photo)) for photo in originals]).is_near_copy
        rows.append(
            [way, int(pairs_found[np.arange(len(chosen)), chosen].sum()), len(chosen), "", ""]
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
