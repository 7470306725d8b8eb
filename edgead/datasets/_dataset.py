"""Photos to train on and labelled photos to test on, out of one folder."""

from __future__ import annotations

import os
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgead import photo_files
from edgead.datasets import _masks
from edgead.datasets._copies import copies, identical
from edgead.datasets._good_names import reads_like_good
from edgead.datasets._layouts import (
    MVTEC_HINT,
    folders_in,
    refuse_mvtec_3d,
    what_it_is_instead,
)
from edgead.datasets._near_copies import NearCopy, near_copies
from edgead.datasets._photo import GOOD, Photo
from edgead.errors import DataError
from edgead.photo_files import PhotoListing
from edgead.skipped import Reason, Skipped, sentences

FEWEST_TRAINING_PHOTOS = 8
"""Two are held out of eight, the fewest that give the held-out scores a spread."""

_TRAIN, _TEST, _TRUTH = "train", "test", "ground_truth"
_FOLDERS_OF_MASKS = frozenset({"mask", "masks", "gt", _TRUTH, "groundtruth", "label", "labels"})

_NOT_TRAINED = Reason(
    "folder in train that is not called good",
    "folders in train that are not called good",
    "--good NAME if a folder holds photos of good parts",
    is_warned=True,
)
_UNLABELLED = Reason(
    "photo outside the labelled folders",
    "photos outside the labelled folders",
    "move them into train/good, test/good or test/<kind of defect>",
    is_warned=True,
)
_BESIDE = Reason(
    "folder of photos beside train and test",
    "folders of photos beside train and test",
    is_warned=True,
)
_NOT_SEARCHED = Reason(
    "sub-folder of a plain folder, with unknown content",
    "sub-folders of a plain folder, with unknown content",
    "move their photos up, or into train/good, if they are of good parts",
    is_warned=True,
)
_LOOSE_MASK = Reason(
    "mask directly in ground_truth",
    "masks directly in ground_truth",
    "move them into ground_truth/<kind of defect>",
    is_warned=True,
)
_BETWEEN_PHOTOS = Reason(
    "file in a folder of masks between photos",
    "files in folders of masks between photos",
    "masks belong into ground_truth/<kind of defect>",
    is_warned=True,
)


