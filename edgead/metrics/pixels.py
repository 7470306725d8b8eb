"""Pixel AUROC, and the area under the per-region overlap curve by MVTec's definition.

Both are exact: every distinct value of a pixel is a threshold. Defect-free pixels, which are nearly
all, are only counted between the values of the defective ones, photo by photo: both curves are
flat, or straight, from one of these values to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgead.errors import EdgeadError
from edgead.metrics.curves import area_under

Masks = Sequence[npt.NDArray[np.bool_]]
Maps = Sequence[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class _Curves:
    """Shares of pixels at or above falling thresholds, from nothing to everything."""

    false_positives: npt.NDArray[np.float64]
    true_positives: npt.NDArray[np.float64]
    overlap: npt.NDArray[np.float64]


def pixel_metrics(
    masks: Masks, maps: Maps, fpr_limit: float = 0.3
) -> tuple[float | None, float | None]:
    """Return :func:`pixel_auroc` and :func:`au_pro` of the same maps, in one pass over them."""
    curves = _curves(masks, maps)
    if curves is None:
        return None, None
    auroc = area_under(curves.false_positives, curves.true_positives)
    return auroc, _up_to(fpr_limit, curves)


def pixel_auroc(masks: Masks, maps: Maps) -> float | None:
    """Area under the ROC curve over all pixels of all photos; arguments as in :func:`au_pro`."""
    return pixel_metrics(masks, maps)[0]


def au_pro(masks: Masks, maps: Maps, fpr_limit: float = 0.3) -> float | None:
    """Measure how well anomaly maps cover every defect, large or small.

    At each threshold, PRO is the mean over all connected defects (8-connectivity) of the share of
    their pixels above it, and FPR is the share of all defect-free pixels of all photos above it.
    PRO is integrated over FPR from 0 to the limit and divided by the limit (Bergmann et al., IJCV
    2021; MVTec's ``pro_curve_util.py``).

    Args:
        masks: bool ``[H, W]`` for each photo, all false for good ones.
        maps: float32 ``[H, W]`` at the same resolution; read twice, one at a time, so that a
            sequence may make them when asked.
        fpr_limit: Above 0, at most 1.

    Returns:
        0..1, or ``None`` where no mask marks a defect or nothing is defect-free.

    Raises:
        EdgeadError: Shapes differ, or a value is not finite.
    """
    return pixel_metrics(masks, maps, fpr_limit)[1]


def overlap_of_each(
    masks: Masks, maps: Maps, fpr_limit: float = 0.3
) -> npt.NDArray[np.float64] | None:
    """Return what the defect of each photo contributes to an :func:`au_pro` of one defect a photo.

    All marked pixels of a photo are one defect, connected or not. The mean over the defects is
    their AU-PRO.

    Args are those of :func:`au_pro`.

    Returns:
        0..1 for each photo whose mask marks something, in their order; ``None`` where none does, or
        nothing is defect-free.
    """
    _require_as_many(masks, maps)
    marked = []
    for mask, anomaly_map in zip(masks, maps, strict=True):
        _check(mask, anomaly_map)
        marked.append(anomaly_map[mask])
    sizes = [len(values) for values in marked if len(values)]
    if not sizes:
        return None
    cuts, which = np.unique(np.concatenate(marked), return_inverse=True)
    good = _count(masks, maps, cuts)
    if not good.any():
        return None
    above = good[::-1].cumsum()[::-1] / good.sum()
    before, after = above[2::2], above[1::2]  # FPR without and with what shares a pixel's value
    # The curve rises between the two in a straight line, which the limit may cut.
    whole = fpr_limit - (before + after) / 2
    cut_off = np.maximum(fpr_limit - before, 0) ** 2 / (2 * np.maximum(after - before, 1e-300))
    areas = np.where(after <= fpr_limit, whole, cut_off) / fpr_limit
    starts = np.cumsum([0, *sizes[:-1]])
    return np.asarray(np.add.reduceat(areas[which], starts) / sizes, np.float64)


def _curves(masks: Masks, maps: Maps) -> _Curves | None:
    _require_as_many(masks, maps)
    values, shares = [np.empty(0, np.float32)], [np.empty(0)]
    regions = 0
    for mask, anomaly_map in zip(masks, maps, strict=True):
        _check(mask, anomaly_map)
        if mask.any():
            count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            regions += count - 1
            inside = labels[mask]
            values.append(anomaly_map[mask])
            shares.append((1 / np.bincount(inside, minlength=count).clip(1))[inside])
    defective = np.concatenate(values)
    if not defective.size:
        return None
    cuts, which = np.unique(defective, return_inverse=True)
    good = _count(masks, maps, cuts)
    if not good.any():
        return None
    # From the highest value down: above it, at it, between it and the next, and so on. Pixels that
    # share a value come together, so that ties make one straight line.
    points = np.zeros((3, len(good)))
    points[0] = good
    points[1, 1::2] = np.bincount(which)
    points[2, 1::2] = np.bincount(which, np.concatenate(shares))
    totals = np.array([[good.sum()], [defective.size], [regions]])
    summed = np.cumsum(points[:, ::-1], axis=1) / totals
    return _Curves(*np.concatenate([np.zeros((3, 1)), summed], axis=1))


def _count(masks: Masks, maps: Maps, cuts: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Count defect-free pixels below the first cut, at it, between it and the second, and so on."""
    counts = np.zeros(2 * len(cuts) + 1, np.int64)
    for mask, anomaly_map in zip(masks, maps, strict=True):
        good = np.sort(anomaly_map[~mask])  # neighbours fall into the same place: a faster search
        low = np.searchsorted(cuts, good, "left")
        is_tie = cuts[np.minimum(low, len(cuts) - 1)] == good
        places, found = np.unique(2 * low + is_tie, return_counts=True)
        counts[places] += found
    return counts


def _up_to(limit: float, curves: _Curves) -> float:
    fpr, pro = curves.false_positives, curves.overlap
    inside = fpr <= limit
    at_limit = float(np.interp(limit, fpr, pro))
    area = area_under(np.append(fpr[inside], limit), np.append(pro[inside], at_limit))
    return float(min(1.0, area / limit))


def _require_as_many(masks: Masks, maps: Maps) -> None:
    if len(masks) != len(maps):
        raise EdgeadError(f"there are {len(masks)} masks but {len(maps)} anomaly maps")


def _check(mask: npt.NDArray[np.bool_], anomaly_map: npt.NDArray[np.float32]) -> None:
    if mask.shape != anomaly_map.shape:
        raise EdgeadError(
            f"a mask has shape {mask.shape} but its anomaly map has {anomaly_map.shape}"
        )
    if not np.isfinite(anomaly_map).all():
        raise EdgeadError("an anomaly map has a value that is not a finite number")
