from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgead import images
from edgead.benchmarks import map_options
from edgead.models.efficientad import EfficientAd, raw_map
from edgead.training import Run


def test_the_defaults_give_the_scores_of_the_trained_detector(trained_run: Path) -> None:
    model, manifest = Run(trained_run).load_model()
    assert isinstance(model, EfficientAd)
    paths = list(Run(trained_run).read_record().held_out)
    size = manifest.input.size
    photos = np.stack([images.resize(images.read_image(path), size) for path in paths])

    def raw(difference: torch.Tensor) -> list[torch.Tensor]:
        return [raw_map(difference, centring) for centring in (0.0, 0.5)]

    maps = map_options.maps_of(model.eval(), photos, (raw, raw))
    with torch.inference_mode():
        _, trained = model(torch.from_numpy(photos))
    assert (model.options["autoencoder_share"], model.options["centring"]) == (0.25, 0.5)
    assert 0.1 * map_options.maximum(maps.combined(maps, 1, 0.25)) == pytest.approx(
        trained.numpy(), rel=1e-3, abs=1e-4
    )
    other = map_options.maximum(maps.combined(maps, 0, 0.25))
    assert 0.1 * other != pytest.approx(trained.numpy(), rel=1e-2, abs=1e-3)


def test_every_map_is_in_the_table(trained_run: Path, shared_dataset: Path, tmp_path: Path) -> None:
    words = [str(tmp_path), f"{trained_run}={shared_dataset}", "--shares", "0,1"]
    words += ["--centrings", "0,1", "--scores", "maximum,highest"]
    assert map_options.main(words) == 0
    ways = json.loads((tmp_path / "map_options.json").read_text())
    assert list(ways) == [
        f"{share}, {centring}, {score}"
        for centring in (0, 1)
        for share in (0, 1)
        for score in ("maximum", "highest")
    ]
    found = [ways[way][str(trained_run)] for way in ways]
    assert all(0 <= row[name] <= 1 for row in found for name in ("synthetic_auroc", "image_auroc"))
    assert len((tmp_path / "map_options.md").read_text().splitlines()) == 2 + 8


def test_shares_lie_between_none_and_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        map_options.main(["out", "run=data", "--shares", "0.25,2"])
    assert "'0.25,2' has a number that is not from 0 to 1" in capsys.readouterr().err


def test_scores_of_a_map() -> None:
    one = np.zeros((1, 20, 20), np.float32)
    one[0, 5, 5] = 9
    patch = np.zeros((1, 20, 20), np.float32)
    patch[0, 5:8, 5:8] = 5
    maps = np.concatenate([one, patch])
    assert map_options.maximum(maps).tolist() == [9, 5]
    assert map_options.smoothed(maps) == pytest.approx([1, 5])
    assert map_options.highest(maps) == pytest.approx([9 / 4, 5])