@dataclass(frozen=True)
class Dataset:
    """Photos to train on and labelled photos to test on.

    Attributes:
        root: The folder.
        layout: ``"mvtec"`` or ``"folder"``.
        train: Photos of good parts, sorted.
        test: Labelled photos, sorted within their folders; empty in a plain folder.
        good: Names of folders of good parts.
        skipped: Files that were found and skipped.
    """

    root: Path
    layout: str
    train: tuple[Path, ...]
    test: tuple[Photo, ...]
    good: tuple[str, ...] = (GOOD,)
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def from_folder(cls, root: str | os.PathLike[str], good: Sequence[str] = ()) -> Dataset:
        """Find out what a folder holds.

        ``train/good`` and each folder of ``test`` are searched to any depth.

        Args:
            root: A category in MVTec AD's layout, or a folder with photos of good parts directly
                in it (sub-folders of a plain folder are not searched: they could hold anything).
            good: Names of folders in ``train`` and ``test``, besides ``good``, that hold photos of
                good parts.

        Raises:
            DataError: The folder is missing, has no photos, has another layout (named where it is
                a known one), or has a mask without a photo.
        """
        photo_files.refuse_stream(os.fspath(root))
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"{root} is not a folder; {MVTEC_HINT}")
        if (root / _TRAIN).is_dir() or (root / _TEST).is_dir():
            return cls._from_mvtec(root, tuple(dict.fromkeys((GOOD, *good))))
        listing = photo_files.directly_in(root)
        if not listing.photos:
            raise DataError(what_it_is_instead(root))
        unsearched = [Skipped(path, _NOT_SEARCHED) for path in _with_photos(folders_in(root))]
        return cls(
            root,
            "folder",
            listing.photos,
            (),
            tuple(dict.fromkeys((GOOD, *good))),
            (*listing.skipped, *unsearched),
        )

    @classmethod
    def _from_mvtec(cls, root: Path, good: tuple[str, ...]) -> Dataset:
        refuse_mvtec_3d(root)
        train, skipped = _train_photos(root / _TRAIN, good)
        test: list[Photo] = []
        for folder in folders_in(root / _TEST):
            listing = _labelled(folder)
            truth = photo_files.within(root / _TRUTH / folder.name)
            skipped += [*listing.skipped, *truth.skipped]
            kind = GOOD if folder.name in good else folder.name
            test += _with_masks(root, folder, kind, listing.photos, truth.photos)
        if not train and not test:
            raise DataError(f"{root} has no photos; {MVTEC_HINT}")
        _refuse_masks_of_nothing(root)
        for outside, reason in ((root, _UNLABELLED), (root / _TEST, _UNLABELLED)):
            skipped += _passed_over(photo_files.directly_in(outside), reason)
        skipped += _passed_over(photo_files.directly_in(root / _TRUTH), _LOOSE_MASK)
        others = [path for path in folders_in(root) if path.name not in (_TRAIN, _TEST, _TRUTH)]
        skipped += [Skipped(path, _BESIDE) for path in _with_photos(others)]
        return cls(root, "mvtec", tuple(train), tuple(test), good, tuple(skipped))

    def missing_good(self) -> list[str]:
        """List the names of good parts, besides ``good``, that no folder has."""
        folders = self._label_folders()
        return [name for name in self.good if name != GOOD and name not in folders]

    def _label_folders(self) -> set[str]:
        return {path.name for part in (_TRAIN, _TEST) for path in folders_in(self.root / part)}

    def require_good(self) -> Dataset:
        """Return the data set, checked to have a folder for each name of good parts given.

        Raises:
            DataError: It has none for one of them; names those there are.
        """
        missing = self.missing_good()
        if missing:
            folders = ", ".join(sorted(self._label_folders())) or "none"
            raise DataError(
                f"{self.root} has no folder {_TRAIN}/{missing[0]} or {_TEST}/{missing[0]} of good "
                f"parts; its folders are: {folders}"
            )
        return self

    def train_photos(self) -> tuple[Path, ...]:
        """Return the training photos, checked to be enough.

        Raises:
            DataError: There are fewer than eight.
        """
        if len(self.train) < FEWEST_TRAINING_PHOTOS:
            photos = "photo" if len(self.train) == 1 else "photos"
            lost = [entry for entry in self.skipped if entry.reason.is_warned]
            raise DataError(
                f"{self.root} has {len(self.train)} {photos} of good parts, but training takes at "
                f"least {FEWEST_TRAINING_PHOTOS} (50 or more are better)"
                + "".join(f"; {sentence}" for sentence in sentences(lost))
            )
        return self.train

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

    def near_copies(self) -> list[NearCopy]:
        """Find test photos that show the same part as a training photo, the clearest first."""
        return near_copies(self.train, [photo.path for photo in self.test])

    def notes(self) -> list[str]:
        """Say which files were passed over that no photo is lost by."""
        quiet = [entry for entry in self.skipped if not entry.reason.is_warned]
        found = [f"{self.root}: {sentence}" for sentence in sentences(quiet)]
        return found + self._photos_in_sub_folders()

    def _photos_in_sub_folders(self) -> list[str]:
        if self.layout != "mvtec":
            return []
        deeper: dict[Path, list[Path]] = defaultdict(list)
        for path in [*self.train, *(photo.path for photo in self.test)]:
            part, label, *folders = path.relative_to(self.root).parent.parts
            if folders:
                deeper[self.root / part / label].append(path)
        return [
            f"{len(paths)} photos of {folder} are in sub-folders of it, for example {paths[0]}"
            for folder, paths in deeper.items()
        ]

    def warnings(self) -> list[str]:
        """Say what a person should look at before trusting figures from this folder.

        Raises:
            DataError: A mask cannot be read, or marks something on a good photo.
        """
        lost = [entry for entry in self.skipped if entry.reason.is_warned]
        found = [f"{self.root}: {sentence}" for sentence in sentences(lost)]
        found += self._doubtful_labels()
        leaks = self.leaks()
        if leaks:
            first = leaks[0]
            found.append(
                f"{len({test for _, test in leaks})} test photos are byte-identical to training "
                f"photos, for example {first[1]} and {first[0]}: accuracy measured on them is too "
                "high"
            )
        again = copies(self.train)
        if again:
            first = again[0]
            found.append(
                f"{len(again)} photos to train on are byte-identical to others, for example "
                f"{first[1]} and {first[0]}: they add no information, so there are fewer different "
                "photos than files"
            )
        unmarked = [photo.path for photo in self.test if photo.is_anomalous and not photo.masks]
        if unmarked and any(photo.masks for photo in self.test):
            found.append(
                f"{len(unmarked)} defective test photos have no mask, for example {unmarked[0]}: "
                "pixel metrics leave them out"
            )
        return found + _masks.doubts(self.test)

    def _doubtful_labels(self) -> list[str]:
        """Name kinds of defect that may be good parts under another name."""
        kinds = Counter(photo.kind for photo in self.test)
        suspects = [kind for kind in kinds if kind != GOOD and reads_like_good(kind)]
        found = [
            f"{self.root / _TEST / kind} is counted as a kind of defect ({kinds[kind]} photos), "
            f"but its name may mean good parts: give --good {shlex.quote(kind)} if it does, or "
            f"rename it to {self.root / _TEST / GOOD}"
            for kind in suspects
        ]
        if self.test and GOOD not in kinds and not suspects:
            found.append(
                f"{self.root / _TEST} has no good photos, each of its folders counts as a kind of "
                f"defect ({', '.join(kinds)}): give --good NAME if one of them holds good parts"
            )
        return found


