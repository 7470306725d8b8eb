from __future__ import annotations

from pathlib import Path

from studies.remember import remembered


def test_a_run_is_measured_once_for_each_source(tmp_path: Path) -> None:
    made: list[int] = []

    def measure() -> list[int]:
        made.append(len(made))
        return made[:]

    file = tmp_path / "variants.json"
    for source, result in (("a", [0]), ("a", [0]), ("b", [0, 1])):
        assert remembered(file, {"source": source}, measure) == result
    assert len(made) == 2
