"""Cells of the table: one detector, set, draw and number of photos, one JSON line a precision."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgead import images, notices
from edgead.datasets import GOOD, Dataset
from edgead.detector import open_detector
from edgead.errors import EdgeadError, GateRefused
from edgead.evaluation import evaluate
from studies.taught.prepared import draws_of, laid_out

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

FP32, INT8 = "fp32", "int8"
PRECISIONS = (FP32, INT8)
_ANY_DROP = 100.0  # points: what a refused file would have had


@dataclass(frozen=True)
class Cell:
    """What is taught or trained.

    Attributes:
        detector: Name of the detector.
        data_set: Name of the prepared set.
        draw: Number of the draw; of a training also its seed.
        photos: Number of good photos, those held out included.
        is_all: Whether those are all of the draw.
    """

    detector: str
    data_set: str
    draw: int
    photos: int
    is_all: bool

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells it from others."""
        return self.detector, self.data_set, self.draw, self.photos


def planned(
    sets: dict[str, Path], detectors: Iterable[str], counts: Sequence[int], draws: Sequence[int]
) -> list[Cell]:
    """List the cells; all photos are a cell besides the counts, once where all draws have the same.

    The largest come first: nothing waits for a long one at the end.
    """
    cells: dict[tuple[str, str, int, int], Cell] = {}
    for detector in detectors:
        for name, path in sets.items():
            known = draws_of(path)
            for draw in draws:
                train = known[draw].train
                is_first = all(set(known[d].train) != set(train) for d in draws if d < draw)
                for count in (*counts, *([len(train)] if is_first else [])):
                    if count < len(train) or (count == len(train) and is_first):
                        cell = Cell(detector, name, draw, count, count == len(train))
                        cells[cell.key] = cell
    return sorted(cells.values(), key=lambda cell: -cell.photos)


def measure_all(cells: Sequence[Cell], sets: dict[str, Path], file: Path, jobs: int) -> None:
    """Teach and evaluate what the file does not have yet, in processes of one thread each."""
    done = {_key(line) for line in lines(file)}
    left = [cell for cell in cells if any((*cell.key, p) not in done for p in PRECISIONS)]
    notices.say(f"{len(cells) - len(left)} of {len(cells)} cells are there, {len(left)} to go")
    context = get_context("spawn")
    cpus: Queue[int] = context.Queue()
    allowed = sorted(os.sched_getaffinity(0))
    for job in range(jobs):
        cpus.put(allowed[job % len(allowed)])
    with ProcessPoolExecutor(jobs, context, _one_cpu, (cpus,)) as pool:
        begun = {pool.submit(taught, cell, sets[cell.data_set]): cell for cell in left}
        for number, future in enumerate(as_completed(begun), 1):
            for line in future.result():
                append(file, line)
            cell = begun[future]
            notices.say(
                f"{number} of {len(left)}: {cell.detector}, {cell.data_set}, draw {cell.draw}, "
                f"{cell.photos} photos"
            )


def _one_cpu(cpus: Queue[int]) -> None:
    """Keep a process to one CPU, so that every library in it takes one thread."""
    os.sched_setaffinity(0, {cpus.get()})


def taught(cell: Cell, prepared: Path) -> list[dict[str, Any]]:
    """Teach one cell in FP32 and INT8 and evaluate both files.

    An INT8 file that the gate refuses is measured all the same, and marked.
    """
    from edgead.teaching import TeachOptions, teach

    draw = draws_of(prepared)[cell.draw]
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        dataset = laid_out(prepared, draw, Path(scratch) / "data")
        # As the draw has them: the set's own test photos may be training photos of a draw.
        names = [Path(file).name for file in draw.train[: cell.photos]]
        photos = [dataset.root / "train" / GOOD / name for name in names]
        height, width = images.read_image(photos[0]).shape[:2]  # as the set was prepared
        options = TeachOptions(detector=cell.detector, image_size=(height, width))
        for precision in PRECISIONS:
            path = Path(scratch) / f"{precision}.onnx"
            is_int8 = precision == INT8
            start, refused = time.perf_counter(), None
            try:
                teach(photos, path, replace(options, int8=is_int8))
            except GateRefused as error:
                refused = str(error)
                try:
                    teach(photos, path, replace(options, int8=is_int8, max_drop=_ANY_DROP))
                except EdgeadError:
                    found.append(line(cell, precision, 0.0, refused=refused))
                    continue
            except EdgeadError as error:  # too few photos for this detector, for one
                found.append(line(cell, precision, 0.0, refused=str(error)))
                continue
            seconds = time.perf_counter() - start
            found.append(line(cell, precision, seconds, refused=refused, **figures(path, dataset)))
    return found


def figures(artifact: Path, dataset: Dataset) -> dict[str, Any]:
    """Evaluate a file on a data set, in ONNX Runtime."""
    with open_detector(artifact, "onnxruntime") as detect:
        found = evaluate(detect, dataset)
    return {
        "image_auroc": found.image_auroc,
        "pixel_auroc": found.pixel_auroc,
        "au_pro": found.au_pro,
        "false_alarms": found.false_positives,
        "good": sum(not entry.photo.is_anomalous for entry in found.judged),
        "misses": found.misses,
        "defective": sum(entry.photo.is_anomalous for entry in found.judged),
    }


def line(cell: Cell, precision: str, seconds: float, **more: Any) -> dict[str, Any]:
    """Return what is written for one file."""
    return {**asdict(cell), "precision": precision, "seconds": round(seconds, 1), **more}


def lines(file: Path) -> list[dict[str, Any]]:
    """Read what was measured; a line that an interruption cut off is left out."""
    if not file.is_file():
        return []
    found = []
    for text in file.read_text().splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            notices.warn(f"{file} has a line that is cut off: it is measured again")
    return found


def append(file: Path, entry: dict[str, Any]) -> None:
    """Add a line; several processes may."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(json.dumps(entry) + "\n")


def _key(entry: dict[str, Any]) -> tuple[str, str, int, int, str]:
    return (
        entry["detector"],
        entry["data_set"],
        entry["draw"],
        entry["photos"],
        entry["precision"],
    )


def is_done(file: Path, cell: Cell) -> bool:
    """Whether a file has a cell in both precisions."""
    done = {_key(entry) for entry in lines(file)}
    return all((*cell.key, precision) in done for precision in PRECISIONS)
