"""Whether an exported file has the same scores as its source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgead.artifact import ParitySpec
from edgead.errors import ParityError
from edgead.progress import progress
from edgead.runtimes import Runtime

FP32_TOLERANCE = 1e-4
"""Largest difference of a score, as a share of the scores' range, for a graph in FP32."""

RUNTIME_TOLERANCE = 1e-2
"""The same for one INT8 or FP16 file in two runtimes, which round in different places."""


@dataclass(frozen=True)
class Scored:
    """Scores and maps of the parity photos in one runtime."""

    scores: npt.NDArray[np.float32]
    maps: npt.NDArray[np.float32]

    def only(self, judged: npt.NDArray[np.bool_]) -> Scored:
        """Return the scores of some cells; in the maps the others have the lowest value."""
        lowest = np.where(judged, self.maps, np.inf).min(axis=(1, 2), keepdims=True)
        maps = np.where(judged, self.maps, lowest).astype(np.float32)
        return Scored(maps.max(axis=(1, 2)), maps)

    def and_then(self, other: Scored) -> Scored:
        """Return these photos followed by others in the same runtime."""
        return Scored(
            np.concatenate([self.scores, other.scores]), np.concatenate([self.maps, other.maps])
        )


def score(
    runtime: Runtime,
    photos: npt.NDArray[np.uint8],
    name: str,
    judged: npt.NDArray[np.bool_] | None = None,
) -> Scored:
    """Score photos one by one, as a device does.

    Args:
        runtime: The runtime that scores them.
        photos: uint8 ``[N, height, width, 3]`` BGR at the network's input size.
        name: Name of the graph, for the progress display.
        judged: Cells of the maps that count, bool ``[N, h, w]``; ``None`` for all.
    """
    indices = progress(range(len(photos)), total=len(photos), label=f"checking {name}")
    outputs = [runtime.infer(photos[index : index + 1]) for index in indices]
    found = Scored(
        np.concatenate([output.score for output in outputs]),
        np.concatenate([output.anomaly_map for output in outputs]),
    )
    return found if judged is None else found.only(judged)


def compare(
    reference: Scored, found: Scored, thresholds: tuple[float, float], name: str
) -> ParitySpec:
    """Measure how far two runtimes are apart.

    Args:
        reference: The right scores and maps.
        found: The scores and maps to check.
        thresholds: Threshold of the reference and of the other. A photo above one and not above the
            other is a label flip.
        name: Name of the reference, for the manifest.

    Raises:
        ParityError: A score or map is not finite.
    """
    if not (np.isfinite(found.scores).all() and np.isfinite(found.maps).all()):
        raise ParityError("the exported graph gives values that are not finite numbers")
    differences = np.abs(reference.scores - found.scores)
    difference = float(differences.max())
    span = float(reference.scores.max() - reference.scores.min())
    return ParitySpec(
        reference=name,
        images=len(reference.scores),
        max_score_diff=difference,
        max_score_diff_relative=difference / span if span else float(difference > 0),
        max_map_diff=float(np.abs(reference.maps - found.maps).max()),
        label_flips=int(
            ((reference.scores > thresholds[0]) != (found.scores > thresholds[1])).sum()
        ),
        mean_score_diff_relative=float(differences.mean()) / span if span else None,
        rank_correlation=rank_correlation(reference.scores, found.scores),
    )


def require_fp32(parity: ParitySpec, what: str) -> None:
    """Refuse a graph in FP32 that is not equal to its source up to rounding.

    A verdict that flips within the tolerance is none of the graph's doing: the score lies on the
    threshold.

    Raises:
        ParityError: Says by how much.
    """
    if parity.max_score_diff_relative > FP32_TOLERANCE:
        raise ParityError(
            f"{what} was not written: its scores differ from {parity.reference} by up to "
            f"{parity.max_score_diff_relative:.1e} of the score range (allowed "
            f"{FP32_TOLERANCE:.0e}) and {parity.label_flips} of {parity.images} verdicts flip; "
            "this is a defect, please report it with the run folder"
        )


def rank_correlation(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> float | None:
    """Return Spearman's correlation; equal scores keep the order of the photos."""
    if len(left) < 2:
        return None
    first, second = (np.argsort(np.argsort(scores, kind="stable")) for scores in (left, right))
    return float(np.corrcoef(first, second)[0, 1])
