"""The threshold: from held-out good photos at a stated rate, or from labelled ones by best F1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from edgead.artifact.manifest import Manifest
from edgead.artifact.specs import ScoreStatistics, ThresholdSpec
from edgead.errors import DataError
from edgead.metrics import best_f1, rate_interval

_CLEARANCE = 2e-4
"""Distance of a threshold above its score, as a share of the range of the good scores."""


def score_statistics(scores: Sequence[float]) -> ScoreStatistics:
    """Summarise the raw scores of held-out good photos.

    Raises:
        DataError: There are no scores.
    """
    if not scores:
        raise DataError("there are no good validation photos for score statistics")
    values = np.asarray(scores, np.float64)
    return ScoreStatistics(
        images=len(values),
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        minimum=float(values.min()),
        median=float(np.median(values)),
        maximum=float(values.max()),
    )


def from_good_scores(scores: Sequence[float], false_positive_rate: float) -> ThresholdSpec:
    """Choose a threshold that good parts exceed at most at a stated rate.

    The higher of two estimates is taken. The empirical quantile makes no assumption, but says
    nothing beyond the highest score where fewer than ``1 / rate`` photos were held out. It is set a
    little above the photo's score that it comes from, so that rounding does not decide this photo's
    verdict. The upper bound of a normal prediction interval (mean + t * s * sqrt(1 + 1/n)) says
    something beyond it, and widens as photos get fewer; it assumes a tail no heavier than normal.

    Args:
        scores: Raw scores of held-out good photos.
        false_positive_rate: The stated rate, above 0 and below 1.

    Returns:
        The threshold with its method, the rates that the sample cannot rule out for it, and a note
        where the sample is too small for the rate.
    """
    statistics = score_statistics(scores)
    count = statistics.images
    empirical = float(np.quantile(np.asarray(scores), 1 - false_positive_rate, method="higher"))
    empirical += _CLEARANCE * (statistics.maximum - statistics.minimum)
    value, method = empirical, "quantile of held-out good photos"
    if count > 1:
        bound = prediction_bound(statistics, false_positive_rate)
        if bound > empirical:
            value, method = bound, "normal prediction bound from held-out good photos"
    needed = math.ceil(1 / false_positive_rate)
    note = ""
    if count < needed:
        note = (
            f"{count} good validation photos cannot confirm a false-alarm rate of "
            f"{100 * false_positive_rate:.4g} % (that needs {needed} photos), so this threshold is "
            "an estimate: check it on more good parts"
        )
    above = sum(score > value for score in scores)
    return ThresholdSpec(
        value, method, false_positive_rate, count, note, rate_interval(above, count)
    )


def prediction_bound(statistics: ScoreStatistics, false_positive_rate: float) -> float:
    """Return the upper bound of a normal prediction interval: mean + t * s * sqrt(1 + 1/n).

    Args:
        statistics: Of scores of good photos.
        false_positive_rate: Share of further good photos that may lie above, if scores are normal.
    """
    count = statistics.images
    t = _t_quantile(1 - false_positive_rate, max(count - 1, 1))
    return statistics.mean + t * statistics.std * math.sqrt(1 + 1 / count)


def refitted(manifest: Manifest, scores: Sequence[float]) -> Manifest:
    """Take score statistics and threshold from a file's own scores of good photos.

    A threshold from labelled photos stays: there are none here, and the head keeps the scale.

    Args:
        manifest: Manifest of the file.
        scores: Scores of validation photos.
    """
    rate = manifest.threshold.false_positive_rate
    threshold = manifest.threshold if rate is None else from_good_scores(scores, rate)
    return manifest.replace(score_statistics=score_statistics(scores), threshold=threshold)


def from_labelled_scores(labels: Sequence[bool], scores: Sequence[float]) -> ThresholdSpec:
    """Choose the threshold with the best F1 on labelled validation photos.

    Args:
        labels: True for a defective part.
        scores: Raw scores, in the same order.

    Raises:
        DataError: Only one kind of photo is there.
    """
    require_both_kinds(labels)
    f1, value = best_f1(labels, scores)
    return ThresholdSpec(value, f"best F1 ({f1:.3f}) on labelled photos", None, len(labels), "")


def require_both_kinds(labels: Sequence[bool]) -> None:
    """Refuse labels that no best-F1 threshold can be chosen on.

    Raises:
        DataError: Only one kind of photo is there; says how many of each.
    """
    if not (any(labels) and not all(labels)):
        raise DataError(
            "a best-F1 threshold needs labelled photos of both good and defective parts, but "
            f"there are {len(labels) - sum(labels)} good and {sum(labels)} defective ones"
        )


def _t_quantile(probability: float, freedom: int) -> float:
    """Student's t quantile (Hill's expansion, 1970); SciPy is not in the device install.

    Exact for 1 and 2 degrees of freedom; within 3 % for 3 and 1 % above, up to 99.9 %.
    """
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        centred = 2 * probability - 1
        return centred * math.sqrt(2 / (1 - centred**2))
    z = NormalDist().inv_cdf(probability)
    n = freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )
