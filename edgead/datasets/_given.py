"""The good photos of a folder that a user gave for something else than a training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgead import photo_files
from edgead.datasets._dataset import Dataset
from edgead.errors import DataError
from edgead.photo_files import PhotoListing


def good_photos_in(folder: str | os.PathLike[str], good: Sequence[str], forbidden: str) -> Dataset:
    """Open a folder of good photos, or a data set for its ``train/good``; report what is skipped.

    Args:
        folder: What the user gave.
        good: Names of folders in it, besides ``good``, that hold photos of good parts.
        forbidden: What must not happen to test photos, for the error: "be taught".

    Returns:
        The data set, whose ``train`` are the photos.

    Raises:
        DataError: It has none.
    """
    found = Dataset.from_folder(folder, good)
    if not found.train:
        raise DataError(
            f"{os.fspath(folder)} is a data set without photos of good parts in train/good, and "
            f"test photos must not {forbidden}: give a folder of other good photos"
        )
    photo_files.report(PhotoListing(found.train, found.skipped))
    return found


def refuse_test_folder(folder: Path, forbidden: str, instead: str) -> None:
    """Refuse a folder that is the test part of a data set, or its masks.

    Args:
        folder: What the user gave.
        forbidden: What must not happen to test photos, for the error: "be taught".
        instead: What to do, for the error, with ``{root}`` for the data set: "give {root}".

    Raises:
        DataError: Names the data set.
    """
    whole = folder.resolve()
    for part in (whole, whole.parent):
        others = {"train", "test", "ground_truth"} - {part.name}
        if len(others) == 3 or not any((part.parent / name).is_dir() for name in others):
            continue
        if part.name != "train":
            what = "masks" if part.name == "ground_truth" else "test photos"
            kind = f" of '{whole.name}'" if whole != part else ""
            raise DataError(
                f"{folder} holds {what}{kind} of the data set {part.parent}, which must not "
                f"{forbidden}: {instead.format(root=part.parent)}"
            )
