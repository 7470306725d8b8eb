"""Parts that are in the training photos and in the test photos: what commands say of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgead import notices
from edgead.markdown import figure
from edgead.printable import printable

if TYPE_CHECKING:
    from edgead.datasets import Dataset, NearCopy
    from edgead.evaluation import Evaluation

_FEWEST = "at least 8 are needed to know what is usual"


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--leak-check`` and ``--no-leak-check``."""
    parser.add_argument(
        "--leak-check",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="look for test photos that show the same part as a training photo (default: where "
        "the folder has both)",
    )


def find(dataset: Dataset, is_wanted: bool | None) -> list[NearCopy] | None:
    """Find near-copies, and say why if that was asked for and cannot be done.

    Returns:
        The pairs; ``None`` where nothing was looked for.
    """
    from edgead.datasets import FEWEST_TRAINING_PHOTOS

    if is_wanted is False:
        return None
    if dataset.test and len(dataset.train) >= FEWEST_TRAINING_PHOTOS:
        return dataset.near_copies()
    if is_wanted:
        notices.warn(
            f"--leak-check found nothing to compare: {dataset.root} has {len(dataset.train)} "
            f"training photos ({_FEWEST}) and {len(dataset.test)} test photos"
        )
    return None


def warn(dataset: Dataset, pairs: Sequence[NearCopy]) -> None:
    """Warn of near-copies before a training."""
    if not pairs:
        return
    count = len({pair.test for pair in pairs})
    first = pairs[0]
    notices.warn(
        f"{count} of {len(dataset.test)} test photos seem to show the same part as a training "
        f"photo, for example {first.test} and {first.train}: accuracy measured on them is too "
        "high; keep all photos of a part together in train or in test ('edgead evaluate "
        "--json FILE' lists the pairs)"
    )


def line(evaluation: Evaluation, pairs: Sequence[NearCopy]) -> str:
    """Return one line on near-copies and what they change."""
    if not pairs:
        return "near-copies of training photos among the test photos: none found"
    photos = {pair.test for pair in pairs}
    kept = [entry.photo for entry in evaluation.judged if entry.photo.path not in photos]
    defective = sum(photo.is_anomalous for photo in kept)
    return (
        f"near-copies of training photos among the test photos: {len(photos)}, for example "
        f"{printable(pairs[0].test)} of {printable(pairs[0].train)}; image AUROC "
        f"{figure(evaluation.image_auroc)} with them, "
        f"{figure(evaluation.image_auroc_without(photos))} without "
        f"({len(kept) - defective} good and {defective} defective photos)"
    )


def to_json(evaluation: Evaluation, pairs: Sequence[NearCopy] | None) -> dict[str, Any] | None:
    """Return the key ``near_copies`` of ``evaluate --json``."""
    if pairs is None:
        return None
    photos = {pair.test for pair in pairs}
    return {
        "images": len(photos),
        "image_auroc_without": evaluation.image_auroc_without(photos),
        "pairs": [
            {
                "test": str(pair.test),
                "train": str(pair.train),
                "similarity": pair.similarity,
                "deviations": pair.deviations,
            }
            for pair in pairs
        ],
    }
