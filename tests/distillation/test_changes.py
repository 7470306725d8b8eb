from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgead.distillation.changes import Changes
from edgead.errors import UsageError


def a_view() -> np.ndarray:
    coarse = np.random.default_rng(3).integers(40, 200, (8, 8, 3), np.uint8)
    return cv2.resize(coarse, (64, 64))


def made(rng: int = 0, **shares: float) -> np.ndarray:
    return Changes(**{"grey": 0.0, **shares}).made(a_view(), np.random.default_rng(rng))


def test_a_view_of_no_share_stays_as_it_is() -> None:
    assert (made() == a_view()).all()


def test_grey_takes_the_colour() -> None:
    changed = made(grey=1)
    assert (changed[..., 0] == changed[..., 1]).all()
    assert (changed[..., 1] == changed[..., 2]).all()
    assert changed[..., 0].std() > 10


def test_light_is_a_straight_line_of_the_grey_levels() -> None:
    changed, view = made(light=1), a_view()
    gain, offset = np.polyfit(view.ravel(), changed.ravel().astype(float), 1)
    assert 0.6 <= gain <= 1.4
    assert abs(offset) <= 20.5
    inside = (changed > 0) & (changed < 255)
    assert np.abs(changed - (gain * view + offset))[inside].max() <= 1
    assert (changed != view).any()


def test_blur_takes_the_fine_detail() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    changed = Changes(0, 0, 1, 0).made(noise, np.random.default_rng(0))
    assert changed.std() < 0.8 * noise.std()
    assert changed.mean() == pytest.approx(noise.mean(), abs=2)


def test_turns_are_quarters_and_all_of_them_come() -> None:
    view = a_view()
    turned = [np.rot90(view, quarters) for quarters in (1, 2, 3)]
    found = {
        next(index for index, each in enumerate(turned) if (changed == each).all())
        for changed in (made(seed, turn=1) for seed in range(20))
    }
    assert found == {0, 1, 2}


def test_shares_are_kept() -> None:
    grey = sum(
        bool((changed[..., 0] == changed[..., 1]).all())
        for changed in (made(seed, grey=0.3) for seed in range(200))
    )
    assert 40 <= grey <= 80


def test_another_share_leaves_the_other_changes_as_they_were() -> None:
    both, one = made(5, light=1, turn=1), made(5, turn=1)
    gain, offset = np.polyfit(one.ravel(), both.ravel().astype(float), 1)
    assert np.abs(both - (gain * one + offset)).mean() < 1


def test_a_share_is_from_none_to_all() -> None:
    with pytest.raises(UsageError, match="--blur is a share of the views, from 0 to 1, not 2"):
        Changes(blur=2)
