from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgead.benchmarks import finetune
from edgead.calibration.probe import probe
from edgead.export.compress.network import Network


def test_the_graph_in_pytorch_is_the_graph(exported: Path) -> None:
    model = onnx.load(exported)
    ends = [difference.tensor for difference in Network(model).differences]
    height, width = 96, 128
    photo = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    (expected,) = probe(model, ends, [photo])
    found = finetune._Graph(model, ends)(torch.from_numpy(photo))
    for one, other in zip(found, expected, strict=True):
        scale = float(np.abs(other).max())
        assert one.detach().numpy() == pytest.approx(other, rel=0, abs=1e-4 * scale)


@pytest.mark.slow
def test_gradients_bring_a_compressed_graph_nearer(
    trained_run: Path, shared_dataset: Path, tmp_path: Path
) -> None:
    words = [str(tmp_path), f"{trained_run}={shared_dataset}", "--compress", "0.09"]
    assert finetune.main([*words, "--steps", "30", "--rate", "1e-4"]) == 0
    (rows,) = json.loads((tmp_path / "finetune.json").read_text()).values()
    original, closed, tuned = rows
    assert original["rank"] == 1
    assert closed["gmac"] == tuned["gmac"] <= 0.09 < original["gmac"]
    assert tuned["error"] < closed["error"] < 1


def test_a_target_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        finetune.main(["out", "run=data", "--compress", "auto"])
    assert "give a number of GMAC" in capsys.readouterr().err
