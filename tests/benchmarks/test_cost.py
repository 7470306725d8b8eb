from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact
from edgead.benchmarks import cost
from edgead.benchmarks.sensors import find_sensors
from tests.benchmarks import machines


def test_the_cost_of_benchmarking_is_measured_in_turns(
    tiny_artifact: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_BLOCK_SECONDS", 0.05)
    frames = [np.zeros((60, 80, 3), np.uint8)]
    sensors = find_sensors(machines.raspberry_pi_5(tmp_path))
    with EdgeDetector(tiny_artifact().path) as detect:
        found = cost.measure_cost(detect, frames, sensors, 3)
    assert found.reported.low <= found.reported.value <= found.reported.high
    assert found.between_ms > 0
    assert found.latency_ms > 0
