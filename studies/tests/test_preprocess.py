from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgead.benchmarks import frames
from studies import preprocess


@pytest.mark.parametrize("frame_size", [(540, 960), (543, 961)])
def test_what_is_exact_is_told_from_what_is_not(frame_size: tuple[int, int]) -> None:
    size = (64, 64)
    with ThreadPoolExecutor(2) as pool:
        candidates = preprocess.ways(frame_size, size, pool, 2)
        found = preprocess.measure(candidates, frames.generated(frame_size)[:2], 2)
    difference = {one.way.name: one.difference for one in found}
    assert found[0].ratio.value == 1
    assert difference["INTER_AREA, OpenCV's threads"] == 0
    assert difference["INTER_LINEAR"] > 3
    assert 0 < difference["halved: edgead 1"] <= 4
    assert difference["halved: edgead 1"] == difference["halved: edgead 1, OpenCV's threads"]
    in_bands = [value for name, value in difference.items() if "bands" in name]
    assert in_bands == ([0, 0] if frame_size == (540, 960) else [])  # 543 and 64 share no factor
    text = preprocess.table(found)
    assert text.count("\n") == len(found) + 1
    assert "| differ |" in text


def test_grey_ways_are_equal() -> None:
    grey = [frame[..., 0].copy() for frame in frames.generated((301, 517))]
    ways = preprocess.grey_ways((64, 96))
    for first in (0, 2):
        found = preprocess.measure(ways[first : first + 2], grey, 1)
        assert [one.difference for one in found] == [0, 0]
        assert np.isfinite(found[1].cpu_ms)
    assert ways[0].run(grey[0]).shape == (64, 96, 3)
