"""Sets at the network's size, and draws of their good photos, in a folder of their own.

A prepared folder moves to a faster machine as it is: ``OUT/SET`` has MVTec AD's layout, PNG files
of the network's size, and ``draws.json``.
"""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from edgead import files, images, strict_json
from edgead.datasets import GOOD, Dataset, Photo, read_mask
from edgead.errors import DataError
from edgead.strict_json import Source

DRAWS = 3
_FILE = "draws.json"
_ADVICE = "prepare the set again"


@dataclass(frozen=True)
class Draw:
    """One way to choose good photos, as paths relative to the set.

    Attributes:
        train: In the order in which they are taken: the first N are the draw of N photos.
        good: For tests.
    """

    train: tuple[str, ...]
    good: tuple[str, ...]


@dataclass(frozen=True)
class _Draws:
    draws: tuple[Draw, ...]


def prepare(
    name: str, data: Path, out: Path, size: tuple[int, int], groups: Path | None, resize: str
) -> None:
    """Resize a set as the product does, and draw its good photos.

    Args:
        name: Of the set.
        data: In MVTec AD's layout.
        out: The folder ``out/name`` is written.
        size: ``(height, width)`` of photos and masks.
        groups: CSV with ``file,group,role`` of the good photos: draws keep groups together.
        resize: One of :data:`edgead.resizing.METHODS`.

    Raises:
        DataError: Two photos would get the same name, or a photo of the CSV is missing.
    """
    dataset = Dataset.from_folder(data)
    written: set[str] = set()
    for path in dataset.train:
        _write(path, data, out / name, size, resize, written)
    for photo in dataset.test:
        own = _write(photo.path, data, out / name, size, resize, written)
        if photo.masks:
            _write_mask(photo, own, out / name, size)
    test = [_named(photo.path, data) for photo in dataset.test if photo.kind == GOOD]
    train = [_named(path, data) for path in dataset.train]
    draws = (
        by_group(groups)
        if groups is not None
        else [Draw(_shuffled(train, draw), tuple(test)) for draw in range(DRAWS)]
    )
    for file in (file for draw in draws for file in (*draw.train, *draw.good)):
        if file not in written:
            raise DataError(f"{groups} names {file}, which is not in {data}")
    files.write_json(out / name / _FILE, asdict(_Draws(tuple(draws))))


def by_group(groups: Path) -> list[Draw]:
    """Return the CSV's own roles, and two more draws in which no group is in train and test.

    Each draws groups for tests, in an order by SHA-256, until they have as many photos as the
    CSV's own.
    """
    with groups.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    test = {row["group"] for row in rows if row["role"] == "test"}
    wanted = sum(row["group"] in test for row in rows)
    names = list(dict.fromkeys(row["group"] for row in rows))
    draws = []
    for draw in range(DRAWS):
        if draw:
            test, photos = set(), 0
            for group in _shuffled(names, draw):
                if photos < wanted:
                    test.add(group)
                    photos += sum(row["group"] == group for row in rows)
        of = {
            is_test: [_png(row["file"]) for row in rows if (row["group"] in test) is is_test]
            for is_test in (False, True)
        }
        draws.append(Draw(_shuffled(of[False], draw), tuple(of[True])))
    return draws


def draws_of(prepared: Path) -> tuple[Draw, ...]:
    """Read the draws of a prepared set.

    Raises:
        DataError: It is none.
    """
    path = prepared / _FILE
    if not path.is_file():
        raise DataError(f"{prepared} is no prepared set: it has no {_FILE}")
    read = strict_json.read(path, DataError, _ADVICE)
    return strict_json.build(_Draws, read, Source(str(path), DataError, _ADVICE)).draws


def laid_out(prepared: Path, draw: Draw, target: Path) -> Dataset:
    """Copy a draw's photos, the defects and their masks into a folder in MVTec AD's layout.

    Links would show where the photos come from: test photos of the set, in other draws.
    """
    for part, chosen in (("train", draw.train), ("test", draw.good)):
        for file in chosen:
            _copy(prepared / file, target / part / GOOD / Path(file).name)
    others = [*(prepared / "test").glob("*/*.png"), *(prepared / "ground_truth").glob("*/*.png")]
    for path in others:
        if path.parent.name != GOOD:
            _copy(path, target / path.relative_to(prepared))
    return Dataset.from_folder(target)


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(path, target)


def _shuffled(names: Iterable[str], draw: int) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: hashlib.sha256(f"{draw} {name}".encode()).digest()))


def _png(file: str | os.PathLike[str]) -> str:
    return Path(file).with_suffix(".png").as_posix()


def _named(path: Path, data: Path) -> str:
    return _png(path.relative_to(data))


def _write(
    path: Path, data: Path, out: Path, size: tuple[int, int], resize: str, written: set[str]
) -> Path:
    name = _named(path, data)
    if name in written:
        raise DataError(f"{path} and another photo of {data} would both become {name}")
    written.add(name)
    _write_png(out / name, images.resize(images.read_image(path), size, resize))
    return out / name


def _write_mask(photo: Photo, own: Path, out: Path, size: tuple[int, int]) -> None:
    whole = images.read_image(photo.path)
    mask = read_mask(photo, (whole.shape[0], whole.shape[1]))
    if mask is None:
        return
    grey = mask.astype(np.uint8) * 255
    small = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_NEAREST)
    _write_png(out / "ground_truth" / photo.kind / f"{own.stem}_mask.png", small)


def _write_png(path: Path, pixels: cv2.typing.MatLike) -> None:
    is_grey = pixels.ndim == 3 and (pixels == pixels[..., :1]).all()
    _, data = cv2.imencode(".png", pixels[..., 0] if is_grey else pixels)
    files.write_bytes(path, data.tobytes())


def sets_in(folder: Path, only: Sequence[str] = ()) -> dict[str, Path]:
    """Find the prepared sets of a folder, or some of them by name.

    Raises:
        DataError: There are none.
    """
    found = {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{_FILE}"))}
    missing = next((name for name in only if name not in found), None)
    if missing is not None or not found:
        raise DataError(f"{folder} has no prepared set{f' {missing}' if missing else ''}")
    return {name: path for name, path in found.items() if not only or name in only}
