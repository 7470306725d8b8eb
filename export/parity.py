"""Does the exported file give the scores of what it was made from?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.artifact import ParitySpec
from edgead.calibration.synthetic import with_defect
from edgead.errors import ParityError
from edgead.runtimes import Runtime

FP32_TOLERANCE = 1e-4
"""Largest difference of a score, as a share of the scores' range, for a graph in FP32."""

_FEWEST_PHOTOS = 8
_MOST_PHOTOS = 64


@dataclass(frozen=True)
class Scored:
    """Scores and maps of the parity photos in one runtime."""

    scores: npt.NDArray[np.float32]
    maps: npt.NDArray[np.float32]


def parity_photos(
    paths: Sequence[Path], size: tuple[int, int], seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Prepare photos for parity checks: good photos, and the same with a synthetic defect.

    Defects are painted at the photo's own size and everything goes through the project's one
    resize, as on a device.

    Args:
        paths: Held-out good photos; the first 64 are used, and where there are fewer than eight
            each gets several defects.
        size: The network's input ``(height, width)``.
        seed: Of the defects.

    Returns:
        uint8 ``[N, height, width, 3]`` BGR, half of it (or more) with defects.
    """
    rng = np.random.default_rng([seed, 6])
    chosen = list(paths)[:_MOST_PHOTOS]
    defects_each = -(-_FEWEST_PHOTOS // len(chosen))
    prepared = []
    for path in chosen:
        photo = images.read_image(path)
        prepared.append(images.resize(photo, size))
        prepared += [images.resize(with_defect(photo, rng), size) for _ in range(defects_each)]
    return np.stack(prepared)


def score(runtime: Runtime, photos: npt.NDArray[np.uint8]) -> Scored:
    """Score photos one by one, as a device does."""
    outputs = [runtime.infer(photos[index : index + 1]) for index in range(len(photos))]
    return Scored(
        np.concatenate([output.score for output in outputs]),
        np.concatenate([output.anomaly_map for output in outputs]),
    )


def compare(reference: Scored, found: Scored, threshold: float, name: str) -> ParitySpec:
    """Measure how far two runtimes are apart.

    Args:
        reference: What is right.
        found: What is checked.
        threshold: A score on the other side of it in one of them is a label flip.
        name: What the reference is, for the manifest.

    Raises:
        ParityError: A score or map is not finite.
    """
    if not (np.isfinite(found.scores).all() and np.isfinite(found.maps).all()):
        raise ParityError("the exported graph gives values that are not finite numbers")
    difference = float(np.abs(reference.scores - found.scores).max())
    span = float(reference.scores.max() - reference.scores.min())
    return ParitySpec(
        reference=name,
        images=len(reference.scores),
        max_score_diff=difference,
        max_score_diff_relative=difference / span if span else float(difference > 0),
        max_map_diff=float(np.abs(reference.maps - found.maps).max()),
        label_flips=int(((reference.scores > threshold) != (found.scores > threshold)).sum()),
    )


def require_fp32(parity: ParitySpec, what: str) -> None:
    """Refuse a graph in FP32 that is not equal to its source up to rounding.

    Raises:
        ParityError: Says by how much.
    """
    if parity.max_score_diff_relative > FP32_TOLERANCE or parity.label_flips:
        raise ParityError(
            f"{what} was not written: its scores differ from {parity.reference} by up to "
            f"{parity.max_score_diff_relative:.1e} of the score range (allowed "
            f"{FP32_TOLERANCE:.0e}) and {parity.label_flips} of {parity.images} verdicts flip; "
            "this is a defect, please report it with the run folder"
        )
