"""Heads on the same features: which stages and which detector, in FP32, without a graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead import images, metrics
from edgead.backbones import lite
from edgead.backbones.known import LITE0
from edgead.datasets import GOOD, held_out_count
from edgead.markdown import table
from edgead.teaching import padim, patchcore
from edgead.teaching.fit import FEWEST_HELD_OUT
from edgead.teaching.learner import Floats, Learner
from edgead.teaching.texture import Moments
from studies.taught import features
from studies.taught.prepared import Draw, draws_of

VARIANTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "patchcore, stages 4+5": (patchcore.NAME, (4, 5)),
    "patchcore, 5+6": (patchcore.NAME, (5, 6)),
    "patchcore, 4+5+6": (patchcore.NAME, (4, 5, 6)),
    "patchcore, 5": (patchcore.NAME, (5,)),
    "padim, 5": (padim.NAME, (5,)),
    "padim, 6": (padim.NAME, (6,)),
    "padim, 4": (padim.NAME, (4,)),
}
_CORESET = 500
_HEADER = ("set", "photos", "head", "image AUROC", "one half", "other half", "AU-PRO of the map")


def compare(prepared: Path, kept: Path, counts: Sequence[int | None]) -> str:
    """Return a table of all variants on one set, means over its draws.

    The halves are every second test photo: what is chosen on one can be looked at on the other.

    Args:
        prepared: The set.
        kept: Where features are kept.
        counts: Numbers of photos; ``None`` for all.
    """
    known = features.kept(prepared, kept)
    draws = draws_of(prepared)
    rows = []
    for count in counts:
        alike = count is None and all(set(d.train) == set(draws[0].train) for d in draws)
        chosen = draws[:1] if alike else draws
        for name, (detector, stages) in VARIANTS.items():
            found = [_figures(prepared, known, d, count, detector, stages) for d in chosen]
            means = [np.mean([f[key] for f in found]) for key in range(4)]
            rows.append(
                (
                    prepared.name,
                    "all" if count is None else str(count),
                    name,
                    *(f"{value:.4f}" for value in means),
                )
            )
    return table(_HEADER, rows)


def _figures(
    prepared: Path,
    known: dict[int, tuple[list[str], features.Halves]],
    draw: Draw,
    count: int | None,
    detector: str,
    stages: tuple[int, ...],
) -> tuple[float, float, float, float]:
    names = known[stages[0]][0]
    place = {name: index for index, name in enumerate(names)}
    taught = [place[file] for file in draw.train[:count]]
    if len(taught) >= FEWEST_HELD_OUT:
        taught = taught[held_out_count(len(taught)) :]
    defects = [i for i, n in enumerate(names) if n.startswith("test/") and f"/{GOOD}/" not in n]
    tested = [*(place[file] for file in draw.good), *defects]
    cells: tuple[int, int] = known[stages[0]][1].shape[2:]  # type: ignore[assignment]
    learner: Learner = (
        padim.Padim(cells) if detector == padim.NAME else patchcore.Patchcore(_CORESET)
    )
    moments: Moments | None = None
    for owner, index in enumerate(taught):
        learner.add(_vectors(known, index, stages), owner)
        more = Moments.of(_vectors(known, index, (LITE0.surface,)))
        moments = more if moments is None else moments + more
    assert moments is not None
    head, texture = learner.head(), moments.texture()
    scores, maps, masks = [], [], []
    for index in tested:
        score = patchcore.score(_vectors(known, index, stages), head)
        scores.append(score)
        mask = _mask(prepared, names[index])
        if mask is not None:
            surface = texture.distances(_vectors(known, index, (LITE0.surface,)))
            side = known[LITE0.surface][1].shape[2:]
            shape = surface.reshape(side) / surface.max() * np.float32(score)
            maps.append(cv2.resize(shape, mask.shape[::-1], interpolation=cv2.INTER_LINEAR))
            masks.append(mask)
    labels = [index in set(defects) for index in tested]
    halves = [metrics.auroc(labels[part::2], scores[part::2]) for part in (0, 1)]
    overlap: Any = metrics.au_pro(masks, maps) if any(mask.any() for mask in masks) else None
    shown = (metrics.auroc(labels, scores), *halves, overlap)
    whole, first, second, area = (float("nan") if v is None else float(v) for v in shown)
    return whole, first, second, area


def _vectors(
    known: dict[int, tuple[list[str], features.Halves]], index: int, stages: tuple[int, ...]
) -> Floats:
    """Return what the graph gives for these stages, float32 ``[h * w, channels]``."""
    step = lite.stride(stages[0])
    levels = []
    for stage in stages:
        found = known[stage][1][index].astype(np.float32)
        times = lite.stride(stage) // step
        levels.append(np.stack([_enlarged(plane, times) for plane in found]))
    joined = np.concatenate(levels)
    weights = np.ones(joined.shape[1:], np.float32)
    counts = cv2.boxFilter(weights, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    sums = [
        cv2.boxFilter(plane, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for plane in joined
    ]
    found = (np.stack(sums) / counts).reshape(len(joined), -1).T
    return np.asarray(found / np.sqrt(np.square(found).sum(1, keepdims=True) + 1e-12), np.float32)


def _enlarged(plane: Floats, times: int) -> Floats:
    if times == 1:
        return plane
    size = (plane.shape[1] * times, plane.shape[0] * times)
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _mask(prepared: Path, name: str) -> npt.NDArray[np.bool_] | None:
    """Return the mask of a test photo, all false for a good one; ``None`` where there is none."""
    path = Path(name)
    if path.parent.name == GOOD:
        height, width = images.read_image(prepared / name).shape[:2]
        return np.zeros((height, width), np.bool_)
    file = prepared / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
    return mask > 0 if mask is not None and mask.any() else None
