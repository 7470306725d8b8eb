"""Cells of the table: one detector, set and seed, made and evaluated."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import images, maps, metrics, notices
from edgead.compare import prepare, taught
from edgead.compare.plan import Contender, Plan, contenders
from edgead.datasets import Dataset, read_mask
from edgead.detection import Detection
from edgead.detector import open_detector
from edgead.errors import UsageError
from edgead.evaluation import Evaluation, evaluate
from edgead.teaching import DETECTORS
from studies.accuracy.protocols import MVTEC_AD_2, LabelledSet
from studies.remember import recalled, remembered, run_key

ALL = "all"
STRICT_LIMIT = 0.05
"""False positive rate up to which MVTec AD 2 integrates the PRO curve (arXiv 2503.21622, IV-B)."""


@dataclass(frozen=True)
class Cell:
    """One detector on one set; ``seed`` is ``None`` for one that is taught, which has none."""

    data_set: str
    model: str
    seed: int | None


@dataclass(frozen=True)
class Job:
    """How a cell is made.

    Attributes:
        cell: The cell.
        contender: The detector; its ``run`` is the folder that keeps it and its figures.
        plan: The options of the training.
        of: The set.
    """

    cell: Cell
    contender: Contender
    plan: Plan
    of: LabelledSet

    @property
    def detector(self) -> Path:
        """The run folder, or the file of a taught detector."""
        run = self.contender.run
        return run / f"{self.cell.model}.onnx" if self.contender.is_taught else run

    @property
    def is_made(self) -> bool:
        """Whether it is trained or taught."""
        from edgead.training import Run

        return self.detector.is_file() or Run(self.contender.run).is_finished

    def figures(self) -> dict[str, Any] | None:
        """Return what was measured before, ``None`` where it was not."""
        if not self.is_made:
            return None
        found: dict[str, Any] | None = recalled(self._file, self._key())
        return found

    def measure(self) -> dict[str, Any]:
        """Make it, or go on with it, and evaluate it on its labelled photos."""
        is_begun = self.contender.run.exists()
        start = time.perf_counter()
        if self.contender.is_taught:
            made = taught.prepare(self.contender, self.plan, Dataset.from_folder(self.plan.data))
            training = made.detector.training_seconds
        else:
            training = prepare.trained(self.contender, self.plan).training_seconds()
        # Of a training that was interrupted the whole duration is not known.
        whole = None if is_begun else time.perf_counter() - start
        make = functools.partial(self._evaluated, training, whole)
        result: dict[str, Any] = remembered(self._file, self._key(), make)
        return result

    @property
    def _file(self) -> Path:
        return self.contender.run / "accuracy.json"

    def _key(self) -> dict[str, Any]:
        return run_key(str(self.detector), str(self.plan.data))

    def _evaluated(self, training: float | None, whole: float | None) -> dict[str, Any]:
        start = time.perf_counter()
        dataset = Dataset.from_folder(self.plan.data)
        detections: list[Detection] = []
        with open_detector(self.detector) as detect:

            def kept(image: images.Image) -> Detection:
                detections.append(detect(image))
                return detections[-1]

            found = evaluate(kept, dataset)
        good = sum(not entry.photo.is_anomalous for entry in found.judged)
        is_strict = self.of.layout == MVTEC_AD_2
        return {
            "image_auroc": found.image_auroc,
            "pixel_auroc": found.pixel_auroc,
            "au_pro": found.au_pro,
            "au_pro_005": _au_pro(found, detections, STRICT_LIMIT) if is_strict else None,
            "false_alarm_rate": found.false_positives / good if good else None,
            "misses": found.misses,
            "photos": len(found.judged),
            "training_seconds": training,
            "making_seconds": whole,
            "evaluation_seconds": time.perf_counter() - start,
            "by_defect": {kind: vars(result) for kind, result in found.by_defect.items()},
        }


def jobs(names: Sequence[str], sets: Sequence[LabelledSet], plans: Sequence[Plan]) -> list[Job]:
    """List the cells; what cannot be done must be known before hours.

    Args:
        names: Of the detectors; :data:`ALL` alone for every one that can be made here.
        sets: The sets.
        plans: One for each seed; each set gets its own folders in ``out``.

    Raises:
        UsageError: A detector is unknown or cannot be trained here, or a folder has a training of
            another configuration in it.
    """
    from edgead.models import model_names

    known = (*model_names(), *DETECTORS)
    chosen = known if tuple(names) == (ALL,) else tuple(names)
    unknown = next((name for name in chosen if name not in known), None)
    if unknown:
        raise UsageError(f"unknown detector '{unknown}'; choose '{ALL}' or of: {', '.join(known)}")
    kept, left_out = contenders(dataclasses.replace(plans[0], detectors=chosen))
    if left_out and chosen is not known:
        raise UsageError(f"{left_out[0].what} cannot be trained here: {left_out[0].reason}")
    for entry in left_out:
        notices.warn(f"{entry.what} is left out, it cannot be trained here: {entry.reason}")
    found = []
    for plan, one, contender in itertools.product(plans, sets, kept):
        if contender.is_taught and plan is not plans[0]:
            continue
        seed = None if contender.is_taught else plan.seed
        folder = f"{one.name.replace('/', '-')}-{'taught' if seed is None else seed}"
        own = dataclasses.replace(
            plan, data=one.data, out=plan.out / folder, detectors=chosen, precisions=("fp32",)
        )
        part = "exports" if contender.is_taught else "runs"
        placed = dataclasses.replace(contender, run=own.out / part / contender.label)
        prepare.require_same(placed, own)
        found.append(Job(Cell(one.name, contender.model, seed), placed, own, one))
    return found


def _au_pro(found: Evaluation, detections: Sequence[Detection], limit: float) -> float | None:
    """Return the AU-PRO up to another false positive rate than the evaluation's."""
    masks, marked = [], []
    for entry, detection in zip(found.judged, detections, strict=True):
        mask = read_mask(entry.photo, detection.photo_size)
        if mask is not None:
            masks.append(mask)
            marked.append(detection)
    heatmaps = maps.OnDemand(lambda index: marked[index].heatmap(), range(len(marked)))
    return metrics.au_pro(masks, heatmaps, limit)
