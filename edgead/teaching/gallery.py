"""The good photos that a detector is taught with, each once; their names change no order."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgead import images, notices, photo_files
from edgead.artifact import PhotoSizes
from edgead.contrast import GoodContrast
from edgead.datasets import good_photos_in, identical, refuse_test_folder
from edgead.detector import Frame
from edgead.errors import DataError, ImageError
from edgead.photo_reader import PhotoReader, ReadPhoto
from edgead.printable import printable
from edgead.progress import progress
from edgead.view import View

_KEPT_BYTES = 48 << 20  # 256 photos of 256x256
_FORBIDDEN, _INSTEAD = "be taught", "give good photos, for example {root}"
_NO_CHOICE = "choose a threshold"
_OTHERS = (
    "give defects that are not tested with, for example in a folder beside {root}; otherwise the "
    "accuracy on the test photos is meaningless"
)
_FLAT = 0.05  # grey levels of contrast: nothing, whatever the format

MOST_FRAME_BYTES = 1 << 29
"""Limit of the frames that are kept at the network's size, 512 MiB: 2,730 at 256x256."""

Photos = str | os.PathLike[str] | Iterable[Frame]
"""A folder, a data set or a photo; or several files, folders and frames."""


@dataclass
class Gallery:
    """Good photos.

    Attributes:
        name: Of the folder, for the manifest.
        paths: Each different photo once, in the order of their SHA-256.
        reader: Reads them.
        view: What of them is judged.
        tests: Test photos of the data sets that they come from.
    """

    name: str
    paths: tuple[Path, ...]
    reader: _Reader
    view: View
    tests: tuple[Path, ...] = ()
    _resized: dict[Path, images.Image] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, photos: Photos, view: View, good: Sequence[str] = ()) -> Gallery:
        """Find the photos.

        Args:
            photos: Files, folders (of a data set ``train/good`` alone), or frames uint8
                ``[H, W, 3]`` BGR or ``[H, W]`` grey.
            view: What of them is judged.
            good: Names of folders, besides ``good``, that hold photos of good parts.

        Raises:
            DataError: There are none, they are test photos, or more frames than fit in memory.
            ImageError: A frame is not a photo.
        """
        tests: list[Path] = []

        def listed(given: Path) -> Sequence[Path]:
            refuse_test_folder(given if given.is_dir() else given.parent, _FORBIDDEN, _INSTEAD)
            if not given.is_dir():
                return photo_files.find_and_report([given])
            found = good_photos_in(given, good, _FORBIDDEN)
            tests.extend(photo.path for photo in found.test)
            return found.train

        found = cls._collected(photos, view, listed)
        if not found.paths:
            raise DataError("there are no photos to teach with: give at least one of a good part")
        return dataclasses.replace(found, tests=tuple(tests))

    @classmethod
    def of_defects(cls, photos: Photos, good: Gallery) -> Gallery:
        """Find photos of defects.

        Args:
            photos: Files, folders that are searched to any depth, or frames.
            good: What is taught.

        Raises:
            DataError: There are none, one is also taught as a good part, or they are test photos.
            ImageError: A frame is not a photo.
        """

        def listed(given: Path) -> Sequence[Path]:
            refuse_test_folder(given if given.is_dir() else given.parent, _NO_CHOICE, _OTHERS)
            return photo_files.find_and_report([given])

        found = cls._collected(photos, good.view, listed)
        if not found.paths:
            raise DataError("there are no photos of defects: give at least one, or leave them out")
        taught = {good.reader.digest(path): path for path in good.paths}
        for path in found.paths:
            other = taught.get(found.reader.digest(path))
            if other is not None:
                raise DataError(
                    f"{path} is given as a defect, but is the same photo as {other}, which is "
                    "given as a good part: remove one of them"
                )
        files = [path for path in found.paths if path.is_file()]
        same = identical(files, good.tests, found.reader.digest) if good.tests else []
        if same:
            path, test = same[0]
            raise DataError(
                f"the defect {path} is the test photo {test}: give defects that are not tested "
                "with; otherwise the accuracy on the test photos is meaningless"
            )
        return found

    @classmethod
    def _collected(
        cls, photos: Photos, view: View, listed: Callable[[Path], Sequence[Path]]
    ) -> Gallery:
        given = [photos] if isinstance(photos, (str, os.PathLike)) else photos
        reader = _Reader(view)
        found: list[Path] = []
        folders: list[Path] = []
        for index, entry in enumerate(given):
            if isinstance(entry, (str, os.PathLike)):
                found += listed(Path(entry))
                folders.append(Path(entry))
            else:
                found.append(reader.take(entry, index))
        order: dict[str, Path] = {}
        for path in progress(found, total=len(found), label="reading photos"):
            order.setdefault(_digest(reader, path), path)
        copies = len(found) - len(order)
        if copies:
            notices.note(f"{copies} of {len(found)} photos are copies of others and count once")
        paths = tuple(order[digest] for digest in sorted(order))
        name = printable(folders[0].resolve().name) if folders else "frames"
        return cls(name, paths, reader, view)

    @property
    def sha256(self) -> str:
        """Digest of all photos."""
        digests = (self.reader.digest(path) for path in self.paths)
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def resized(self, path: Path) -> images.Image:
        """Return a photo at the network's size; with tiles it is a canvas of several windows.

        Raises:
            ImageError: It cannot be read.
        """
        if path in self._resized:
            return self._resized[path]
        return self._read(path)[0]

    def _read(self, path: Path) -> tuple[images.Image, tuple[int, int]]:
        """Read a photo; return it at the network's size, and its own height and width."""
        photo, came = self.reader.photo(path)
        if (len(self._resized) + 1) * photo.nbytes <= _KEPT_BYTES:
            self._resized[path] = photo
        return photo, came

    def seen(self) -> tuple[GoodContrast, PhotoSizes]:
        """Look at every photo once.

        Returns:
            How much there is to see in them, and their sizes as they came.

        Raises:
            DataError: They show nothing.
            ImageError: One cannot be read.
        """
        sizes: list[tuple[int, int]] = []

        def photos() -> Iterator[images.Image]:
            for path in progress(self.paths, total=len(self.paths), label="looking at photos"):
                photo, size = self._read(path)
                sizes.append(size)
                yield photo

        found = GoodContrast.of(photos(), self.view)
        flat = sum(mean < _FLAT for mean in found.means)
        if flat > len(self.paths) // 2:
            raise DataError(
                f"{flat} of {len(self.paths)} photos have a single even colour and show nothing, "
                f"for example {self.paths[int(np.argmin(found.means))]}: check the exposure and "
                "the lens cap, and teach with photos that show the part"
            )
        for index in found.odd[:5]:
            notices.warn(
                f"{self.paths[index]} has almost no contrast: it is used, but not for the check "
                "for blank photos; remove it if it does not show a good part"
            )
        return found, PhotoSizes.of(sizes)


