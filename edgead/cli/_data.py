"""Data sets that a command was given: read, and everything doubtful about them printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgead import notices

if TYPE_CHECKING:
    from edgead.datasets import Dataset


def read(folders: Sequence[str], good: Sequence[str]) -> list[Dataset]:
    """Read data sets, and print their notes and warnings on stderr.

    Args:
        folders: One data set each.
        good: Names of folders with photos of good parts, each in at least one of the data sets.

    Raises:
        DataError: A data set cannot be read, or a name of ``good`` is in none of them.
    """
    from edgead.datasets import Dataset

    found = [Dataset.from_folder(folder, good) for folder in folders]
    missing = [set(dataset.missing_good()) for dataset in found]
    if set.intersection(*missing):
        found[0].require_good()
    for dataset in found:
        for note in dataset.notes():
            notices.note(note)
        for warning in dataset.warnings():
            notices.warn(warning)
    return found
