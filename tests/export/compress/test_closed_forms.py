from __future__ import annotations

import numpy as np
import pytest

from edgead.export.compress.lowrank import least_squares, reduced_rank, tail
from edgead.export.compress.moments import Regression
from edgead.export.compress.pruning import selection

rng = np.random.default_rng(0)


def moments(patches: np.ndarray, outputs: np.ndarray) -> Regression:
    centred, wanted = patches - patches.mean(0), outputs - outputs.mean(0)
    return Regression(
        patches.mean(0),
        outputs.mean(0),
        centred.T @ centred / len(patches),
        wanted.T @ centred / len(patches),
    )


def random_moments() -> tuple[np.ndarray, np.ndarray, np.ndarray, Regression]:
    patches = rng.normal(size=(4000, 20)) @ rng.normal(size=(20, 20)) + 3
    weights = rng.normal(size=(12, 20))
    bias = rng.normal(size=12)
    return patches, weights, bias, moments(patches, patches @ weights.T + bias)


def test_least_squares_finds_the_function_that_made_the_outputs() -> None:
    patches, weights, bias, found = random_moments()
    outputs = patches @ weights.T + bias
    fitted, fitted_bias = least_squares(found, np.zeros_like(weights))
    wrong = patches @ fitted.T + fitted_bias - outputs
    assert np.square(wrong).mean() < 1e-3 * outputs.var()
    fitted, fitted_bias = least_squares(found, weights)
    np.testing.assert_allclose(fitted, weights, atol=1e-8)
    np.testing.assert_allclose(fitted_bias, bias, atol=1e-6)


def test_least_squares_keeps_the_original_where_the_patches_say_nothing() -> None:
    patches = rng.normal(size=(500, 6))
    patches[:, 4:] = 0
    original = rng.normal(size=(3, 6))
    outputs = 2 * patches @ original.T
    fitted, _ = least_squares(moments(patches, outputs), original)
    np.testing.assert_allclose(fitted[:, :4], 2 * original[:, :4], rtol=1e-2)
    np.testing.assert_allclose(fitted[:, 4:], original[:, 4:])


def test_a_factorisation_of_full_rank_is_the_same_function() -> None:
    patches, weights, bias, found = random_moments()
    made = reduced_rank(found, weights, bias, np.eye(12), 12)
    middle = patches @ made.inner.T + made.inner_bias
    np.testing.assert_allclose(
        middle @ made.outer.T + made.outer_bias, patches @ weights.T + bias, atol=1e-6
    )
    np.testing.assert_allclose(middle.mean(0), 0, atol=1e-8)
    assert middle.var(0).mean() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("rank", [1, 4, 8])
def test_no_factorisation_of_that_rank_is_better(rank: int) -> None:
    patches, weights, bias, found = random_moments()
    square = rng.normal(size=(12, 12))
    importance = square @ square.T
    made = reduced_rank(found, weights, bias, importance, rank)

    def error(approximation: np.ndarray) -> float:
        wrong = patches @ weights.T + bias - approximation
        return float(np.einsum("ni,ij,nj->", wrong, importance, wrong)) / len(wrong)

    own = error((patches @ made.inner.T + made.inner_bias) @ made.outer.T + made.outer_bias)
    spread = weights @ found.patches @ weights.T
    predicted = tail(spread, importance)[rank]  # of an importance made definite: a little more
    assert own == pytest.approx(predicted, rel=0.2)
    assert own <= predicted
    outputs = patches @ weights.T
    left, values, right = np.linalg.svd(outputs - outputs.mean(0), full_matrices=False)
    plain = (left[:, :rank] * values[:rank]) @ right[:rank]  # best without the importance
    assert own < error(plain + outputs.mean(0) + bias)


def test_channels_that_others_predict_go_first() -> None:
    free = rng.normal(size=(3000, 4))
    channels = np.concatenate([free, free @ rng.normal(size=(4, 4)) + 1e-3], 1)[
        :, [0, 4, 1, 5, 2, 6, 3, 7]
    ]
    covariance = np.cov(channels, rowvar=False)
    order, lost = selection(covariance, np.eye(8))
    assert sorted(order) == list(range(8))
    assert lost[4] == pytest.approx(0, abs=1e-6 * lost[0])
    assert lost[3] > 1e-3 * lost[0]
    assert np.all(np.diff(lost) <= 1e-9)


def test_channels_that_the_map_does_not_see_go_first() -> None:
    covariance = np.diag([100.0, 1.0, 50.0, 2.0])
    order, lost = selection(covariance, np.diag([0.0, 1.0, 0.0, 1.0]))
    assert set(order[:2]) == {1, 3}
    assert lost[2] == pytest.approx(0)


def test_rounding_between_the_factors_is_no_share_of_what_dominates() -> None:
    """Against factors of unit variance each, as principal components are usually scaled."""
    patches, weights, bias, _ = random_moments()
    patches = patches + 50 * rng.normal(size=(len(patches), 1))  # brightness
    found = moments(patches, patches @ weights.T + bias)
    outputs = patches @ weights.T + bias
    made = reduced_rank(found, weights, bias, np.eye(12), 12)
    centred = outputs - outputs.mean(0)
    _, values, right = np.linalg.svd(centred, full_matrices=False)
    deviations = values / np.sqrt(len(centred))

    def rounded(middle: np.ndarray) -> np.ndarray:
        step = np.ptp(middle) / 255
        return np.asarray(np.rint(middle / step) * step)

    own = rounded(patches @ made.inner.T + made.inner_bias) @ made.outer.T + made.outer_bias
    plain = (rounded(centred @ right.T / deviations) * deviations) @ right + outputs.mean(0)
    assert np.square(own - outputs).mean() < 0.2 * np.square(plain - outputs).mean()
