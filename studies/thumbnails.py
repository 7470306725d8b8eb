"""A sanity row: how far the nearest 8x8 grey thumbnail of a training photo tells good from bad.

    python -m studies.thumbnails SETS

``SETS`` is a folder of ``python -m studies.taught prepare``. A set on which this does well says
little about detectors.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.datasets import GOOD
from edgead.metrics.curves import auroc as image_auroc
from studies.script import told
from studies.taught.prepared import draws_of, sets_in

SIDE = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a set: mean over its draws, and each draw."""
    parser = argparse.ArgumentParser(prog="python -m studies.thumbnails")
    parser.add_argument("sets", type=Path, metavar="SETS", help="prepared folder")
    args = parser.parse_args(arguments)
    return told(functools.partial(_lines, args.sets))


def _lines(folder: Path) -> str:
    lines = []
    for name, path in sets_in(folder, ()).items():
        found = [auroc(path, draw) for draw in range(len(draws_of(path)))]
        each = ", ".join(f"{value:.4f}" for value in dict.fromkeys(found))
        lines.append(f"{name}: {np.mean(found):.4f} ({each})")
    return "\n".join(lines)


def auroc(prepared: Path, number: int) -> float:
    """Return the image AUROC of a draw; a score is the distance from the nearest thumbnail."""
    draw = draws_of(prepared)[number]
    defects = sorted(
        path.relative_to(prepared).as_posix()
        for path in (prepared / "test").glob("*/*.png")
        if path.parent.name != GOOD
    )
    bank = np.stack([_thumbnail(prepared / file) for file in draw.train])
    tests = [*draw.good, *defects]
    scores = [float(np.abs(bank - _thumbnail(prepared / file)).mean(1).min()) for file in tests]
    labels = [False] * len(draw.good) + [True] * len(defects)
    found = image_auroc(labels, scores)
    assert found is not None
    return found


def _thumbnail(path: Path) -> npt.NDArray[np.float32]:
    grey = cv2.cvtColor(images.read_image(path), cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32).ravel()


if __name__ == "__main__":
    sys.exit(main())
