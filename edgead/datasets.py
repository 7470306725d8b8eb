"""Folders of photos: MVTec AD's layout, or a plain folder of good parts."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgead.errors import DataError
from edgead.photo_files import SUFFIXES

GOOD = "good"
FEWEST_TRAINING_PHOTOS = 8
"""Two are held out of eight, the fewest that give the held-out scores a spread."""

_MVTEC_HINT = (
    "expected MVTec AD's layout (train/good, test/<kind>, ground_truth/<kind>) or a folder with "
    "photos of good parts directly in it"
)


@dataclass(frozen=True)
class Photo:
    """A labelled test photo.

    Attributes:
        path: The image file.
        kind: ``"good"`` or the kind of defect, as the folder is called.
        mask: The image that marks the defect, or ``None`` where there is none.
    """

    path: Path
    kind: str
    mask: Path | None = None

    @property
    def is_anomalous(self) -> bool:
        """Whether the part on it is defective."""
        return self.kind != GOOD


@dataclass(frozen=True)
class Dataset:
    """Photos to train on and labelled photos to test on.

    Attributes:
        root: The folder.
        layout: ``"mvtec"`` or ``"folder"``.
        train: Photos of good parts, sorted.
        test: Labelled photos, sorted; empty in a plain folder.
    """

    root: Path
    layout: str
    train: tuple[Path, ...]
    test: tuple[Photo, ...]

    @classmethod
    def from_folder(cls, root: str | os.PathLike[str]) -> Dataset:
        """Find out what a folder holds.

        Args:
            root: A category in MVTec AD's layout, or a folder with photos of good parts directly
                in it (sub-folders of a plain folder are not searched: they could hold anything).

        Raises:
            DataError: The folder is missing, has no photos, has another layout (named where it is
                a known one), or has a mask without a photo.
        """
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"{root} is not a folder; {_MVTEC_HINT}")
        if (root / "train").is_dir() or (root / "test").is_dir():
            return cls._from_mvtec(root)
        photos = _photos_in(root)
        if photos:
            return cls(root, "folder", tuple(photos), ())
        raise DataError(_what_it_is_instead(root))

    @classmethod
    def _from_mvtec(cls, root: Path) -> Dataset:
        train = _photos_in(root / "train" / GOOD)
        if (root / "train").is_dir() and not train:
            kinds = [entry.name for entry in sorted((root / "train").iterdir()) if entry.is_dir()]
            raise DataError(
                f"{root / 'train' / GOOD} has no photos of good parts"
                + (f" (train holds: {', '.join(kinds)})" if kinds else "")
            )
        test: list[Photo] = []
        used: set[Path] = set()
        folders = sorted((root / "test").iterdir()) if (root / "test").is_dir() else []
        for folder in (entry for entry in folders if entry.is_dir()):
            masks = _masks_by_stem(root / "ground_truth" / folder.name)
            for path in _photos_in(folder):
                mask = masks.get(path.stem)
                if mask is not None:
                    used.add(mask)
                test.append(Photo(path, folder.name, mask))
        if not train and not test:
            raise DataError(f"{root} has no photos; {_MVTEC_HINT}")
        _check_masks(root, test, used)
        return cls(root, "mvtec", tuple(train), tuple(test))

    def train_photos(self) -> tuple[Path, ...]:
        """Return the training photos, checked to be enough.

        Raises:
            DataError: There are fewer than eight.
        """
        if len(self.train) < FEWEST_TRAINING_PHOTOS:
            photos = "photo" if len(self.train) == 1 else "photos"
            raise DataError(
                f"{self.root} has {len(self.train)} {photos} of good parts, but training takes at "
                f"least {FEWEST_TRAINING_PHOTOS} (50 or more are better)" + self._misplaced()
            )
        return self.train

    def _misplaced(self) -> str:
        """Say that there are photos beside ``test``, where MVTec AD's layout has none."""
        if self.layout != "mvtec" or not _photos_in(self.root):
            return ""
        return (
            f"; photos directly in a folder that has 'train' or 'test' are not looked at: move "
            f"those of good parts into {self.root / 'train' / GOOD}"
        )

    def test_photos(self) -> tuple[Photo, ...]:
        """Return the labelled photos.

        Raises:
            DataError: There are none.
        """
        if not self.test:
            raise DataError(
                f"{self.root} has no labelled test photos, so there is nothing to evaluate on; "
                "put them into test/good and test/<kind of defect>, masks into "
                "ground_truth/<kind of defect>"
            )
        return self.test

    def leaks(self) -> list[tuple[Path, Path]]:
        """Find byte-identical photos in train and test: (training photo, test photo)."""
        return identical(self.train, [photo.path for photo in self.test])

    def _copies(self) -> list[tuple[Path, Path]]:
        """Find byte-identical training photos: (the first of them, a later one)."""
        sizes = Counter(path.stat().st_size for path in self.train)
        first: dict[bytes, Path] = {}
        found = []
        for path in self.train:
            if sizes[path.stat().st_size] > 1:  # others need not be read
                digest = hashlib.sha256(path.read_bytes()).digest()
                if first.setdefault(digest, path) != path:
                    found.append((first[digest], path))
        return found

    def warnings(self) -> list[str]:
        """Say what a person should look at before trusting figures from this folder."""
        found = []
        leaks = self.leaks()
        if leaks:
            first = leaks[0]
            found.append(
                f"{len({test for _, test in leaks})} test photos are byte-identical to training "
                f"photos, for example {first[1]} and {first[0]}: figures from them are too good"
            )
        copies = self._copies()
        if copies:
            first = copies[0]
            found.append(
                f"{len(copies)} photos to train on are byte-identical to "
                f"others, for example {first[1]} and {first[0]}: they say nothing new, so there "
                "are fewer photos than it seems"
            )
        unmarked = [photo.path for photo in self.test if photo.is_anomalous and photo.mask is None]
        if unmarked and any(photo.mask for photo in self.test):
            found.append(
                f"{len(unmarked)} defective test photos have no mask, for example {unmarked[0]}: "
                "pixel metrics leave them out"
            )
        return found


