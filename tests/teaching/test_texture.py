from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgead.backbones import weights
from edgead.teaching import int8, patchcore
from edgead.teaching.extract import Extractor
from edgead.teaching.patchcore import Design
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


def test_int8_keeps_faint_texture() -> None:
    rng = np.random.default_rng(0)
    photos = []
    for _ in range(4):  # varies by 2.4 grey levels
        faint = cv2.GaussianBlur(rng.normal(0, 12, (64, 64)), (0, 0), 1.5)
        photos.append(np.rint(110 + faint).astype(np.uint8)[..., None].repeat(3, 2))
    fp32 = patchcore.build(weights.load(), Design((64, 64), (4, 5))).model
    integers = int8.integer_backbone(fp32, [photo[None] for photo in photos])
    before, after = (
        np.concatenate([extractor.patches(photo).surface for photo in photos])
        for extractor in (Extractor(fp32), Extractor(integers))
    )
    error, spread = np.square(after - before).sum(), np.square(before - before.mean(0)).sum()
    assert error < 0.016 * spread  # 0.011; 0.024 where the first convolutions are integers, too
