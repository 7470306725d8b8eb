from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgead.cli import main
from edgead.datasets import Dataset
from edgead.demo import parts
from edgead.errors import UsageError


@pytest.mark.parametrize("kind", parts.DEFECTS)
def test_a_mask_marks_what_the_defect_changed(kind: str) -> None:
    good, empty = parts.render(np.random.default_rng(4))
    assert not empty.any()
    photo, mask = parts.render(np.random.default_rng(4), parts.DEFECTS[kind])
    assert photo.shape[:2] == mask.shape
    assert good.shape[:2] == photo.shape[:2]
    marked = photo[mask > 0].astype(float).mean(0)
    part = (mask > 0).mean()
    assert 0.0002 < part < 0.05
    assert np.abs(photo[mask > 0].astype(float) - marked).max() > 10


def test_the_demo_makes_a_report_that_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in (("TRAIN", 10), ("TEST_GOOD", 3), ("TEST_EACH", 2)):
        monkeypatch.setattr(parts, name, count)
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--steps", "3"]) == 0
    dataset = Dataset.from_folder(out / "parts")
    assert (len(dataset.train), len(dataset.test)) == (10, 3 + 2 * len(parts.DEFECTS))
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2 * len(dataset.test)
    assert "://" not in page
    assert main(["demo", "--out", str(out)]) == 2


def test_nothing_is_rendered_over_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already exists"):
        parts.write_parts(tmp_path)
