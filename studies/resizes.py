"""Do both named resizes give the same accuracy? Sets x detectors x draws, in pairs.

    python -m studies.resizes OUT SET=DATA [SET=DATA ...] [--groups SET=CSV] [--image-size HxW]
        [--detectors A,B] [--draws 0,1,2] [--photos N] [--steps N]

Each set is resized in either way of :mod:`edgead.resizing`, and all else is equal: draws of
good photos, detector, seed. A detector that is not taught is trained (needs the training install),
with the number of the draw as its seed. FP32, in ONNX Runtime or torch. Test photos choose nothing.
What ``OUT/cells.jsonl`` has is not measured again; writes ``OUT/resizes.md``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgead import cpu, files, notices, resizing
from edgead.cli import _options
from edgead.datasets import GOOD, Dataset
from edgead.detector import open_detector
from edgead.errors import DataError
from edgead.evaluation import evaluate
from edgead.markdown import table
from edgead.teaching import DETECTORS
from studies.script import pairs, told
from studies.taught import prepared
from studies.taught.cells import append, lines

WAYS = {"area": resizing.AREA, "halved": resizing.HALVED}
METRICS = ("image_auroc", "au_pro")
_HEADER = ("set", "detector", "draws", "image AUROC", "halved", "AU-PRO", "halved")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        out: Folder of the results.
        size: ``(height, width)`` of the network's input.
        photos: The most good photos of a draw; ``None`` for all.
        steps: Of a training.
    """

    out: Path
    size: tuple[int, int]
    photos: int | None
    steps: int

    def sets(self, way: str) -> Path:
        """Return the folder of what was resized in a way."""
        return self.out / f"{way}-{self.size[0]}x{self.size[1]}"


def measure(plan: Plan, name: str, detector: str, draw: int, way: str) -> dict[str, float]:
    """Teach or train on a draw of a set that was resized in a way, and evaluate.

    Raises:
        DataError: The set has no defects with masks.
    """
    folder = plan.sets(way) / name
    chosen = prepared.draws_of(folder)[draw]
    with tempfile.TemporaryDirectory() as scratch:
        fewer = prepared.Draw(chosen.train[: plan.photos], chosen.good)
        dataset = prepared.laid_out(folder, fewer, Path(scratch) / "data")
        made = _made(plan, dataset, fewer, detector, draw, Path(scratch))
        with open_detector(made) as detect:
            found = evaluate(detect, dataset)
    if found.image_auroc is None or found.au_pro is None:
        raise DataError(f"{name} has no labelled defects with masks to measure with: leave it out")
    return {"image_auroc": found.image_auroc, "au_pro": found.au_pro}


def _made(
    plan: Plan, dataset: Dataset, draw: prepared.Draw, detector: str, seed: int, scratch: Path
) -> Path:
    if detector in DETECTORS:
        from edgead.teaching import TeachOptions, teach

        photos = [dataset.root / "train" / GOOD / Path(file).name for file in draw.train]
        path = scratch / "taught.onnx"
        teach(photos, path, TeachOptions(detector=detector, image_size=plan.size))
        return path
    from edgead.training import TrainConfig, train

    config = TrainConfig(
        model=detector, data=str(dataset.root), steps=plan.steps, seed=seed, image_size=plan.size
    )
    train(config, scratch / "run")
    return scratch / "run"


def markdown(measured: Sequence[dict[str, Any]]) -> str:
    """Return a table with a row for each set and detector, and the mean differences in points."""
    rows, differences = [], []
    cells = {(c["set"], c["detector"], c["draw"], c["way"]): c for c in measured}
    for name, detector in dict.fromkeys((c["set"], c["detector"]) for c in measured):
        draws = sorted({key[2] for key in cells if key[:2] == (name, detector)})
        both = [
            [cells[name, detector, draw, way] for way in WAYS]
            for draw in draws
            if all((name, detector, draw, way) in cells for way in WAYS)
        ]
        if not both:
            continue
        row = [name, detector, str(len(both))]
        for metric in METRICS:
            old, new = np.array([[cell[metric] for cell in pair] for pair in both]).T
            each = ", ".join(f"{100 * value:+.2f}" for value in new - old)
            row += [f"{old.mean():.4f}", f"{new.mean():.4f} ({each})"]
            differences.append((metric, 100 * (new - old)))
        rows.append(row)
    means = "; ".join(
        f"{metric}: {np.mean([d.mean() for name, d in differences if name == metric]):+.3f} points"
        for metric in METRICS
        if rows
    )
    return f"{table(_HEADER, rows)}\n\nmean difference over rows: {means}"


def _run(args: argparse.Namespace, groups: dict[str, str]) -> str:
    plan = Plan(args.out, args.image_size, args.photos, args.steps)
    file = plan.out / "cells.jsonl"
    done = {(c["set"], c["detector"], c["draw"], c["way"]) for c in lines(file)}
    for way, (name, data) in itertools.product(WAYS, args.pairs):
        if not (plan.sets(way) / name).is_dir():
            csv = Path(groups[name]) if name in groups else None
            prepared.prepare(name, Path(data), plan.sets(way), plan.size, csv, WAYS[way])
    names = [name for name, _ in args.pairs]
    for name, detector, draw, way in itertools.product(names, args.detectors, args.draws, WAYS):
        if (name, detector, draw, way) not in done:
            found = measure(plan, name, detector, draw, way)
            cell = {"set": name, "detector": detector, "draw": draw, "way": way, **found}
            append(file, cell)
            notices.say(" ".join(f"{value}" for value in cell.values()))
    text = f"{cpu.model_name()}\n\n{markdown(lines(file))}"
    files.write_text(plan.out / "resizes.md", text + "\n")
    return text


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_options.whole_number(word) for word in text.split(","))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m studies.resizes")
    parser.add_argument("out", type=Path, metavar="OUT", help="for copies and results")
    parser.add_argument("pairs", nargs="+", metavar="SET=DATA")
    parser.add_argument("--groups", action="append", default=[], metavar="SET=CSV")
    parser.add_argument("--image-size", type=_options.image_size, default=(256, 256))
    parser.add_argument("--detectors", type=_options.listed, default=DETECTORS, metavar="A,B")
    parser.add_argument("--draws", type=_numbers, default=tuple(range(prepared.DRAWS)))
    parser.add_argument("--photos", type=_options.positive_int, metavar="N", help="default: all")
    parser.add_argument("--steps", type=_options.positive_int, default=1000, metavar="N")
    args = parser.parse_args(arguments)
    args.pairs = pairs(parser, args.pairs, "of the form SET=DATA")
    groups = dict(pairs(parser, args.groups, "of the form SET=CSV"))
    return told(functools.partial(_run, args, groups))


if __name__ == "__main__":
    sys.exit(main())
