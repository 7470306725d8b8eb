from __future__ import annotations

import numpy as np
import pytest

from edgead.calibration import threshold
from edgead.calibration.synthetic import with_defect
from edgead.errors import EdgeadError
from tests.conftest import part


def test_the_threshold_keeps_the_rate_on_scores_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    spec = threshold.from_good_scores(rng.normal(1, 0.1, 2000).tolist(), 0.01)
    unseen = rng.normal(1, 0.1, 20_000)
    assert (unseen > spec.value).mean() == pytest.approx(0.01, abs=0.006)
    assert spec.images == 2000
    assert spec.note == ""
    assert spec.false_positive_interval is not None
    low, high = spec.false_positive_interval
    assert low < (unseen > spec.value).mean() < high


def test_few_scores_get_a_caveat_and_a_threshold_above_them_all() -> None:
    scores = [0.1, 0.12, 0.09, 0.11]
    spec = threshold.from_good_scores(scores, 0.01)
    assert spec.value > max(scores)
    assert "4 good validation photos cannot confirm" in spec.note
    assert "target: 1 % false alarms; 4 photos can only confirm a rate below 60.2 %" in spec.promise


def test_a_threshold_from_one_photos_score_clears_it() -> None:
    scores = [*np.linspace(0, 0.1, 20).tolist(), 1.0]
    spec = threshold.from_good_scores(scores, 0.01)
    assert "quantile" in spec.method
    assert 1.0001 < spec.value < 1.001


def test_the_best_f1_threshold_separates_what_can_be_separated() -> None:
    spec = threshold.from_labelled_scores([False, False, True, True], [0.1, 0.3, 0.7, 0.9])
    assert 0.3 <= spec.value < 0.7
    with pytest.raises(EdgeadError):
        threshold.from_labelled_scores([False, False], [0.1, 0.2])


def test_synthetic_defects_change_some_of_a_photo_and_not_the_original() -> None:
    photo = part(0)
    before = photo.copy()
    for seed in range(12):
        changed = with_defect(photo, np.random.default_rng(seed))
        share = (changed != photo).any(-1).mean()
        assert 0 < share < 0.5
        np.testing.assert_array_equal(photo, before)
        again = with_defect(photo, np.random.default_rng(seed))
        np.testing.assert_array_equal(changed, again)
