"""How long what is left will take, from short trainings on this machine or from finished cells.

A training is taken for a fixed time, a time for each photo, and one for each step; an evaluation
for a time for each photo, and one for each photo and pass of the pixel metrics. Two short trainings
and one short evaluation of each model give them.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgead import images, notices
from edgead.compare.prepare import config_of
from edgead.datasets import GOOD, Dataset, Photo, copies
from edgead.detection import Detection
from edgead.detector import open_detector
from edgead.evaluation import evaluate
from edgead.progress import duration
from studies.accuracy.cells import Job
from studies.accuracy.protocols import MVTEC_AD_2

_FEW, _MORE = 12, 28  # photos; some detectors need eight beside those held out
_WARM_UP, _MOST_STEPS, _SECONDS_OF_STEPS = 2, 12, 5.0
_JUDGED_EACH = 5  # good and defective photos of the short evaluation


@dataclass(frozen=True)
class _Size:
    """What the time on a set depends on."""

    training: int
    judged: int
    passes: int
    megapixels: float

    @classmethod
    def of(cls, job: Job) -> _Size:
        dataset = Dataset.from_folder(job.plan.data)
        photos = dataset.test_photos()
        passes = _passes(photos)
        if job.of.layout == MVTEC_AD_2 and passes:  # once more, up to the stricter limit
            passes += sum(not p.is_anomalous or bool(p.masks) for p in photos)
        pixels = images.read_image(photos[0].path)[..., 0].size
        return cls(len(dataset.train), len(photos), passes, pixels / 1e6)


@dataclass(frozen=True)
class _Cost:
    """Seconds of one model, measured on one set."""

    fixed: float
    photo: float
    step: float
    judged: float
    passed: float
    megapixels: float

    def making(self, size: _Size, steps: int) -> float:
        return self.fixed + self.photo * size.training + self.step * steps

    def evaluation(self, size: _Size) -> float:
        larger = size.megapixels / self.megapixels
        return self.judged * size.judged + self.passed * larger * size.passes


@dataclass(frozen=True)
class Estimate:
    """What is left of one model.

    Attributes:
        model: Its name.
        finished: Number of cells that are finished: they take no time.
        left: Number of cells that are not.
        seconds: Estimated time of those.
        basis: What the estimate rests on.
    """

    model: str
    finished: int
    left: int
    seconds: float
    basis: str

    def __str__(self) -> str:
        done = f" ({self.finished} finished)" if self.finished else ""
        if not self.left:
            return f"{self.model}: nothing left{done}"
        many = "training and evaluation" if self.left == 1 else "trainings and evaluations"
        return f"{self.model}: {self.left} {many}{done}, {duration(self.seconds)} {self.basis}"


def text(estimates: Sequence[Estimate]) -> str:
    """Return one line a model, and the total."""
    total = sum(entry.seconds for entry in estimates)
    left = sum(entry.left for entry in estimates)
    return "\n".join([*map(str, estimates), f"total: {left} left, {duration(total)}"])


def estimates(jobs: Sequence[Job]) -> list[Estimate]:
    """Estimate what is left of each model, in the order of the jobs.

    Raises:
        EdgeadError: A short training failed, as the long one would.
    """
    sizes: dict[Path, _Size] = {}
    return [
        _of_model([job for job in jobs if job.cell.model == model], sizes)
        for model in dict.fromkeys(job.cell.model for job in jobs)
    ]


def _of_model(jobs: Sequence[Job], sizes: dict[Path, _Size]) -> Estimate:
    known = [(job, job.figures()) for job in jobs]
    left = [job for job, figures in known if figures is None]
    seconds, bases = 0.0, set()
    for collection in dict.fromkeys(job.of.collection or job.of.name for job in left):
        here = [job for job in left if (job.of.collection or job.of.name) == collection]
        done = [
            (job.of.name, figures)
            for job, figures in known
            if figures is not None
            and (job.of.collection or job.of.name) == collection
            and figures.get("making_seconds") is not None
        ]
        if done:
            seconds += sum(_as_finished(job, done) for job in here)
            bases.add(f"finished cells of {collection}")
            continue
        cost = _measured(here[0])
        for job in here:
            if job.plan.data not in sizes:
                sizes[job.plan.data] = _Size.of(job)
            size = sizes[job.plan.data]
            seconds += cost.evaluation(size)
            seconds += 0 if job.is_made else cost.making(size, _steps(job))
        bases.add(f"a short run on {here[0].of.name}")
    basis = f"(by {', '.join(sorted(bases))})"
    return Estimate(jobs[0].cell.model, len(jobs) - len(left), len(left), seconds, basis)


def _as_finished(job: Job, done: Sequence[tuple[str, dict[str, Any]]]) -> float:
    """Return the mean time of finished cells: of the same set, or else of the collection."""
    same = [figures for name, figures in done if name == job.of.name]
    known = same or [figures for _, figures in done]
    evaluation = float(np.mean([figures["evaluation_seconds"] for figures in known]))
    if job.is_made:
        return evaluation
    return evaluation + float(np.mean([figures["making_seconds"] for figures in known]))


def _steps(job: Job) -> int:
    from edgead.training.defaults import with_defaults

    if job.contender.is_taught:
        return 0
    return with_defaults(config_of(job.contender, job.plan), job.plan.train_device).steps or 0


def _measured(job: Job) -> _Cost:
    """Time two short trainings and a short evaluation of a model on its set."""
    notices.say(f"estimating the time: a short run of {job.cell.model} on {job.of.name}")
    dataset = Dataset.from_folder(job.plan.data)
    again = {copy for _, copy in copies(dataset.train)}
    photos = [path for path in dataset.train if path not in again]
    # What a detector of two steps is warned of says nothing about the one that is wanted.
    with contextlib.redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        few, more = photos[:_FEW], photos[:_MORE]
        if job.contender.is_taught:
            _taught(job, few, folder / "first.onnx")  # what the first one loads is loaded once
            first = _taught(job, few, folder / "few.onnx")
            second = _taught(job, more, folder / "more.onnx")
            detector, step = folder / "more.onnx", 0.0
        else:
            steps = min(_steps(job), _WARM_UP)
            _trained(job, few, folder / "first", steps)
            first, spent = _trained(job, few, folder / "few", steps)
            if steps:
                affordable = round(_SECONDS_OF_STEPS / max(spent / steps, 1e-3))
                steps = min(_steps(job), max(_WARM_UP, min(_MOST_STEPS, affordable)))
            second, spent = _trained(job, more, folder / "more", steps)
            detector, step = folder / "more", spent / steps if steps else 0.0
        difference = len(more) - len(few)
        photo = max(second - first, 0.0) / difference if difference else 0.0
        fixed = max(first - photo * len(few), 0.0)
        judged, passed, megapixels = _evaluation(detector, dataset)
    return _Cost(fixed, photo, step, judged, passed, megapixels)


def _taught(job: Job, photos: Sequence[Path], out: Path) -> float:
    from edgead.teaching import TeachOptions, teach

    start = time.perf_counter()
    teach(photos, out, TeachOptions(detector=job.cell.model, image_size=job.plan.image_size))
    return time.perf_counter() - start


def _trained(job: Job, photos: Sequence[Path], out: Path, steps: int) -> tuple[float, float]:
    """Train for a few steps; return the seconds beside the steps, and those of the steps."""
    from edgead.training import Run, train

    data = out.with_name(f"{out.name}-photos")
    (data / "train" / GOOD).mkdir(parents=True)
    for number, path in enumerate(photos):
        (data / "train" / GOOD / f"{number:03}{path.suffix}").symlink_to(path.resolve())
    config = config_of(job.contender, job.plan)
    start = time.perf_counter()
    train(replace(config, data=str(data), steps=steps or None), out, job.plan.train_device)
    whole = time.perf_counter() - start
    lines = [line["seconds"] for line in Run(out).metrics() if "step" in line]
    # Of a detector without steps all time is fitting, which goes by the photos.
    spent = float(lines[-1]) if steps and lines else 0.0
    return whole - spent, spent


def _evaluation(detector: Path, dataset: Dataset) -> tuple[float, float, float]:
    """Return seconds a photo, seconds a photo and pass of the pixel metrics, and megapixels."""
    test = dataset.test_photos()
    good = [photo for photo in test if not photo.is_anomalous]
    bad = sorted((photo for photo in test if photo.is_anomalous), key=lambda p: not p.masks)
    photos = (*good[:_JUDGED_EACH], *bad[:_JUDGED_EACH])
    start = time.perf_counter()
    pixels = [images.read_image(photo.path)[..., 0].size for photo in photos]
    reading = (time.perf_counter() - start) / len(photos)
    spent: list[float] = []
    with open_detector(detector) as detect:
        detect(images.read_image(photos[0].path))  # the first call is slower

        def timed(image: images.Image) -> Detection:
            start = time.perf_counter()
            found = detect(image)
            spent.append(time.perf_counter() - start)
            return found

        start = time.perf_counter()
        evaluate(timed, replace(dataset, test=photos))
        whole = time.perf_counter() - start
    rest = max(whole - sum(spent) - reading * len(photos), 0.0)
    passed = rest / max(_passes(photos), 1)
    return reading + sum(spent) / len(spent), passed, sum(pixels) / len(pixels) / 1e6


def _passes(photos: Sequence[Photo]) -> int:
    """Count the photos that the pixel metrics of an evaluation go over: of all, and of each kind.

    Every kind is measured against all good photos.
    """
    marked = [photo for photo in photos if photo.is_anomalous and photo.masks]
    if not marked:
        return 0
    kinds = {photo.kind for photo in marked}
    good = sum(not photo.is_anomalous for photo in photos)
    return good * (len(kinds) + 1) + 2 * len(marked)
