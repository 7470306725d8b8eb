"""Photos that one command needs several times, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgead import files, images
from edgead.errors import DataError
from edgead.view import View

MOST_BYTES = 1 << 29
"""Limit of the pixels that a reader keeps, 512 MiB: 64 photos of 2.7 megapixels."""


@dataclass(frozen=True)
class ReadPhoto:
    """A photo and the digest of its file.

    Attributes:
        pixels: uint8 ``[H, W, 3]`` BGR, as :func:`edgead.images.read_image` gives it.
        sha256: Of the file, in hexadecimal.
    """

    pixels: images.Image
    sha256: str


class PhotoReader:
    """Reads photos and keeps them as long as they fit; what does not fit is read again.

    Args:
        most_bytes: Limit of the pixels that are kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Path, ReadPhoto] = {}
        self._kept_bytes = 0
        self._digests: dict[Path, str] = {}

    def read(self, path: Path) -> ReadPhoto:
        """Read a photo, or return the one that was read before.

        Raises:
            ImageError: As :func:`edgead.images.read_image`.
            DataError: The file is another one than when it was read before.
        """
        if path in self._kept:
            return self._kept[path]
        data = images.read_bytes(path)
        sha256 = hashlib.sha256(data).hexdigest()
        if self._digests.setdefault(path, sha256) != sha256:
            raise DataError(
                f"{path} was changed while the command was running: start the command again"
            )
        photo = ReadPhoto(images.decode(data, path), sha256)
        if self._kept_bytes + photo.pixels.nbytes <= self._most_bytes:
            self._kept[path] = photo
            self._kept_bytes += photo.pixels.nbytes
        return photo

    def canvas(self, path: Path, view: View) -> images.Image:
        """Return a photo as a detector sees it, before it is cut into windows.

        Raises:
            DataError: Its aspect ratio is not that of the view, or :meth:`read` refuses it.
            ImageError: As :meth:`read`.
        """
        photo = self.read(path).pixels
        view.require_aspect((photo.shape[0], photo.shape[1]), path)
        return view.prepare(photo)

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file; it is opened for it where it was not read before."""
        if path not in self._digests:
            self._digests[path] = files.sha256_file(path)
        return self._digests[path]

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Free the pixels of all other photos."""
        wanted = set(paths)
        self._kept = {path: photo for path, photo in self._kept.items() if path in wanted}
        self._kept_bytes = sum(photo.pixels.nbytes for photo in self._kept.values())
