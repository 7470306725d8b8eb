"""Accuracy metrics, exact: no thresholds are sampled. NumPy and OpenCV only."""

from edgead.metrics.curves import auroc, average_precision, best_f1
from edgead.metrics.pixels import au_pro, overlap_of_each, pixel_auroc, pixel_metrics
from edgead.metrics.rates import rate_interval

__all__ = [
    "au_pro",
    "auroc",
    "average_precision",
    "best_f1",
    "overlap_of_each",
    "pixel_auroc",
    "pixel_metrics",
    "rate_interval",
]
