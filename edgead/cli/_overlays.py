"""Heat-map overlays of many photos: one file each, whatever the photos are called."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from edgead import files, images, notices, own_pictures
from edgead.errors import EdgeadError

if TYPE_CHECKING:
    from edgead.detection import Detection

_SUFFIX = ".png"
_MOST_BYTES = 255  # of a file's name, on nearly every file system
_HASH_DIGITS = 8
_MOST_FAILURES = 3  # in a row: the disk is full or the folder closed, and the next fail as well


class Overlays:
    """Writes the overlays of photos into a folder.

    A picture that cannot be written costs neither the scores nor the pictures of other photos.

    Attributes:
        failed: How many are missing.
    """

    def __init__(self, folder: str | os.PathLike[str], photos: Sequence[Path]) -> None:
        self._folder = Path(folder)
        self._names = names(photos, self._folder)
        self._failures_in_a_row = 0
        self.failed = 0

    def write(self, path: Path, photo: images.Image, detection: Detection) -> None:
        """Draw and write one photo's overlay; say on stderr if that fails."""
        if self._failures_in_a_row >= _MOST_FAILURES:
            self.failed += 1
            return
        try:
            write_png(self._folder / self._names[path], detection.overlay(photo))
            self._failures_in_a_row = 0
        except EdgeadError as error:
            self.failed += 1
            self._failures_in_a_row += 1
            notices.error(f"{error}; scoring continues without it")
            if self._failures_in_a_row == _MOST_FAILURES:
                notices.error(
                    f"{_MOST_FAILURES} overlays in a row failed: the remaining ones are not drawn"
                )


def names(photos: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Name overlays after their photos, with folders in front where names repeat.

    Names differ in more than case, as some file systems do not tell it apart, are never the name
    of a photo in the overlays' own folder, and are shortened where they are too long for a file.

    Args:
        photos: The photos.
        folder: Where the overlays will lie.
    """
    found: dict[Path, str] = {}
    taken = {_key(path.name) for path in photos if _is_in(path, folder)}
    for path in photos:
        if path in found:  # given twice
            continue
        candidates = _candidates(path)
        name = next((one for one in candidates if _key(one) not in taken), candidates[-1])
        taken.add(_key(name))
        found[path] = name
    return found


def _candidates(path: Path) -> list[str]:
    whole = os.path.abspath(path)  # noqa: PTH100  # links keep the names that they were given
    parts = Path(whole).parts[1:]
    digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:_HASH_DIGITS]
    joined = ["_".join(parts[-depth:]) for depth in range(1, len(parts) + 1)]
    fitting = [name + _SUFFIX for name in joined if len(os.fsencode(name + _SUFFIX)) <= _MOST_BYTES]
    return [*fitting, _shortened(path.name, f"-{digest}{_SUFFIX}")]


def _shortened(name: str, end: str) -> str:
    while len(os.fsencode(name + end)) > _MOST_BYTES:
        name = name[:-1]
    return name + end


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_in(path: Path, folder: Path) -> bool:
    return os.path.realpath(path.parent) == os.path.realpath(folder)


def write_png(path: Path, picture: images.Image) -> None:
    """Write a picture of edgead's own, which is known as such (:mod:`edgead.own_pictures`)."""
    done, encoded = cv2.imencode(_SUFFIX, picture)
    if not done:
        raise EdgeadError(f"OpenCV cannot encode the picture for {path}")
    files.write_bytes(path, own_pictures.marked(encoded.tobytes()))