class ResizedReader(PhotoReader):
    """Reads photos of a gallery at the network's size, for synthetic defects and checks.

    Painting a defect into 1920x1080 pixels takes many times longer, 80 times for each file.

    Args:
        gallery: The photos.
    """

    def __init__(self, gallery: Gallery) -> None:
        super().__init__(0)
        self._gallery = gallery

    def read(self, path: Path) -> ReadPhoto:
        """Return a photo, resized."""
        return ReadPhoto(self._gallery.resized(path), self._gallery.reader.digest(path))

    def canvas(self, path: Path, view: View) -> images.Image:
        """Return a photo as the gallery has it."""
        return self._gallery.resized(path)

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of the photo as it came."""
        return self._gallery.reader.digest(path)


class _Reader(PhotoReader):
    """Reads files, and frames that a program had in memory.

    Of a frame its pixels at the network's size are kept: a stream may give thousands.

    Args:
        view: What of them is judged.
    """

    def __init__(self, view: View) -> None:
        super().__init__(0)  # at their own size photos are wanted once
        self._view = view
        self._frames: dict[Path, ReadPhoto] = {}
        self._sizes: dict[Path, tuple[int, int]] = {}

    def take(self, frame: object, index: int) -> Path:
        """Keep a frame, and return the path that it is read under.

        Raises:
            DataError: There are more than fit.
            ImageError: It is no photo.
        """
        if not isinstance(frame, np.ndarray):
            raise ImageError(
                f"frame {index} is {type(frame).__name__}, neither a path nor an array: was there "
                "no frame from the camera?"
            )
        pixels = images.as_frame(frame, f"frame {index}")
        sha = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())
        path = Path(f"frame {index}")
        self._view.require_aspect((pixels.shape[0], pixels.shape[1]), f"frame {index}")
        kept = self._view.prepare(pixels)
        if np.shares_memory(kept, frame):  # a camera may write the next frame into it
            kept = kept.copy()
        if len(self._frames) >= MOST_FRAME_BYTES // kept.nbytes:
            raise DataError(
                f"there are more than {len(self._frames):,} frames, which is all that is kept in "
                f"memory ({MOST_FRAME_BYTES >> 20} MiB): write them to files and teach with their "
                "folder"
            )
        self._frames[path] = ReadPhoto(kept, sha.hexdigest())
        self._sizes[path] = pixels.shape[0], pixels.shape[1]
        return path

    def photo(self, path: Path) -> tuple[images.Image, tuple[int, int]]:
        """Return a photo at the network's size, and the height and width that it came with."""
        if path in self._frames:
            return self._frames[path].pixels, self._sizes[path]
        whole = self.read(path).pixels
        size = whole.shape[0], whole.shape[1]
        self._view.require_aspect(size, path)
        return self._view.prepare(whole), size

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a frame or a file."""
        return self._frames[path].sha256 if path in self._frames else super().digest(path)


def _digest(reader: PhotoReader, path: Path) -> str:
    try:
        return reader.digest(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
