"""Area under the per-region overlap curve, by MVTec's definition."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edgead.errors import EdgeadError
from edgead.metrics.curves import area_under


def au_pro(
    masks: Sequence[npt.NDArray[np.bool_]],
    maps: Sequence[npt.NDArray[np.float32]],
    fpr_limit: float = 0.3,
) -> float | None:
    """Measure how well anomaly maps cover every defect, large or small.

    At each threshold, PRO is the mean over all connected defects (8-connectivity) of the share of
    their pixels above it, and FPR is the share of all defect-free pixels of all photos above it.
    PRO is integrated over FPR from 0 to the limit and divided by the limit. Every distinct pixel
    value is a threshold (Bergmann et al., IJCV 2021; MVTec's ``pro_curve_util.py``).

    Args:
        masks: bool ``[H, W]`` for each photo, all false for good ones.
        maps: float32 ``[H, W]`` at the same resolution.
        fpr_limit: Above 0, at most 1.

    Returns:
        0..1, or ``None`` where no mask marks a defect or nothing is defect-free.

    Raises:
        EdgeadError: Shapes differ, or a value is not finite.
    """
    if len(masks) != len(maps):
        raise EdgeadError(f"there are {len(masks)} masks but {len(maps)} anomaly maps")
    # Each pixel adds to one of the curves: a defect-free one 1 to the false positives, one of a
    # defect with n pixels 1/n to the overlap. Summing from the highest value down gives both.
    values, overlap, good_values = [], [], []
    regions = 0
    for mask, anomaly_map in zip(masks, maps, strict=True):
        if mask.shape != anomaly_map.shape:
            raise EdgeadError(
                f"a mask has shape {mask.shape} but its anomaly map has {anomaly_map.shape}"
            )
        if not np.isfinite(anomaly_map).all():
            raise EdgeadError("an anomaly map has a value that is not a finite number")
        good_values.append(anomaly_map[~mask])
        if mask.any():
            count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            regions += count - 1
            inside = labels[mask]
            values.append(anomaly_map[mask])
            overlap.append((1 / np.bincount(inside, minlength=count).clip(1))[inside])
    good = np.sort(np.concatenate(good_values)) if good_values else np.empty(0, np.float32)
    if not regions or not good.size:
        return None
    defect = np.concatenate(values)
    order = np.argsort(defect)
    defect, weight = defect[order], np.concatenate(overlap)[order]

    # The curve's points, from the highest threshold down: all values at or above a threshold are
    # taken together, so that ties make one point.
    cuts = np.unique(np.concatenate([defect, good]))[::-1]
    share = np.concatenate([[0.0], np.cumsum(weight[::-1]) / regions])
    pro = share[len(defect) - np.searchsorted(defect, cuts, side="left")]
    fpr = (len(good) - np.searchsorted(good, cuts, side="left")) / len(good)
    pro, fpr = np.concatenate([[0.0], pro]), np.concatenate([[0.0], fpr])
    inside_limit = fpr <= fpr_limit
    at_limit = float(np.interp(fpr_limit, fpr, pro))
    pro = np.append(pro[inside_limit], at_limit)
    fpr = np.append(fpr[inside_limit], fpr_limit)
    return float(min(1.0, area_under(fpr, pro) / fpr_limit))
