from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("paho.mqtt.client")
pytest.importorskip("starlette")

from edgead.artifact import Artifact
from edgead.errors import EdgeadError
from studies import line_outputs
from tests.line.broker import Broker


def test_the_ways_are_timed_in_turns(tiny_artifact: Callable[..., Artifact]) -> None:
    found = line_outputs.page_cost(tiny_artifact().path, frames=60, rounds=1)
    assert [one.way for one in found] == ["alone", "page", "slow output"]
    assert all(len(one.total) == 10 for one in found)
    assert found[0].row().startswith("| alone | ")


def test_a_broker_is_killed(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    Broker(tmp_path).kill()  # skips where there is none
    (seconds,) = line_outputs.broker_kills(tiny_artifact().path, times=1)
    assert 0 < seconds < line_outputs._LONGEST_S


def test_a_large_disk_is_not_filled(tiny_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    with pytest.raises(EdgeadError, match="not on a small file system"):
        line_outputs.full_disk(tiny_artifact().path, tmp_path)
