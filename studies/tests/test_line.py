from __future__ import annotations

from collections.abc import Callable

from edgead.artifact import Artifact
from studies import line
from tests.conftest import part


def test_each_study_of_a_line_measures(tiny_artifact: Callable[..., Artifact]) -> None:
    path, pictures = tiny_artifact().path, [part(0, (480, 640)), part(1, (480, 640))]
    assert "MiB after 100 frames" in line.memory(path, pictures, 200)
    assert "300 triggers, 300 verdicts" in line.triggers(path, pictures, 300)
    assert "2 times: judging again after 0." in line.camera(path, pictures, 2)
    assert "p99 of the line less" in line.latency(path, pictures, 50, 500)
    assert "2 times: the first verdict after" in line.process(path, pictures, 2)
