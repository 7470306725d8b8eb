"""What INT8 loses on synthetic defects: all of it, by the scores, and by the shape of the maps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgead import images, metrics
from edgead.artifact import Artifact
from edgead.calibration.synthetic import with_defect
from edgead.datasets import GOOD
from edgead.detector import open_detector
from edgead.images import Image
from edgead.markdown import table
from edgead.teaching import TeachOptions, teach
from studies.taught.prepared import draws_of, laid_out

DRAW = 80
"""Defects that the gate begins with."""

_GOOD = 40
_PAINTED = 8  # grey levels, as in the gate
_ANY_DROP = 100.0
_HEADER = ("INT8", "AU-PRO points lost", "standard error", f"over draws of {DRAW}")

Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]
Area = Callable[[Sequence[Masks], Sequence[Maps]], float | None]


def measure(prepared: Path, detector: str, draw: int, count: int, defects: int) -> str:
    """Teach a detector in FP32 and INT8, and compare them on synthetic defects of good photos.

    A painted defect is one region; *in pieces* each of its connected parts is one.

    Args:
        prepared: A prepared set.
        detector: Name of the detector.
        draw: Number of the draw.
        count: Photos to teach with. Defects are painted into the next ones of the draw, or into the
            same ones where there are no others.
        defects: How many.

    Returns:
        A table.
    """
    chosen = draws_of(prepared)[draw]
    with tempfile.TemporaryDirectory() as scratch:
        dataset = laid_out(prepared, chosen, Path(scratch) / "data")
        paths = [dataset.root / "train" / GOOD / Path(file).name for file in chosen.train]
        painted, masks = _painted(paths[count : count + _GOOD] or paths[:_GOOD], defects)
        height, width = painted[0].shape[:2]
        options = TeachOptions(detector=detector, image_size=(height, width), max_drop=_ANY_DROP)
        scores, shapes = [], []
        for is_int8 in (False, True):
            file = Path(scratch) / f"{is_int8}.onnx"
            made = teach(paths[:count], file, replace(options, int8=is_int8))
            found, maps = _scored(made, painted)
            scores.append(found)
            shapes.append(maps / found)
    before, int8 = shapes[0] * scores[0], shapes[1] * scores[1]
    rows = [
        (name, *_lost(masks, before, maps), _over_draws(masks, before, maps, _whole))
        for name, maps in (
            ("all", int8),
            ("scores", shapes[0] * scores[1]),
            ("shape of the maps", shapes[1] * scores[0]),
        )
    ]
    rows.append(("all, in pieces", "", "", _over_draws(masks, before, int8, metrics.au_pro)))
    return table(_HEADER, rows)


def _painted(paths: Sequence[Path], defects: int) -> tuple[list[Image], Masks]:
    """Return good photos followed by defective ones, and where each has a defect."""
    good = [images.read_image(path) for path in paths]
    rng = np.random.default_rng(0)
    photos, masks = list(good), [np.zeros(good[0].shape[:2], np.bool_) for _ in good]
    for index in range(defects):
        one = good[index % len(good)]
        painted = with_defect(one, rng)
        photos.append(painted)
        masks.append(np.abs(painted.astype(np.int16) - one).max(-1) >= _PAINTED)
    return photos, np.stack(masks)


def _scored(file: Artifact, photos: Sequence[Image]) -> tuple[Maps, Maps]:
    """Return scores ``[N, 1, 1]`` and maps ``[N, H, W]`` at the photos' size."""
    with open_detector(file.path, "onnxruntime") as detect:
        found = [detect(photo) for photo in photos]
        maps = [detection.heatmap() for detection in found]
    scores = np.array([detection.score for detection in found], np.float32)
    return scores[:, None, None], np.stack(maps)


def _lost(masks: Masks, before: Maps, after: Maps) -> tuple[str, str]:
    each = [metrics.overlap_of_each(list(masks), list(maps)) for maps in (before, after)]
    assert each[0] is not None
    assert each[1] is not None
    lost = 100 * (each[0] - each[1])
    return f"{lost.mean():.2f}", f"{lost.std(ddof=1) / np.sqrt(len(lost)):.2f}"


def _whole(masks: Sequence[Masks], maps: Sequence[Maps]) -> float | None:
    each = metrics.overlap_of_each(masks, maps)
    return None if each is None else float(each.mean())


def _over_draws(masks: Masks, before: Maps, after: Maps, area: Area) -> str:
    """Return mean and deviation of the loss over the defects, so many at a time."""
    is_good = ~masks.any((1, 2))
    good, bad = np.flatnonzero(is_good), np.flatnonzero(~is_good)
    lost = []
    for start in range(0, len(bad) - DRAW + 1, DRAW):
        taken = np.concatenate([good, bad[start : start + DRAW]])
        was, is_now = (area(list(masks[taken]), list(maps[taken])) for maps in (before, after))
        assert was is not None
        assert is_now is not None
        lost.append(100 * (was - is_now))
    return f"{np.mean(lost):.2f} ± {np.std(lost, ddof=1):.2f}" if len(lost) > 1 else "-"
