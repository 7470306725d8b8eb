"""Seams of tiles: what a shift of a good frame, and a defect on a seam, do to the score.

    python -m studies.tiles FRAMES [--model NAME] [--positions N]

FRAMES is what ``python -m edgead.demo.frames`` writes. From each frame parts of 3520x2560 px are
cut, 2.5 pixels for each pixel of 5x7 windows. Half a window is 240 px then, a whole number of the
network's pixels: a part that begins 240 px farther right and down shows the same surface to the
middle of windows that the other one shows to their seams. The detector is taught, or trained, with
parts that begin anywhere.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgead import EdgeDetector, images, notices, photo_files
from edgead.artifact import ViewSpec
from edgead.errors import EdgeadError
from edgead.images import Image
from edgead.progress import progress
from edgead.teaching import DETECTORS
from edgead.view import ViewRequest

GRID, SIDE = (5, 7), 256
PART = (2560, 3520)  # height and width
HALF = 240
_SHIFTS = ((HALF, HALF), (HALF, 0), (0, HALF))  # to a corner of windows, and to their edges
_REACH = 70  # pixels around a defect
_BORDERS = (0, 160, 400, 640)  # pixels; the border changes the features of cells within reach


@dataclass(frozen=True)
class Seams:
    """What was measured.

    Attributes:
        span: Range of the scores of good parts.
        shifts: Change of the highest value of what both parts show, for each frame, by distance
            from their border in pixels.
        ratios: Score of a defect on a seam over that of the same defect in the middle of a window.
    """

    span: float
    shifts: dict[int, tuple[float, ...]]
    ratios: tuple[float, ...]

    def __str__(self) -> str:
        ratios = np.array(self.ratios)
        shown = [
            f"{border} px from the border {np.mean(found) / self.span:.2%}, "
            f"{np.max(found) / self.span:.2%}"
            for border, found in self.shifts.items()
        ]
        return (
            "shift by half a window, share of the range of good scores, "
            f"{len(self.shifts[0])} frames, mean and highest: {'; '.join(shown)}\n"
            f"defect on a seam over the same in the middle: lowest {ratios.min():.3f}, 5 % below "
            f"{np.quantile(ratios, 0.05):.3f}, median {np.median(ratios):.3f}; "
            f"{(ratios < 0.9).sum()} of {len(ratios)} below 0.9"
        )


def part(frame: Image, down: int, across: int) -> Image:
    """Cut a part out of a frame."""
    return frame[down : down + PART[0], across : across + PART[1]]


def measure(
    detect: EdgeDetector, frames: Sequence[Image], positions: int, rng: np.random.Generator
) -> Seams:
    """Shift good frames, and paint defects on seams and in the middle of windows.

    Args:
        detect: Made for parts.
        frames: Whole good frames.
        positions: Number of defects.
        rng: Draws the defects.
    """
    scores: list[float] = []
    shifts: dict[int, list[float]] = {border: [] for border in _BORDERS}
    for frame in progress(frames, len(frames), "shifting"):
        first, second = detect(part(frame, 0, 0)), detect(part(frame, HALF, HALF))
        scores += [first.score, second.score]
        here, there = first.heatmap()[HALF:, HALF:], second.heatmap()[:-HALF, :-HALF]
        for border, found in shifts.items():
            rows, columns = (slice(border, length - border) for length in here.shape)
            found.append(float(abs(here[rows, columns].max() - there[rows, columns].max())))
    ratios = []
    for index in progress(range(positions), positions, "painting"):
        painted = frames[index % len(frames)].copy()
        down, across = _SHIFTS[index % len(_SHIFTS)]
        row, column = int(rng.integers(GRID[0] - 1)), int(rng.integers(GRID[1] - 1))
        x, y = (_middle(at) + int(rng.integers(-60, 61)) for at in (column, row))
        radius, level = int(rng.integers(8, 14)), int(rng.choice([15, 235]))
        place = x + across, y + down
        cv2.circle(painted, place, radius, (level,) * 3, -1, cv2.LINE_AA)
        seam = _peak(detect, part(painted, 0, 0), *place)
        ratios.append(seam / _peak(detect, part(painted, down, across), x, y))
    span = float(np.ptp(scores))
    of_borders = {border: tuple(found) for border, found in shifts.items()}
    return Seams(span, of_borders, tuple(ratios))


def _middle(window: int) -> int:
    """Return the middle of a window along one axis, in pixels of a part."""
    return round(2.5 * (window * 192 + SIDE / 2))


def _peak(detect: EdgeDetector, frame: Image, x: int, y: int) -> float:
    heat = detect(frame).heatmap()
    near = heat[max(0, y - _REACH) : y + _REACH, max(0, x - _REACH) : x + _REACH]
    return float(near.max())


def _made(model: str, paths: Sequence[Path], steps: int | None, folder: Path) -> Path:
    """Teach or train with parts of frames, and return the FP32 file."""
    rng = np.random.default_rng(1)
    parts = folder / "parts"
    parts.mkdir()
    for index, path in enumerate(progress(paths, len(paths), "cutting parts")):
        frame = images.read_image(path)
        down, across = rng.integers(0, [frame.shape[0] - PART[0], frame.shape[1] - PART[1]])
        cv2.imwrite(str(parts / f"{index:03}.bmp"), part(frame, int(down), int(across)))
    spec: ViewSpec | None = ViewRequest(tiles=GRID).resolve(PART, (SIDE, SIDE))
    if model in DETECTORS:
        from edgead.teaching import TeachOptions, teach

        return teach(parts, folder / "part.onnx", TeachOptions(detector=model, view=spec)).path
    from edgead.export import export
    from edgead.training import TrainConfig, train

    train(TrainConfig(model, str(parts), steps=steps, view=spec), folder / "run")
    (variant,) = export(folder / "run", folder / "exports")
    return folder / "exports" / str(variant.file)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.tiles")
    parser.add_argument("frames", type=Path)
    parser.add_argument("--model", default="patchcore")
    parser.add_argument("--steps", type=int, metavar="N", help="of a training")
    parser.add_argument("--positions", type=int, default=200, metavar="N")
    args = parser.parse_args()
    try:
        train = photo_files.find_and_report([args.frames / "photos/train/good"])
        test = photo_files.find_and_report([args.frames / "photos/test/good"])
        with tempfile.TemporaryDirectory() as folder:
            made = _made(args.model, train, args.steps, Path(folder))
            frames = [images.read_image(path) for path in test[:20]]
            with EdgeDetector(made) as detect:
                print(measure(detect, frames, args.positions, np.random.default_rng(0)))
    except EdgeadError as error:
        notices.error(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