def identical(first: Sequence[Path], second: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Find byte-identical files, under whatever names: (one of the first, one of the second)."""
    sizes: dict[int, list[Path]] = defaultdict(list)  # files of one size alone are read
    for path in first:
        sizes[path.stat().st_size].append(path)
    digests: dict[Path, bytes] = {}

    def digest(path: Path) -> bytes:
        if path not in digests:
            digests[path] = hashlib.sha256(path.read_bytes()).digest()
        return digests[path]

    return [
        (path, other)
        for other in second
        for path in sizes.get(other.stat().st_size, [])
        if digest(path) == digest(other)
    ]


def read_mask(photo: Photo, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
    """Read which pixels of a test photo are defective.

    Any value above 0 in any colour counts, as in MVTec's own evaluation code, of 16 bits too:
    annotation tools write 1, 2, 3 for their labels.

    Args:
        photo: The photo; a good one has an empty mask.
        size: The photo's ``(height, width)`` in pixels.

    Returns:
        bool ``[height, width]``, or ``None`` for a defective photo without a mask.

    Raises:
        DataError: The mask cannot be read or has another size; names both.
    """
    if photo.mask is None:
        return None if photo.is_anomalous else np.zeros(size, bool)
    try:
        encoded = np.frombuffer(photo.mask.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"cannot read the mask {photo.mask}: {error.strerror}") from error
    # Asked for grey, OpenCV would scale 16 bits to 8, mix the colours and round to 0.
    as_stored = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
    mask = cv2.imdecode(encoded, as_stored) if encoded.size else None
    if mask is None:
        raise DataError(f"the mask {photo.mask} is not an image or is damaged")
    if mask.shape[:2] != size:
        raise DataError(
            f"the mask {photo.mask} is {mask.shape[1]}x{mask.shape[0]} px, but its photo "
            f"{photo.path} is {size[1]}x{size[0]} px"
        )
    return np.asarray(mask > 0 if mask.ndim == 2 else (mask > 0).any(2))


def _photos_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES and entry.is_file() and not entry.name.startswith(".")
    )


def _masks_by_stem(folder: Path) -> dict[str, Path]:
    """Index masks by their photo's stem; MVTec AD appends ``_mask``, others do not."""
    return {path.stem.removesuffix("_mask"): path for path in _photos_in(folder)}


def _check_masks(root: Path, test: Sequence[Photo], used: set[Path]) -> None:
    truth = root / "ground_truth"
    for folder in sorted(truth.iterdir()) if truth.is_dir() else []:
        for mask in _photos_in(folder):
            if mask not in used:
                raise DataError(
                    f"the mask {mask} has no photo: expected "
                    f"{root / 'test' / folder.name / mask.stem.removesuffix('_mask')}.*; remove "
                    "the mask or add the photo"
                )
    for photo in test:
        if not photo.is_anomalous and photo.mask is not None:
            raise DataError(
                f"{photo.path} is in test/good but has a mask, {photo.mask}: move the photo to "
                "its kind of defect or remove the mask"
            )


def _what_it_is_instead(root: Path) -> str:
    """Name a known layout that is not read directly, or say that there are no photos."""
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    categories = [folder.name for folder in folders if (folder / "train").is_dir()]
    if categories:
        return (
            f"{root} holds several categories; name one of them: "
            f"{', '.join(str(root / name) for name in categories[:4])}"
            + (" ..." if len(categories) > 4 else "")
        )
    if (root / "Data" / "Images").is_dir():
        return (
            f"{root} is in VisA's layout; convert it to MVTec AD's with the split script that "
            "VisA publishes (its '1cls' output can be used here)"
        )
    if any((folder / "Imgs").is_dir() for folder in folders):
        return (
            f"{root} is in the layout of the magnetic-tile set (MT_*/Imgs); sort it into "
            "train/good, test/good and test/<kind>, masks into ground_truth/<kind>"
        )
    with_photos = [folder.name for folder in folders if _photos_in(folder)]
    if with_photos:
        return (
            f"{root} has no photos directly in it, but its folders have "
            f"({', '.join(with_photos[:5])}); {_MVTEC_HINT}"
        )
    return f"{root} has no images; {_MVTEC_HINT}"
