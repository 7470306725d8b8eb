"""Metrics from labels and scores: AUROC, average precision, best F1, errors at a threshold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgead.errors import EdgeadError


def auroc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Area under the ROC curve; ties count half.

    Args:
        labels: True for defective; any shape.
        scores: As many finite scores, higher for more anomalous.

    Returns:
        0..1, or ``None`` where only one kind of label is there.
    """
    true, false, _ = _cumulative(labels, scores)
    if not (true[-1] and false[-1]):
        return None
    tpr = np.concatenate([[0.0], true / true[-1]])
    fpr = np.concatenate([[0.0], false / false[-1]])
    return area_under(fpr, tpr)


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Average precision: the precision at each recall step, weighted by the step.

    Returns:
        0..1, or ``None`` where nothing is defective.
    """
    true, false, _ = _cumulative(labels, scores)
    if not true[-1]:
        return None
    precision = true / (true + false)
    return float((np.diff(true, prepend=0) / true[-1] * precision).sum())


def best_f1(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[float, float]:
    """Find the threshold with the best F1.

    A part counts as anomalous when its score is *above* the threshold, so the threshold is put
    half way between the last score called anomalous and the next lower one.

    Returns:
        F1 and the threshold.

    Raises:
        EdgeadError: Nothing is defective.
    """
    true, false, cuts = _cumulative(labels, scores)
    if not true[-1]:
        raise EdgeadError("F1 is not defined: no label says defective")
    f1 = 2 * true / (true + false + true[-1])
    best = int(f1.argmax())
    lower = cuts[best + 1] if best + 1 < len(cuts) else cuts[best] - 1e-6 * (1 + abs(cuts[best]))
    return float(f1[best]), float((cuts[best] + lower) / 2)


def area_under(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Integrate by the trapezoid rule (``np.trapz`` and ``np.trapezoid`` exclude each other)."""
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _cumulative(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Count labels at or above each distinct score, from the highest score down."""
    truth, values = _checked(labels, scores)
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    true = np.cumsum(truth, dtype=np.float64)[last]
    return true, last + 1 - true, values[last].astype(np.float64)


def _checked(
    labels: npt.ArrayLike, scores: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating]]:
    truth = np.asarray(labels, bool).ravel()
    values = np.asarray(scores).ravel()
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    if truth.shape != values.shape:
        raise EdgeadError(f"there are {truth.size} labels but {values.size} scores")
    if not truth.size:
        raise EdgeadError("there are no scores to measure")
    if not np.isfinite(values).all():
        raise EdgeadError("a score is not a finite number, so metrics cannot be computed")
    return truth, values
