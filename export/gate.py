"""The accuracy gate: a variant that loses too much is refused, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import notices
from edgead.artifact import Manifest, ParitySpec
from edgead.datasets import Dataset
from edgead.errors import DataError
from edgead.export.parity import RUNTIME_TOLERANCE, Scored
from edgead.maps import OnDemand, to_photo
from edgead.metrics import overlap_of_each

RANK_CORRELATION = 0.9
"""Spearman's, least accepted on good photos and synthetic defects; the shipped detectors' INT8 has
more than 0.99 (docs/notes/int8.md)."""


TELLS_APART = 0.7
"""AUROC of good photos against synthetic defects of them that a trained detector reaches: 0.80 to
0.98 were measured for EfficientAd-N with its defaults on three sets, 0.58 for an EfficientAd-S of
60 steps whose INT8 kept neither the order of its scores nor its AUROC (docs/notes/int8-gate.md)."""


OTHER_RUNTIMES = 5e-2
"""Largest difference of a score between runtimes, as a share of the range of the scores, where the
manifest names those that it is exact for. OpenVINO adds residual branches before it rounds them,
ONNX Runtime after: 1.0e-2 to 2.4e-2 were measured of taught detectors, where INT8 itself changes
single scores by 7e-2."""


_ROUNDING = 1e-9
"""Rounding error of a difference of metrics, in points: 100 * (1 - 0.995) is more than 0.5."""


@dataclass(frozen=True)
class Accuracy:
    """How well a graph separates good photos from defective ones.

    Attributes:
        synthetic_auroc: AUROC of good validation photos against their synthetic defects.
        image_auroc: Image AUROC on labelled photos, or ``None`` where there are none.
        au_pro: AU-PRO on labelled photos with masks, or ``None``.
        synthetic_au_pro: AU-PRO on the same photos as the first, each painted defect one region: it
            sees what an image's one score does not, that a map has lost small or faint defects.
        synthetic_defects: Number of photos with a synthetic defect.
    """

    synthetic_auroc: float
    image_auroc: float | None = None
    au_pro: float | None = None
    synthetic_au_pro: float | None = None
    synthetic_defects: int = 0


Mask = npt.NDArray[np.bool_]


def labelled(folder: str, good: Sequence[str] = ()) -> Dataset:
    """Open labelled photos to measure accuracy on, and warn of what is doubtful about them.

    Args:
        folder: In MVTec AD's layout.
        good: Names of folders, besides ``good``, that hold photos of good parts.

    Raises:
        DataError: There are none, or they are all good or all defective.
    """
    dataset = Dataset.from_folder(folder, good).require_good()
    for warning in dataset.warnings():
        notices.warn(warning)
    if len({photo.is_anomalous for photo in dataset.test_photos()}) < 2:
        raise DataError(
            f"{folder} has no labelled photos of both good and defective parts, which --validate "
            "needs"
        )
    return dataset


@dataclass(frozen=True)
class EachDefect:
    """What every synthetic defect contributes to the accuracy of a graph, 0..1.

    Attributes:
        ranked: Share of good photos that score below it; equal ones count half. The mean is the
            AUROC.
        covered: Area under its overlap over the FPR. The mean is the AU-PRO. Empty where nothing
            of any defect can be seen.
    """

    ranked: npt.NDArray[np.float64]
    covered: npt.NDArray[np.float64]

    @property
    def accuracy(self) -> Accuracy:
        """The means."""
        return Accuracy(
            float(self.ranked.mean()),
            synthetic_au_pro=float(self.covered.mean()) if len(self.covered) else None,
            synthetic_defects=len(self.ranked),
        )


def on_synthetic_defects(
    manifest: Manifest, scored: Scored, masks: Sequence[Mask | None]
) -> EachDefect:
    """Measure how well a graph separates good photos from their synthetic defects.

    What was painted into a photo is one defect. A patch from elsewhere in a photo differs from
    what it covers in hundreds of places, some of a single pixel: counted one by one, the defects of
    a few photos decided the AU-PRO of all (docs/notes/int8-gate.md).

    Raises:
        DataError: There are no good or no defective photos.
    """
    size = manifest.input
    nothing = np.zeros(size.size, np.bool_)
    covered = overlap_of_each(
        [nothing if mask is None else mask for mask in masks],
        OnDemand(
            lambda index: to_photo(scored.maps[index], manifest.map, size, size.size),
            range(len(scored.maps)),
        ),
    )
    return EachDefect(
        _share_below(scored.scores, masks), np.empty(0) if covered is None else covered
    )


def is_open(before: EachDefect, after: EachDefect, max_drop: float) -> bool:
    """Whether other synthetic defects could change the verdict.

    AUROC and AU-PRO are means over the defects, so a drop is the mean of what each has lost, with
    the standard error of that mean. Where good photos score nearly alike, a single defect that
    falls from just above to just below them has lost all that it had: 1.5 points of 68 defects, and
    nothing that a user would notice.

    Args:
        before: Of the FP32 graph.
        after: Of the variant.
        max_drop: Largest loss allowed, in points.

    Returns:
        Whether the loss allowed of the AUROC is within two standard errors of the loss measured, or
        an AU-PRO that would refuse the variant has lost more than allowed by less than that. A loss
        beyond two standard errors refuses it, whatever other defects say.
    """
    ranked, ranked_error = _beyond(before.ranked, after.ranked, max_drop)
    covered, covered_error = _beyond(before.covered, after.covered, max_drop)
    if ranked >= ranked_error or covered >= covered_error:
        return False
    return ranked > -ranked_error or covered > _ROUNDING


def _beyond(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64], max_drop: float
) -> tuple[float, float]:
    """Return by how many points the mean has lost more than allowed, and two standard errors."""
    lost = 100 * (before - after)
    if not len(lost):
        return -np.inf, np.inf
    error = float(lost.std(ddof=1)) / np.sqrt(len(lost)) if len(lost) > 1 else np.inf
    return float(lost.mean()) - max_drop, 2 * error


def _share_below(
    scores: npt.NDArray[np.float32], masks: Sequence[Mask | None]
) -> npt.NDArray[np.float64]:
    """Return for each defect the share of good photos below it; equal ones count half.

    Raises:
        DataError: There are no good or no defective photos.
    """
    is_good = np.array([mask is None for mask in masks])
    if is_good.all() or not is_good.any():
        raise DataError("the gate needs both good and defective photos, and has only one kind")
    good, defective = scores[is_good], scores[~is_good, None]
    below = (good < defective).mean(1) + 0.5 * (good == defective).mean(1)
    return np.asarray(below, np.float64)


def hardly_trained(scores: npt.NDArray[np.float32], masks: Sequence[Mask | None]) -> str | None:
    """Say that a detector has learned too little to be exported; ``None`` if it has not.

    Args:
        scores: Of good photos and synthetic defects of them.
        masks: Where each has a defect, ``None`` for the good ones.
    """
    found = float(_share_below(scores, masks).mean())
    if found >= TELLS_APART:
        return None
    if np.ptp(scores) == 0:
        return (
            f"this detector gives every photo the same score, {scores[0]:.3g}, with or without a "
            "synthetic defect: do not use it or any file made from it. Train again into a new "
            "folder, for more steps and with photos that show the part"
        )
    return (
        "the detector barely separates good photos from photos with synthetic defects (AUROC "
        f"{found:.2f}; {TELLS_APART} or more is usual): train it for more steps before you use "
        "any file made from it"
    )


def refusal(before: Accuracy, after: Accuracy, parity: ParitySpec, max_drop: float) -> str | None:
    """Return why a variant must not be used; ``None`` if it may be.

    Args:
        before: Accuracy of the FP32 graph.
        after: Accuracy of the variant.
        parity: The variant compared with the FP32 graph.
        max_drop: Largest loss of any metric, in points of a hundred.
    """
    metrics = {
        "image AUROC": (before.image_auroc, after.image_auroc),
        "AU-PRO": (before.au_pro, after.au_pro),
        "AUROC on synthetic defects": (before.synthetic_auroc, after.synthetic_auroc),
        "AU-PRO on synthetic defects": (before.synthetic_au_pro, after.synthetic_au_pro),
    }
    for name, (was, is_now) in metrics.items():
        drop = points_lost(was, is_now)
        if drop is not None and drop > max_drop + _ROUNDING:
            return f"{name} falls by {drop:.2f} points (allowed: {max_drop:g})"
    correlation = parity.rank_correlation
    if correlation is not None and correlation < RANK_CORRELATION:
        return (
            f"the order of the scores changes: rank correlation {correlation:.3f} with FP32 "
            f"(required: {RANK_CORRELATION})"
        )
    return None


def order_refusal(parity: ParitySpec, points: float) -> str | None:
    """Return why a compression changes the order of the scores too much to be chosen by ``auto``.

    Synthetic defects stand in for real ones, which see more of an error or less. What a variant may
    lose on any of them shows in the order of the scores, whichever are good: at 0.47 points of rank
    correlation magnetic tile lost 0.57 points of image AUROC on labelled photos and none on
    synthetic defects (docs/notes/compression-limit.md).

    Args:
        parity: Against the FP32 graph.
        points: Largest loss of Spearman's correlation, in points of a hundred.
    """
    lost = None if parity.rank_correlation is None else points_lost(1.0, parity.rank_correlation)
    if lost is None or lost <= points + _ROUNDING:
        return None
    return (
        f"the order of the scores changes: it loses {lost:.3f} points of rank correlation ('auto' "
        f"allows {points:g})"
    )


def runtime_refusal(apart: Mapping[str, float], manifest: Manifest) -> str | None:
    """Return why the runtimes here rule a variant out; ``None`` if they do not.

    Args:
        apart: Largest difference of a score from ONNX Runtime's, as a share of the scores' range,
            by runtime. The gate measures accuracy in ONNX Runtime, and ``auto`` may take another.
        manifest: Of the variant. Runtimes that it names for its threshold are taken first, so that
            the others may differ more.
    """
    quantization = manifest.quantization
    exact = quantization.runtimes if quantization is not None else ()
    for name, difference in apart.items():
        allowed = OTHER_RUNTIMES if exact and name not in exact else RUNTIME_TOLERANCE
        if difference > allowed:
            return f"{_differ(name, difference)} (allowed: {allowed:.0e})"
        if difference > RUNTIME_TOLERANCE:
            notices.warn(
                f"{manifest.name}: {_differ(name, difference)}: do not use this file with "
                f"--runtime {name}"
            )
    return None


def _differ(name: str, difference: float) -> str:
    return (
        f"scores in {name} differ from scores in ONNX Runtime by up to {difference:.1e} of the "
        "score range"
    )


def points_lost(before: float | None, after: float | None) -> float | None:
    """Return a metric's loss in points of a hundred; ``None`` where it does not apply."""
    return None if before is None or after is None else 100 * (before - after)


def record(before: Accuracy, after: Accuracy, max_drop: float) -> dict[str, Any]:
    """Return what the manifest keeps of the gate."""
    return {"before": asdict(before), "after": asdict(after), "max_drop": max_drop}
