from __future__ import annotations

import numpy as np
import pytest

from edgead.teaching.texture import SHRINKAGE, Moments, Texture


def correlated(count: int, channels: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, channels)) @ rng.normal(size=(channels, channels))
    return (mixed + rng.normal(size=channels)).astype(np.float32)


def test_distances_are_those_of_scikit_learn() -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    seen, asked = correlated(400), correlated(7, seed=1)
    fitted = covariance.ShrunkCovariance(shrinkage=SHRINKAGE).fit(seen.astype(np.float64))
    expected = np.sqrt(fitted.mahalanobis(asked) / seen.shape[1])
    texture = (Moments.of(seen[:150]) + Moments.of(seen[150:])).texture()
    np.testing.assert_allclose(texture.distances(asked), expected, rtol=1e-3)


def test_more_vectors_change_it_as_if_all_had_been_there() -> None:
    first, more = correlated(300), correlated(200, seed=2)
    made = (Moments.of(first).texture().moments(len(first)) + Moments.of(more)).texture()
    whole = Moments.of(np.concatenate([first, more])).texture()
    np.testing.assert_allclose(made.weight, whole.weight, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(made.bias, whole.bias, rtol=1e-3, atol=1e-3)


def test_vectors_that_are_all_alike_have_a_finite_distance_too() -> None:
    texture = Moments.of(np.ones((9, 3), np.float32)).texture()
    assert isinstance(texture, Texture)
    found = texture.distances(np.array([[1, 1, 1], [0, 1, 0]], np.float32))
    assert np.isfinite(found).all()
    assert 0 < found[0] < found[1]
