from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgead.benchmarks import teachers
from edgead.errors import DataError, EdgeadError
from edgead.teachers import pdn
from edgead.teachers.sources import Source
from tests import graphs


def test_what_is_unexplained_is_the_residual_of_the_best_line_of_each_channel() -> None:
    rng = np.random.default_rng(0)
    left = rng.normal(size=(6, 3, 4, 5)).astype(np.float32)
    noise = rng.normal(size=left.shape).astype(np.float32)
    right = left * np.float32([2, -1, 0.5])[:, None, None] + 3 + 0.7 * noise
    right[:, 2] = 1  # says nothing, and counts for nothing
    found = teachers.Correlations()
    found.add(left[:4], right[:4])
    found.add(left[4:], right[4:])
    expected = []
    for channel in (0, 1):
        x, y = left[:, channel].ravel(), right[:, channel].ravel()
        line = np.polyval(np.polyfit(x, y, 1), x)
        expected.append(np.var(y - line) / np.var(y))
    assert found.unexplained() == pytest.approx(np.mean(expected), rel=1e-4)


def test_a_way_is_what_source_and_teacher_see() -> None:
    rng = np.random.default_rng(0)
    views = rng.integers(60, 180, (3, 256, 256, 3), np.uint8)
    seen: list[np.ndarray] = []

    def features(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        cells = batch[:, ::8, ::8].mean(3).astype(np.float32)
        return np.repeat(cells[:, None], 384, 1)

    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, 16:240:8, 16:240:8].mean(1, keepdim=True).repeat(1, 384, 1, 1)

    found = teachers.measure(Source(256, features), "n", views, {"mean": Mean()})["mean"]
    as_they_are, grey, light, blur, turn = seen
    assert (as_they_are == views).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    assert abs(light.mean() - as_they_are.mean()) > 1
    assert blur.std() < 0.8 * as_they_are.std()
    assert {tuple(np.bincount(v.ravel(), minlength=256)) for v in turn} == {
        tuple(np.bincount(v.ravel(), minlength=256)) for v in views
    }
    assert (turn != as_they_are).any()
    assert list(found) == list(teachers.WAYS)
    assert found["grey"] < 0.01  # a mean of equal channels, whatever their weights
    assert found["as they are"] < 0.2


def test_numbers_that_say_nothing_are_refused() -> None:
    views = np.full((1, 256, 256, 3), 90, np.uint8)
    network = teachers._network("n", "shipped")

    def of(value: float) -> Source:
        return Source(256, lambda batch: np.full((len(batch), 384, 32, 32), value, np.float32))

    with pytest.raises(DataError, match="give photos that show something"):
        teachers.measure(of(1), "n", views, {"shipped": network})
    with pytest.raises(EdgeadError, match="the source network gives features that are not finite"):
        teachers.measure(of(np.nan), "n", views, {"shipped": network})


def test_teachers_are_measured_on_the_same_photos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, few = graphs.source_network(tmp_path / "source.onnx"), tmp_path / "few"
    few.mkdir()
    rng = np.random.default_rng(0)
    for index in range(5):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(few / f"{index}.png"), cv2.resize(coarse, (64, 64)))
    own = Path(pdn.__file__).with_name(pdn.SHIPPED["n"])
    words = [str(tmp_path / "out"), str(source), str(few)]
    assert teachers.main([*words, "shipped", str(own)]) == 0
    found = json.loads((tmp_path / "out/teachers.json").read_text())
    assert found["shipped"] == found[str(own)]
    assert set(found["shipped"]) == set(teachers.WAYS)
    assert all(0 < share < 1 for share in found["shipped"].values())
    assert found["shipped"]["blur"] != found["shipped"]["as they are"]
    assert capsys.readouterr().out.startswith("5 photos\n\n| left unexplained by | as they are |")

    assert teachers.main([*words, "shipped", "shipped"]) == 2
    assert "'shipped' is given twice" in capsys.readouterr().err
    assert teachers.main([*words, str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors" in capsys.readouterr().err
