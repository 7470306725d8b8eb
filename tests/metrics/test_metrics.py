from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn import metrics as reference

from edgead import metrics
from edgead.errors import EdgeadError


def labels_and_scores(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(200) < 0.3
    scores = rng.normal(0, 1, 200) + labels
    return labels, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_curves_agree_with_scikit_learn(seed: int, ties: bool) -> None:
    labels, scores = labels_and_scores(seed, ties)
    assert metrics.auroc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores))
    assert metrics.average_precision(labels, scores) == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    f1, threshold = metrics.best_f1(labels, scores)
    assert f1 == pytest.approx(
        max(reference.f1_score(labels, scores > cut) for cut in [*np.unique(scores), -9.0])
    )
    assert reference.f1_score(labels, scores > threshold) == pytest.approx(f1)


def test_a_curve_of_one_class_alone_does_not_exist() -> None:
    assert metrics.auroc([False, False], [1.0, 2.0]) is None


def au_pro_by_hand(masks: list[np.ndarray], maps: list[np.ndarray], limit: float) -> float:
    """MVTec's definition, one threshold at a time."""
    regions = []
    for index, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(index, labelled == number) for number in range(1, count + 1)]
    good = sum(int((~mask).sum()) for mask in masks)
    rates, overlaps = [0.0], [0.0]
    for cut in sorted(np.unique(np.concatenate([m.ravel() for m in maps])), reverse=True):
        above = [m >= cut for m in maps]
        wrong = sum(int((a & ~mask).sum()) for a, mask in zip(above, masks, strict=True))
        rates.append(wrong / good)
        overlaps.append(float(np.mean([above[i][region].mean() for i, region in regions])))
    x, y = np.array(rates), np.array(overlaps)
    at_limit = np.interp(limit, x, y)
    inside = x <= limit
    return float(
        np.trapezoid([*y[inside], at_limit], [*x[inside], limit]) / limit
        if hasattr(np, "trapezoid")
        else np.trapz([*y[inside], at_limit], [*x[inside], limit]) / limit
    )


@pytest.mark.parametrize("digits", [1, 6])  # one digit makes many ties
@pytest.mark.parametrize("limit", [0.3, 1.0])
def test_au_pro_is_mvtecs_definition(digits: int, limit: float) -> None:
    rng = np.random.default_rng(3)
    masks = [rng.random(size) < 0.08 for size in ((12, 17), (20, 9), (15, 15))]
    masks.append(np.zeros((10, 10), bool))
    maps = [
        np.round(rng.normal(0, 0.5, mask.shape) + mask, digits).astype(np.float32) for mask in masks
    ]
    assert metrics.au_pro(masks, maps, limit) == pytest.approx(au_pro_by_hand(masks, maps, limit))
    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([anomaly_map.ravel() for anomaly_map in maps])
    assert metrics.pixel_auroc(masks, maps) == pytest.approx(
        reference.roc_auc_score(labels, scores)
    )


@pytest.mark.parametrize("digits", [0, 1, 6])  # fewer digits make more ties
@pytest.mark.parametrize("limit", [0.3, 1.0])
def test_the_mean_of_what_each_defect_contributes_is_au_pro(digits: int, limit: float) -> None:
    rng = np.random.default_rng(4)
    masks = [np.zeros((14, 19), bool) for _ in range(4)]
    for index, mask in enumerate(masks[:3]):  # connected, so that both count one a photo
        mask[2 : 4 + index, 3 : 8 + index] = True
    maps = [
        np.round(rng.normal(0, 0.5, mask.shape) + mask, digits).astype(np.float32) for mask in masks
    ]
    each = metrics.overlap_of_each(masks, maps, limit)
    assert each is not None
    assert len(each) == 3
    assert each.mean() == pytest.approx(metrics.au_pro(masks, maps, limit))


def test_a_defect_in_pieces_counts_once() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1, 1:5] = mask[7, 7] = True
    heat = np.where(mask, 1, 0).astype(np.float32)
    heat[7, 7] = -1  # one pixel of five is never found
    found = metrics.overlap_of_each([mask], [heat])
    assert found == pytest.approx([0.8])
    assert metrics.au_pro([mask], [heat]) == pytest.approx(0.5)
    assert metrics.overlap_of_each([~mask & mask], [heat]) is None


def test_regions_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((6, 6), bool)
    mask[1, 1] = mask[2, 2] = True
    heat = np.zeros((6, 6), np.float32)
    heat[1, 1] = 2
    # One region, half found before any false positive; two would give the same only by averaging
    # them, so the rest is found unevenly.
    heat[2, 2] = -1
    assert metrics.au_pro([mask], [heat]) == pytest.approx(au_pro_by_hand([mask], [heat], 0.3))


@pytest.mark.parametrize(("events", "trials"), [(0, 7), (0, 17), (3, 191), (19, 20), (5, 5)])
def test_a_rate_interval_is_the_exact_binomial_one(events: int, trials: int) -> None:
    expected = stats.binomtest(events, trials).proportion_ci(0.95, method="exact")
    assert metrics.rate_interval(events, trials) == pytest.approx(
        (expected.low, expected.high), abs=1e-9
    )
    with pytest.raises(EdgeadError, match="6 of 5 is not a rate"):
        metrics.rate_interval(6, 5)