def _train_photos(train: Path, good: Sequence[str]) -> tuple[list[Path], list[Skipped]]:
    photos: list[Path] = []
    skipped: list[Skipped] = []
    for name in good:
        listing = photo_files.within(train / name)
        photos += listing.photos
        skipped += listing.skipped
    loose = photo_files.directly_in(train)
    others = _with_photos(path for path in folders_in(train) if path.name not in good)
    skipped += _passed_over(loose, _UNLABELLED)
    skipped += [Skipped(path, _NOT_TRAINED) for path in others]
    if train.is_dir() and not photos:
        raise DataError(
            f"{train / GOOD} has no photos of good parts{_found_instead(loose, others)}"
        )
    return photos, skipped


def _found_instead(loose: PhotoListing, others: Sequence[Path]) -> str:
    if loose.photos:
        return f" ({len(loose.photos)} photos lie directly in {loose.photos[0].parent}: move them)"
    if not others:
        return ""
    likely = next((path.name for path in others if reads_like_good(path.name)), "NAME")
    return (
        f" (train holds: {', '.join(path.name for path in others)}); give --good "
        f"{shlex.quote(likely)} if that folder holds photos of good parts"
    )


def _labelled(folder: Path) -> PhotoListing:
    """List the photos of one kind without the masks that may lie in folders between them."""
    listing = photo_files.within(folder)
    between = [
        path
        for path in listing.photos
        if not _FOLDERS_OF_MASKS.isdisjoint(
            part.casefold() for part in path.relative_to(folder).parent.parts
        )
    ]
    kept = tuple(path for path in listing.photos if path not in set(between))
    skipped = (Skipped(path, _BETWEEN_PHOTOS) for path in between)
    return PhotoListing(kept, (*listing.skipped, *skipped))


def _with_masks(
    root: Path, folder: Path, kind: str, photos: Sequence[Path], masks: Sequence[Path]
) -> list[Photo]:
    found, unmatched = _masks.match(photos, folder, masks, root / _TRUTH / folder.name)
    if unmatched:
        raise DataError(_without_photo(unmatched[0], folder))
    return [Photo(path, kind, found.get(path, ())) for path in photos]


def _refuse_masks_of_nothing(root: Path) -> None:
    """Refuse masks of a kind that has no photos at all."""
    for truth in folders_in(root / _TRUTH):
        folder = root / _TEST / truth.name
        masks = () if folder.is_dir() else photo_files.within(truth).photos
        if masks:
            raise DataError(_without_photo(masks[0], folder))


def _without_photo(mask: Path, folder: Path) -> str:
    return (
        f"the mask {mask} has no photo: expected {folder / _masks.photo_name(mask)}.*; remove the "
        "mask or add the photo"
    )


def _with_photos(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if photo_files.holds_photos(folder)]


def _passed_over(listing: PhotoListing, reason: Reason) -> list[Skipped]:
    """Give photos a reason for being passed over; what is no photo needs no word there."""
    return [Skipped(path, reason) for path in listing.photos]
