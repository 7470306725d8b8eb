from __future__ import annotations

import numpy as np
import pytest

from edgead.errors import ParityError
from edgead.export.gate import (
    Accuracy,
    EachDefect,
    Mask,
    hardly_trained,
    is_open,
    on_synthetic_defects,
    order_refusal,
    refusal,
)
from edgead.export.parity import Scored, compare, require_fp32
from tests.conftest import manifest_for

SIZE, CELLS = (32, 32), (8, 8)
MANIFEST = manifest_for(*SIZE, CELLS)


def scored(*values: float) -> Scored:
    scores = np.array(values, np.float32)
    return Scored(scores, np.zeros((len(values), 1, 1), np.float32))


def test_parity_counts_each_sides_own_threshold() -> None:
    before, after = scored(0.1, 0.4, 0.6, 1.1), scored(0.2, 0.5, 0.4, 1.0)
    found = compare(before, after, (0.5, 0.45), "fp32")
    assert found.label_flips == 2  # 0.4 -> 0.5 and 0.6 -> 0.4
    assert found.max_score_diff == pytest.approx(0.2)
    assert found.max_score_diff_relative == pytest.approx(0.2)
    assert found.mean_score_diff_relative == pytest.approx(0.125)
    assert found.rank_correlation == pytest.approx(0.8)


def test_a_score_on_the_threshold_may_round_to_either_side() -> None:
    require_fp32(compare(scored(0, 0.5, 1), scored(0, 0.50001, 1), (0.5, 0.5), "torch"), "it")
    with pytest.raises(ParityError, match=r"up to 2\.0e-04 of the score range \(allowed 1e-04\)"):
        require_fp32(compare(scored(0, 0.5, 1), scored(0, 0.5002, 1), (0.9, 0.9), "torch"), "it")


def test_a_score_that_is_not_finite_is_no_score() -> None:
    with pytest.raises(ParityError, match="finite"):
        compare(scored(0, 1), scored(0, float("nan")), (0.5, 0.5), "fp32")


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (Accuracy(1.0, 0.99, 0.9), Accuracy(1.0, 0.984, 0.9), "image AUROC falls by 0.60 points"),
        (Accuracy(1.0, 0.99, 0.9), Accuracy(1.0, 0.99, 0.894), "AU-PRO falls by 0.60 points"),
        (Accuracy(1.0), Accuracy(0.99), "AUROC on synthetic defects falls by 1.00 points"),
        (
            Accuracy(1.0, synthetic_au_pro=0.60),
            Accuracy(1.0, synthetic_au_pro=0.59),
            "AU-PRO on synthetic defects falls by 1.00 points",
        ),
        (Accuracy(1.0, 0.99), Accuracy(1.0, 0.986), None),
        (Accuracy(1.0, 1.0), Accuracy(1.0, 0.995), None),  # 0.5000000000000004 points
        (Accuracy(0.9, 0.9), Accuracy(1.0, 1.0), None),
    ],
)
def test_each_metric_can_refuse(before: Accuracy, after: Accuracy, why: str | None) -> None:
    same = compare(scored(0, 1, 2), scored(0, 1, 2), (0.5, 0.5), "fp32")
    found = refusal(before, after, same, max_drop=0.5)
    assert (why is None) == (found is None)
    assert why is None or why in str(found)


def test_scores_in_another_order_are_refused() -> None:
    shuffled = compare(scored(0, 1, 2, 3), scored(1, 0, 3, 2), (9, 9), "fp32")
    assert "rank correlation 0.600" in str(refusal(Accuracy(1), Accuracy(1), shuffled, 0.5))


def test_auto_wants_nearly_the_same_order() -> None:
    scores = np.arange(100, dtype=np.float32)
    swapped = scores.copy()
    swapped[[10, 40]] = swapped[[40, 10]]
    found = compare(scored(*scores), scored(*swapped), (999, 999), "fp32")
    assert order_refusal(found, 2) is None
    assert "1.080 points of rank correlation ('auto' allows 1)" in str(order_refusal(found, 1))


