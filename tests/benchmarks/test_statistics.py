from __future__ import annotations

import numpy as np
import pytest

from edgead.benchmarks.statistics import (
    SAMPLES_FOR,
    paired_ratio,
    ratio,
    samples_for,
    summarise,
)
from edgead.errors import EdgeadError


def test_percentiles_are_numpys_and_fps_counts_the_mean() -> None:
    values = np.random.default_rng(0).gamma(4, 2, 2000).tolist()
    summary = summarise(values)
    assert summary.p50 == pytest.approx(np.percentile(values, 50))
    assert summary.p90 == pytest.approx(np.percentile(values, 90))
    assert summary.p99 == pytest.approx(np.percentile(values, 99))
    assert summary.fps == pytest.approx(1000 / np.mean(values))
    assert summary.maximum == max(values)


def test_the_counts_are_those_of_mlperfs_bound() -> None:
    assert {rank: samples_for(rank) for rank in SAMPLES_FOR} == SAMPLES_FOR


@pytest.mark.parametrize(("count", "known"), [(63, 0), (64, 1), (130, 2), (662, 3), (6636, 4)])
def test_a_percentile_needs_its_samples(count: int, known: int) -> None:
    summary = summarise([1.0] * count)
    ranks = (summary.p90, summary.p95, summary.p99, summary.p99_9)
    assert sum(rank is not None for rank in ranks) == known


def test_a_device_that_slows_down_shows_as_drift() -> None:
    assert summarise(np.linspace(10, 20, 300).tolist()).drift > 0.3
    steady = [10.0] * 300
    steady[290] = 500.0  # one interruption is not a trend, and is not dropped either
    assert summarise(steady).drift == 0
    assert summarise(steady).maximum == 500
    assert summarise(steady).variation > 1


def test_the_interval_of_a_ratio_holds_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(20):
        base = 10 + rng.normal(0, 1, 300)
        other = 5 + rng.normal(0, 0.5, 300)
        found = ratio(other.tolist(), base.tolist())
        held += found.low <= 0.5 <= found.high
        assert found.is_difference
    assert held >= 16  # 95 % of 20, less what chance allows


def test_neighbours_that_resemble_each_other_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    slow = 10 + np.repeat(rng.normal(0, 1, 20), 50)
    alone = 10 + rng.normal(0, 1, 1000)
    same = [10.0] * 1000

    def width(values: np.ndarray) -> float:
        found = ratio(values.tolist(), same)
        return found.high - found.low

    assert width(slow) > 2 * width(alone)


def test_turns_cancel_what_disturbs_both() -> None:
    rng = np.random.default_rng(3)
    noise = rng.uniform(1, 4, 40)  # a neighbour that takes up to three quarters of the machine
    found = paired_ratio((3.0 * noise).tolist(), (10.0 * noise).tolist())
    assert found.value == pytest.approx(0.3)
    assert found.high - found.low < 1e-9
    with pytest.raises(EdgeadError, match="round by round"):
        paired_ratio([1.0], [1.0, 2.0])


def test_the_interval_of_a_very_long_run_is_that_of_its_latencies() -> None:
    rng = np.random.default_rng(0)
    base, slower = rng.normal(10, 1, 400_000), rng.normal(12, 1, 400_000)
    found = ratio(slower.tolist(), base.tolist())
    assert found.value == pytest.approx(1.2, abs=0.002)
    assert 1.19 < found.low <= found.value <= found.high < 1.21
