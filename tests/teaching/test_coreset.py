"""The coreset covers what it was given, with bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from edgead.teaching.coreset import Bank, Coreset, greedy


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clusters(count: int, each: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, 1, 16))
    return unit((centres + rng.normal(0, 0.02, (count, each, 16))).reshape(-1, 16))


def radius(vectors: np.ndarray, bank: np.ndarray) -> float:
    return float((1 - (vectors @ bank.T).max(1)).max())


def test_every_cluster_gets_a_vector() -> None:
    vectors = clusters(20, 50)
    bank, covered = greedy(Bank(vectors, np.arange(1000), np.zeros(1000, np.int64)), 20)
    assert len({owner // 50 for owner in bank.owners.tolist()}) == 20
    assert covered == pytest.approx(radius(vectors, bank.vectors), abs=1e-6)
    random = vectors[np.random.default_rng(1).choice(1000, 20, replace=False)]
    assert covered < radius(vectors, random) / 2


def test_equal_vectors_count_once() -> None:
    vectors = np.repeat(clusters(3, 1), 10, axis=0)
    bank, covered = greedy(Bank(vectors, np.arange(30), np.zeros(30, np.int64)), 30)
    assert len(bank.vectors) == 3
    assert covered < 1e-6


def test_what_does_not_fit_is_covered_all_the_same() -> None:
    vectors = clusters(40, 100)
    rng = np.random.default_rng(2)
    vectors = vectors[rng.permutation(len(vectors))]
    small, large = Coreset(40, capacity=200), Coreset(40, capacity=10_000)
    for owner, start in enumerate(range(0, len(vectors), 20)):
        for coreset in (small, large):
            coreset.add(vectors[start : start + 20], owner)
        assert sum(len(part.vectors) for part in small._waiting) <= 220
    one, other = (radius(vectors, coreset.choose().vectors) for coreset in (small, large))
    assert other <= one <= 4 * other + 1e-3


def test_a_late_look_is_remembered() -> None:
    usual, late = clusters(5, 400), clusters(1, 1, seed=9)
    coreset = Coreset(20, capacity=100)
    for owner, start in enumerate(range(0, len(usual), 50)):
        coreset.add(usual[start : start + 50], owner)
    coreset.add(late, 99)
    bank = coreset.choose()
    assert radius(late, bank.vectors) < 1e-6
    assert 99 in bank.owners
    assert 99 not in bank.without(99).owners


def test_places_lead_back_to_the_vectors() -> None:
    photos = [clusters(10, 30, seed) for seed in range(8)]
    for capacity in (100, 10_000):
        coreset = Coreset(25, capacity)
        for owner, vectors in enumerate(photos):
            coreset.add(vectors, owner)
        bank = coreset.choose()
        found = [photos[o][p] for o, p in zip(bank.owners, bank.places, strict=True)]
        np.testing.assert_array_equal(bank.vectors, found)
