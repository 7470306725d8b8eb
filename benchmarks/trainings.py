"""Which way of training tells good from defective best, over data sets and seeds.

    python -m edgead.benchmarks.trainings OUT WAY/RUN=DATA [WAY/RUN=DATA ...]

Needs the training install. Trains nothing: give it finished trainings, those of one way in one
folder, such as ``default/bottle-0=BOTTLE natural/bottle-0=BOTTLE``. Two of the same data and seed
are compared with each other; the first way is what the others are compared with. What to choose by
is the AUROC of held-out good photos, as they are and as another camera might have taken them,
against synthetic defects; labelled photos are looked at only afterwards. Writes
``OUT/trainings.md`` and ``.json``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgead.benchmarks.remember import remembered, run_key
from edgead.benchmarks.script import absolute, pairs, runs_parser, told
from edgead.benchmarks.selection import Evidence, write_summary
from edgead.errors import UsageError


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        way: Name of the folder that it lies in.
        key: What it has in common with trainings that it is compared with.
        run: The run folder.
        data: Folder of labelled photos.
    """

    way: str
    key: str
    run: Path
    data: str


def measure(run: str, data: str) -> dict[str, Any]:
    """Return what to choose a finished training by, and its figures on the labelled photos."""
    from edgead.training import Run
    from edgead.training.finishing import score

    model, manifest = Run(run).load_model()
    evidence = Evidence.of(run, data, manifest.input.size)
    model.eval()
    scores = (np.asarray(score(model, photos, "scores"), np.float32) for photos in evidence.kinds)
    return evidence.aurocs(*scores)


def _plan(asked: Sequence[tuple[str, str]]) -> list[Cell]:
    """Name every run's way and what it is compared by; what is wrong shall be known before hours.

    Raises:
        UsageError: Two folders of one name, or one way has a training twice.
    """
    from edgead.training import Run

    cells: list[Cell] = []
    for run, data in asked:
        path, folder = absolute(run), str(absolute(data))
        record = Run(path).read_record()
        key = f"{folder}, photos {record.photos_sha256[:8]}, seed {record.config.seed}"
        for other in (cell for cell in cells if cell.way == path.parent.name):
            _check_apart(path, key, other)
        cells.append(Cell(path.parent.name, key, path, folder))
    return cells


def _check_apart(run: Path, key: str, other: Cell) -> None:
    """Check that another training of the same way is neither of another folder nor the same."""
    if run.parent != other.run.parent:
        raise UsageError(
            f"{other.run.parent} and {run.parent} have one name, by which the table would call "
            "both: rename one"
        )
    if key == other.key:
        raise UsageError(
            f"{other.run} and {run} are of the same photos and seed: keep runs of one way in one "
            "folder, and train each with another seed or other photos"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = runs_parser("trainings", "WAY/RUN=DATA")
    args = parser.parse_args(arguments)
    asked = pairs(parser, args.pairs, "WAY/RUN=DATA")
    return told(functools.partial(_measured, args.out, asked))


def _measured(out: Path, asked: Sequence[tuple[str, str]]) -> str:
    """Measure all runs and return the table; what is measured is written at once."""
    cells = _plan(asked)
    ways: dict[str, dict[str, dict[str, Any]]] = {}
    folders = {cell.key: cell.data for cell in cells}
    text = ""
    for cell in cells:
        run, data = str(cell.run), cell.data
        make: Callable[[], Any] = functools.partial(measure, run, data)
        kept = out / cell.way / f"{cell.run.name}.json"
        ways.setdefault(cell.way, {})[cell.key] = remembered(kept, run_key(run, data), make)
        text = write_summary(out, "trainings", "training", ways, folders)
    return text


if __name__ == "__main__":
    sys.exit(main())
