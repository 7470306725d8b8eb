from __future__ import annotations

from pathlib import Path

import pytest

from studies import resizes
from studies.taught.cells import lines


def cell(way: str, draw: int, image_auroc: float, au_pro: float) -> dict[str, object]:
    measured = {"image_auroc": image_auroc, "au_pro": au_pro}
    return {"set": "tile", "detector": "padim", "draw": draw, "way": way, **measured}


def test_ways_are_compared_draw_by_draw() -> None:
    text = resizes.markdown(
        [
            cell("area", 0, 0.9, 0.8),
            cell("halved", 0, 0.91, 0.8),
            cell("area", 1, 0.8, 0.7),
            cell("halved", 1, 0.8, 0.698),
            cell("area", 2, 0.7, 0.6),  # its partner is not measured yet
        ]
    )
    assert "tile | padim | 2 | 0.8500 | 0.8550 (+1.00, +0.00) | 0.7500 | 0.7490 (" in text
    assert text.endswith("image_auroc: +0.500 points; au_pro: -0.100 points")


@pytest.mark.slow
def test_everything_but_the_resize_is_equal(tmp_path: Path, dataset: Path) -> None:
    words = ["--detectors", "padim", "--draws", "0", "--image-size", "64", "--photos", "8"]
    for _ in range(2):  # the second time there is nothing left to measure
        assert resizes.main([str(tmp_path / "out"), f"parts={dataset}", *words]) == 0
    measured = lines(tmp_path / "out/cells.jsonl")
    assert [entry["way"] for entry in measured] == ["area", "halved"]
    assert abs(measured[0]["image_auroc"] - measured[1]["image_auroc"]) < 0.1
    assert "| parts | padim | 1 |" in (tmp_path / "out/resizes.md").read_text()
