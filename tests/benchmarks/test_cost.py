from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact
from edgead.benchmarks import cost, scenarios
from edgead.benchmarks.sensors import find_sensors
from tests.benchmarks import machines


def test_what_benchmarking_adds_is_the_ratio_to_bare_calls(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark's loop is given five times the latency that it measured."""
    monkeypatch.setattr(cost, "_BLOCK_SECONDS", 0.05)
    real = scenarios.run
    spent: list[float] = []

    def slowed(*arguments: Any) -> scenarios.Samples:
        found = real(*arguments)
        frame = sum(found.total_ms) / len(found.total_ms)
        spent.append(frame)
        return dataclasses.replace(
            found,
            total_ms=tuple(5 * milliseconds for milliseconds in found.total_ms),
            wall_s=6 * frame * len(found.total_ms) / 1e3,
        )

    monkeypatch.setattr(scenarios, "run", slowed)
    frames = [np.zeros((60, 80, 3), np.uint8)]
    sensors = find_sensors(machines.raspberry_pi_5(tmp_path))
    with EdgeDetector(tiny_artifact().path) as detect:
        found = cost.measure_cost(detect, frames, sensors, 3)
    assert found.reported.value > 2
    assert found.between_ms == pytest.approx(float(np.median(spent)))
