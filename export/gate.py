"""The accuracy gate: a variant that loses too much is refused, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead.artifact import Artifact, ParitySpec
from edgead.datasets import Dataset
from edgead.detector import EdgeDetector
from edgead.errors import DataError
from edgead.evaluation import evaluate
from edgead.export.parity import RUNTIME_TOLERANCE
from edgead.metrics import auroc

RANK_CORRELATION = 0.9
"""Spearman's, least accepted on good photos and synthetic defects; the shipped detectors' INT8 has
more than 0.99 (docs/int8.md)."""


@dataclass(frozen=True)
class Accuracy:
    """How well a graph tells good from defective.

    Attributes:
        synthetic_auroc: Held-out good photos against synthetic defects of them.
        image_auroc: On labelled photos, or ``None`` where there are none.
        au_pro: On labelled photos with masks, or ``None``.
    """

    synthetic_auroc: float
    image_auroc: float | None = None
    au_pro: float | None = None


def labelled(folder: str) -> Dataset:
    """Open labelled photos to measure accuracy on.

    Raises:
        DataError: There are none, or they are all good or all defective.
    """
    dataset = Dataset.from_folder(folder)
    if len({photo.is_anomalous for photo in dataset.test_photos()}) < 2:
        raise DataError(
            f"{folder} has no labelled photos of both good and defective parts, which --validate "
            "needs"
        )
    return dataset


def measure(
    artifact: Artifact,
    scores: npt.NDArray[np.float32],
    good: int,
    validate: Dataset | None,
    runtime: str = "onnxruntime",
) -> Accuracy:
    """Measure a graph's accuracy.

    Args:
        artifact: The draft on disk.
        scores: Of the good photos first, then of the synthetic defects.
        good: How many good photos there are.
        validate: Labelled photos, if the user gave some.
        runtime: What opens the draft.
    """
    labels = [index >= good for index in range(len(scores))]
    synthetic = auroc(labels, scores.tolist())
    assert synthetic is not None
    if validate is None:
        return Accuracy(synthetic)
    with EdgeDetector(artifact.path, runtime) as detector:
        found = evaluate(detector, validate)
    return Accuracy(synthetic, found.image_auroc, found.au_pro)


def refusal(before: Accuracy, after: Accuracy, parity: ParitySpec, max_drop: float) -> str | None:
    """Say why a variant must not be used; ``None`` if it may be.

    Args:
        before: Of the FP32 graph.
        after: Of the variant.
        parity: Of the variant against the FP32 graph.
        max_drop: Largest loss of any metric, in points of a hundred.
    """
    metrics = {
        "image AUROC": (before.image_auroc, after.image_auroc),
        "AU-PRO": (before.au_pro, after.au_pro),
        "AUROC on synthetic defects": (before.synthetic_auroc, after.synthetic_auroc),
    }
    for name, (was, is_now) in metrics.items():
        drop = points_lost(was, is_now)
        if drop is not None and drop > max_drop:
            return f"{name} falls by {drop:.2f} points, more than the {max_drop:g} allowed"
    correlation = parity.rank_correlation
    if correlation is not None and correlation < RANK_CORRELATION:
        return (
            f"the order of the scores changes: rank correlation {correlation:.3f} with FP32, at "
            f"least {RANK_CORRELATION} is needed"
        )
    return None


def runtime_refusal(apart: Mapping[str, float]) -> str | None:
    """Say why a variant must not be used because of the runtimes here; ``None`` if it may be.

    Args:
        apart: Largest difference of a score from ONNX Runtime's, as a share of the scores' range,
            by runtime. The gate measures accuracy in ONNX Runtime, and ``auto`` may take another.
    """
    for name, difference in apart.items():
        if difference > RUNTIME_TOLERANCE:
            return (
                f"{name} gives scores that differ from ONNX Runtime's by up to {difference:.1e} of "
                f"their range, more than the {RUNTIME_TOLERANCE:.0e} allowed"
            )
    return None


def points_lost(before: float | None, after: float | None) -> float | None:
    """Return a metric's loss in points of a hundred; ``None`` where it does not apply."""
    return None if before is None or after is None else 100 * (before - after)


def record(before: Accuracy, after: Accuracy, max_drop: float) -> dict[str, Any]:
    """Return what the manifest keeps of the gate."""
    return {"before": asdict(before), "after": asdict(after), "max_drop": max_drop}
