"""Accuracy of a detector on labelled photos."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import images, maps, metrics
from edgead.datasets import GOOD, Dataset, Photo, read_mask
from edgead.detection import Detection
from edgead.markdown import figure
from edgead.printable import printable
from edgead.progress import progress

SCHEMA = 1
"""Schema number of ``evaluate --json``; docs/reference/json.md has the keys."""

Detect = Callable[[images.Image], Detection]


@dataclass(frozen=True)
class Judged:
    """One test photo and its result.

    ``is_blank`` says that part of it has nothing to see, which makes it anomalous at any score.
    """

    photo: Photo
    score: float
    is_anomalous: bool
    is_blank: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether the verdict differs from the label."""
        return self.is_anomalous != self.photo.is_anomalous


@dataclass(frozen=True)
class KindResult:
    """Accuracy on one kind of defect, against all good test photos.

    ``None`` marks a metric that does not apply: no good photos, or no masks.
    """

    images: int
    misses: int
    image_auroc: float | None
    pixel_auroc: float | None
    au_pro: float | None


@dataclass(frozen=True)
class _Marked:
    """A photo whose defective pixels are known, and what was detected on it."""

    kind: str
    mask: npt.NDArray[np.bool_]
    detection: Detection


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of a detector on a data set.

    Attributes:
        judged: Every test photo.
        threshold: The one that the verdicts used.
        false_positives: Good photos called anomalous.
        misses: Defective photos not called anomalous.
        by_defect: The same for each kind of defect.
    """

    judged: tuple[Judged, ...]
    threshold: float
    image_auroc: float | None
    image_ap: float | None
    image_f1: float | None
    pixel_auroc: float | None
    au_pro: float | None
    false_positives: int
    misses: int
    by_defect: dict[str, KindResult]

    def to_json(self) -> dict[str, Any]:
        """Return the keys that scripts may rely on; null where a metric does not apply."""
        return {
            "schema": SCHEMA,
            "image_auroc": self.image_auroc,
            "image_ap": self.image_ap,
            "image_f1": self.image_f1,
            "pixel_auroc": self.pixel_auroc,
            "au_pro": self.au_pro,
            "false_positives": self.false_positives,
            "misses": self.misses,
            "images": len(self.judged),
            "threshold": self.threshold,
            "by_defect": {kind: vars(result) for kind, result in self.by_defect.items()},
            "scores": [
                {
                    "path": str(entry.photo.path),
                    "kind": entry.photo.kind,
                    "score": entry.score,
                    "is_anomalous": entry.is_anomalous,
                    "is_blank": entry.is_blank,
                }
                for entry in self.judged
            ],
        }

    def image_auroc_without(self, photos: Collection[Path]) -> float | None:
        """Return the image AUROC of all other test photos; ``None`` where it does not apply."""
        kept = [entry for entry in self.judged if entry.photo.path not in photos]
        return metrics.auroc(
            [entry.photo.is_anomalous for entry in kept], [entry.score for entry in kept]
        )

    def table(self) -> str:
        """Return the metrics as a text table, one row a kind of defect."""
        rows = [("kind", "photos", "image AUROC", "pixel AUROC", "AU-PRO", "wrong")]
        good = sum(not entry.photo.is_anomalous for entry in self.judged)
        rows.append((GOOD, str(good), "", "", "", f"{self.false_positives} false alarms"))
        for kind, result in self.by_defect.items():
            rows.append(
                (
                    printable(kind),
                    str(result.images),
                    figure(result.image_auroc),
                    figure(result.pixel_auroc),
                    figure(result.au_pro),
                    f"{result.misses} missed",
                )
            )
        rows.append(
            (
                "all",
                str(len(self.judged)),
                figure(self.image_auroc),
                figure(self.pixel_auroc),
                figure(self.au_pro),
                f"{self.false_positives + self.misses} of {len(self.judged)}",
            )
        )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if column in (0, 5) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.append(
            f"average precision {figure(self.image_ap)}, best F1 {figure(self.image_f1)}, "
            f"threshold {self.threshold:.4f}"
        )
        if good:
            low, high = metrics.rate_interval(self.false_positives, good)
            lines.append(
                f"false alarms: {self.false_positives / good:.1%} of the good photos (95 % "
                f"interval {low:.1%} to {high:.1%})"
            )
        blank = [entry.photo.path for entry in self.judged if entry.is_blank]
        if blank:
            lines.append(
                f"photos with blank regions, anomalous at any score: {len(blank)}, for example "
                f"{printable(blank[0])}"
            )
        if self.pixel_auroc is None:
            has_masks = any(j.photo.masks for j in self.judged if j.photo.is_anomalous)
            lines.append(
                "no pixel metrics: all masks in ground_truth are empty"
                if has_masks
                else "no pixel metrics: no defective photo has a mask in ground_truth"
            )
        return "\n".join(lines)


def evaluate(detect: Detect, dataset: Dataset) -> Evaluation:
    """Score every labelled photo of a data set.

    Pixel metrics are taken at each photo's own resolution; defective photos without a mask are
    left out of them.

    Args:
        detect: An :class:`~edgead.detector.EdgeDetector`, or anything called like one.
        dataset: Needs test photos.

    Raises:
        DataError: There are no test photos, or a mask does not fit its photo.
        ImageError: A photo cannot be read.
    """
    (evaluation,) = evaluate_together([detect], dataset)
    return evaluation


def evaluate_together(detectors: Sequence[Detect], dataset: Dataset) -> list[Evaluation]:
    """Score every labelled photo with several detectors; each photo is read once.

    Args:
        detectors: As :func:`evaluate` takes one.
        dataset: Needs test photos.

    Returns:
        One evaluation for each detector.

    Raises:
        DataError: As :func:`evaluate`.
        ImageError: As :func:`evaluate`.
    """
    photos = dataset.test_photos()
    with_pixels = any(photo.masks for photo in photos if photo.is_anomalous)
    judged: list[list[Judged]] = [[] for _ in detectors]
    marked: list[list[_Marked]] = [[] for _ in detectors]
    thresholds = [float("nan")] * len(detectors)
    for photo in progress(photos, total=len(photos), label="evaluating"):
        image = images.read_image(photo.path)
        mask = read_mask(photo, (image.shape[0], image.shape[1])) if with_pixels else None
        for index, detect in enumerate(detectors):
            detection = detect(image)
            thresholds[index] = detection.threshold
            is_blank = bool(detection.blank)
            found = Judged(photo, detection.score, detection.is_anomalous, is_blank)
            judged[index].append(found)
            if mask is not None:
                marked[index].append(_Marked(photo.kind, mask, detection))
    return [
        _summarise(found, known, threshold)
        for found, known, threshold in zip(judged, marked, thresholds, strict=True)
    ]


def _summarise(judged: Sequence[Judged], marked: Sequence[_Marked], threshold: float) -> Evaluation:
    labels = [entry.photo.is_anomalous for entry in judged]
    scores = [entry.score for entry in judged]
    pixel_auroc, au_pro = _pixel_metrics(marked)
    kinds = sorted({entry.photo.kind for entry in judged if entry.photo.is_anomalous})
    return Evaluation(
        judged=tuple(judged),
        threshold=threshold,
        image_auroc=metrics.auroc(labels, scores),
        image_ap=metrics.average_precision(labels, scores),
        image_f1=metrics.best_f1(labels, scores)[0] if any(labels) else None,
        pixel_auroc=pixel_auroc,
        au_pro=au_pro,
        false_positives=sum(j.is_wrong for j in judged if not j.photo.is_anomalous),
        misses=sum(j.is_wrong for j in judged if j.photo.is_anomalous),
        by_defect={kind: _kind_result(kind, judged, marked) for kind in kinds},
    )


def _kind_result(
    kind: str,
    judged: Sequence[Judged],
    marked: Sequence[_Marked],
) -> KindResult:
    chosen = [entry for entry in judged if entry.photo.kind in (GOOD, kind)]
    labels = [entry.photo.is_anomalous for entry in chosen]
    pixel_auroc, au_pro = _pixel_metrics([entry for entry in marked if entry.kind in (GOOD, kind)])
    return KindResult(
        images=sum(labels),
        misses=sum(entry.is_wrong for entry in chosen if entry.photo.is_anomalous),
        image_auroc=metrics.auroc(labels, [entry.score for entry in chosen]),
        pixel_auroc=pixel_auroc,
        au_pro=au_pro,
    )


def _pixel_metrics(marked: Sequence[_Marked]) -> tuple[float | None, float | None]:
    if not any(entry.kind != GOOD for entry in marked):
        return None, None
    heatmaps = maps.OnDemand(lambda index: marked[index].detection.heatmap(), range(len(marked)))
    return metrics.pixel_metrics([entry.mask for entry in marked], heatmaps)
