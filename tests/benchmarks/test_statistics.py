from __future__ import annotations

import numpy as np
import pytest

from edgead.benchmarks.statistics import summarise


def test_percentiles_are_numpys_and_fps_counts_the_mean() -> None:
    values = np.random.default_rng(0).gamma(4, 2, 2000).tolist()
    summary = summarise(values)
    assert summary.p50 == pytest.approx(np.percentile(values, 50))
    assert summary.p90 == pytest.approx(np.percentile(values, 90))
    assert summary.p99 == pytest.approx(np.percentile(values, 99))
    assert summary.fps == pytest.approx(1000 / np.mean(values))


def test_p99_needs_enough_samples() -> None:
    assert summarise([1.0] * 20).p99 is None


def test_a_device_that_slows_down_shows_as_drift() -> None:
    assert summarise(np.linspace(10, 20, 300).tolist()).drift > 0.3
