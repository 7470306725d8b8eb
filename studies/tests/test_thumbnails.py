from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgead import images
from studies import thumbnails
from studies.taught.__main__ import main
from studies.taught.prepared import draws_of


def test_the_figure_is_the_share_of_pairs_in_the_right_order(tmp_path: Path, dataset: Path) -> None:
    out = tmp_path / "sets"
    assert main(["prepare", str(out), f"parts={dataset}", "--image-size", "64x96"]) == 0
    folder = out / "parts"

    def small(path: Path) -> np.ndarray:
        grey = cv2.cvtColor(images.read_image(path), cv2.COLOR_BGR2GRAY).astype(float)
        means: np.ndarray = grey.reshape(8, 8, 8, 12).mean((1, 3)).round()
        return means

    (draw, *_) = draws_of(folder)
    bank = [small(folder / file) for file in draw.train]

    def score(path: Path) -> float:
        return min(float(np.abs(known - small(path)).mean()) for known in bank)

    good = [score(folder / file) for file in draw.good]
    bad = [score(path) for path in (folder / "test").glob("*/*.png") if path.parent.name != "good"]
    pairs = [(one < other) + 0.5 * (one == other) for one in good for other in bad]
    assert abs(thumbnails.auroc(folder, 0) - np.mean(pairs)) < 0.02
