"""Accuracy metrics, exact: no thresholds are sampled. NumPy and OpenCV only."""

from edgead.metrics.au_pro import au_pro
from edgead.metrics.curves import auroc, average_precision, best_f1, confusion

__all__ = ["au_pro", "auroc", "average_precision", "best_f1", "confusion"]