def masks(good: int, defective: int) -> list[Mask | None]:
    return [*[None] * good, *[np.ones((1, 1), np.bool_)] * defective]


def test_a_detector_that_has_learned_nothing_is_doubted() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.25, 0.15, 0.35, 0.12], np.float32)
    assert "AUROC 0.44" in str(hardly_trained(scores, masks(4, 4)))
    scores[4:] += 0.1
    assert hardly_trained(np.sort(scores), masks(4, 4)) is None
    same = hardly_trained(np.full(8, 0.25, np.float32), masks(4, 4))
    assert "gives every photo the same score, 0.25" in str(same)


def each(good: np.ndarray, bad: np.ndarray) -> EachDefect:
    """What defects contribute whose maps show nothing but their scores."""
    scores = np.concatenate([good, bad]).astype(np.float32)
    maps = np.ones((len(scores), *CELLS), np.float32)
    marks = [np.zeros(SIZE, np.bool_) for _ in bad]
    for mark in marks:
        mark[:2, :2] = True
    return on_synthetic_defects(MANIFEST, Scored(scores, maps), [*[None] * len(good), *marks])


def test_one_defect_that_falls_below_alike_good_photos_leaves_the_verdict_open() -> None:
    good, clear = np.full(17, 1.0), np.linspace(2, 3, 67)
    before = each(good, np.append(clear, 1.001))
    after = each(good, np.append(clear, 0.999))  # 1.5 points of AUROC
    assert before.accuracy.synthetic_auroc == 1
    assert before.accuracy.synthetic_defects == 68
    assert is_open(before, after, max_drop=0.5)
    assert is_open(after, before, max_drop=0.5)  # a gain by chance counts as well
    assert not is_open(before, before, max_drop=0.5)


def test_a_loss_that_many_defects_share_is_none_of_chance() -> None:
    good = np.linspace(0, 1, 20)
    before = each(good, np.linspace(0.5, 1.5, 80))
    after = each(good, np.linspace(0.3, 1.3, 80))
    assert not is_open(before, after, max_drop=0.5)
    assert is_open(before, after, max_drop=10.0)


def test_a_worse_map_is_refused_and_a_map_that_is_worse_by_chance_is_looked_at_again() -> None:
    rng = np.random.default_rng(0)
    ranked, covered = np.ones(80), rng.uniform(0.3, 0.9, 80)
    before = EachDefect(ranked, covered)
    noise = rng.normal(0, 0.02, 80)
    noise -= noise.mean()
    same = compare(scored(0, 1, 2), scored(0, 1, 2), (0.5, 0.5), "fp32")
    for points, said, again in (
        (0.4, False, False),  # a loss that is allowed costs no second look
        (0.8, True, True),
        (1.5, True, False),
    ):
        after = EachDefect(ranked, covered - points / 100 + noise)
        found = refusal(before.accuracy, after.accuracy, same, 0.5)
        assert (found is not None) == said
        assert is_open(before, after, 0.5) == again
    fewer = EachDefect(np.append(np.zeros(20), np.ones(60)), covered - 0.008 + noise)
    assert not is_open(before, fewer, 0.5)  # the AUROC refuses it, whatever its maps are


def test_a_defect_in_many_pieces_weighs_no_more_than_another() -> None:
    whole, pieces = np.zeros(SIZE, np.bool_), np.zeros(SIZE, np.bool_)
    whole[8:24, 8:24] = True
    pieces[8:24:2, 8:24:2] = True  # 64 that do not touch
    found = np.zeros(CELLS, np.float32)
    found[2:6, 2:6] = 1
    maps = np.stack([0 * found, found, 0 * found])
    score = np.array([0, 1, 1], np.float32)
    each_one = on_synthetic_defects(MANIFEST, Scored(score, maps), [None, whole, pieces])
    assert each_one.covered[0] > 0.8
    assert each_one.covered[1] < 0.2
    assert each_one.accuracy.synthetic_au_pro == pytest.approx(each_one.covered.mean())
