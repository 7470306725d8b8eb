"""What to choose between detectors by, without a look at the labelled photos.

Held-out good photos, as they are and as another camera might have taken them, against synthetic
defects painted on the latter. The labelled photos only report what came of a choice. The other
camera differs in light, colour and noise, not in where the part lies: robustness to that counts, to
a part out of place it does not.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgead import files, images, metrics
from edgead.benchmarks.remember import remembered, run_key
from edgead.benchmarks.script import absolute
from edgead.benchmarks.statistics import mean_if_known
from edgead.calibration.synthetic import with_defect
from edgead.datasets import Dataset
from edgead.errors import DataError, UsageError
from edgead.images import Image
from edgead.markdown import figure, table

_VIEWS = 160
_SEED = 123

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Evidence:
    """Photos of one part in a detector's size, uint8 ``[N, h, w, 3]`` BGR each.

    Attributes:
        own: Good photos that the training held out.
        other: The same as another camera might have taken them, 160 or more.
        defective: Those with a synthetic defect each.
        labelled: The test photos.
        is_anomalous: Of each test photo.
    """

    own: Pixels
    other: Pixels
    defective: Pixels
    labelled: Pixels
    is_anomalous: tuple[bool, ...]

    @classmethod
    def of(cls, run: str | Path, data: str | Path, size: tuple[int, int]) -> Evidence:
        """Read what a finished training held out, and the labelled photos of a folder.

        Args:
            run: The run folder.
            data: Folder with labelled photos.
            size: ``(height, width)`` in pixels.

        Raises:
            DataError: Photos that were held out are gone; names one.
        """
        from edgead.export.good_photos import require_held_out
        from edgead.training import Run

        paths = Run(run).read_record().held_out
        require_held_out(paths, Path(run))
        held_out = [images.read_image(path) for path in paths]
        rng = np.random.default_rng(_SEED)
        views = [
            other_camera(held_out[index % len(held_out)], rng)
            for index in range(max(_VIEWS, len(held_out)))
        ]
        painted = [with_defect(view, rng) for view in views]
        test = Dataset.from_folder(data).test_photos()
        kinds = (held_out, views, painted, (images.read_image(photo.path) for photo in test))
        own, other, defective, labelled = (
            np.stack([images.resize(photo, size) for photo in photos]) for photos in kinds
        )
        return cls(own, other, defective, labelled, tuple(photo.is_anomalous for photo in test))

    @property
    def kinds(self) -> tuple[Pixels, Pixels, Pixels, Pixels]:
        """The photos, in the order that :meth:`aurocs` takes their scores in."""
        return self.own, self.other, self.defective, self.labelled

    def aurocs(
        self, own: Floats, other: Floats, defective: Floats, labelled: Floats
    ) -> dict[str, float | None]:
        """Judge scores: ``synthetic_auroc`` is to choose by, ``image_auroc`` to report."""
        good = [*own.tolist(), *other.tolist()]
        labels = [False] * len(good) + [True] * len(defective)
        return {
            "synthetic_auroc": metrics.auroc(labels, [*good, *defective.tolist()]),
            "image_auroc": metrics.auroc(self.is_anomalous, labelled.tolist()),
        }


def other_camera(photo: Image, rng: np.random.Generator) -> Image:
    """Take a photo again with another camera and lamp.

    Brightness moves by up to 15 %, each colour by up to 3 %, all by up to 6 grey levels, and there
    is noise of up to 6.
    """
    gains = rng.uniform(0.85, 1.15) * rng.uniform(0.97, 1.03, 3)
    values = photo.astype(np.float32) * gains + rng.uniform(-6, 6)
    values = values + rng.normal(0, rng.uniform(0, 6), photo.shape)
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def learned_photos(run: str | Path) -> list[Path]:
    """List the photos that a finished training learned from.

    Raises:
        DataError: There are less than two of them where they were.
    """
    from edgead.export.good_photos import learned_photos as learned_from
    from edgead.training import Run

    record = Run(run).read_record()
    learned = learned_from(
        Dataset.from_folder(record.config.data, record.config.good), record.held_out
    )
    if len(learned) < 2:
        raise DataError(
            f"{record.config.data} has {len(learned)} of the photos that {run} learned from, and "
            "two or more are needed: put the photos back"
        )
    return learned


Found = Mapping[str, Mapping[str, Any]]
"""Results of :meth:`Evidence.aurocs` by what they are of: a run, or its photos and seed."""


def measure_ways(
    out: Path,
    name: str,
    title: str,
    asked: Sequence[tuple[str, str]],
    settings: Mapping[str, Any],
    measure: Callable[[str, str], dict[str, Any]],
) -> str:
    """Measure several ways on every run, and return the table of :func:`summary`.

    What is measured is written at once, the runs' results and ``name`` with ``.md`` and ``.json``.

    Args:
        out: Folder to write to.
        name: Of the table's files.
        title: What the ways are.
        asked: Run folders, each with its folder of labelled photos.
        settings: What the results depend on besides run and photos.
        measure: From a run and its photos to the results of :meth:`Evidence.aurocs` by way.

    Raises:
        UsageError: A run comes twice.
    """
    runs = [str(absolute(run)) for run, _ in asked]
    twice = next((run for run in runs if runs.count(run) > 1), None)
    if twice is not None:
        raise UsageError(f"the run {twice} is given twice: give each run once")
    folders = {run: str(absolute(data)) for run, (_, data) in zip(runs, asked, strict=True)}
    ways: dict[str, dict[str, Any]] = {}
    text = ""
    for run, (given, data) in zip(runs, asked, strict=True):
        key = {**run_key(given, data), **settings}
        digest = hashlib.sha256(os.fsencode(run)).hexdigest()[:8]
        kept = out / f"{Path(run).name}-{digest}.json"  # runs in several folders share names
        found = remembered(kept, key, functools.partial(measure, given, data))
        for way, result in found.items():
            ways.setdefault(way, {})[run] = result
        text = write_summary(out, name, title, ways, folders)
    return text


def write_summary(
    out: Path, name: str, title: str, ways: Mapping[str, Found], data: Mapping[str, str]
) -> str:
    """Write ``name`` with ``.md`` and ``.json`` into ``out``; return :func:`summary`."""
    text = summary(title, ways, data)
    files.write_text(out / f"{name}.md", f"{text}\n")
    files.write_json(out / f"{name}.json", ways)
    return text


def summary(first: str, ways: Mapping[str, Found], data: Mapping[str, str]) -> str:
    """Return Markdown: a row for each way, a column for each folder of photos.

    In each, ``synthetic / test photos`` are means; of a way that lacks some of what the first has
    there, there is none. ``better`` is in how many synthetic defects are told better than by the
    first way, of those that both have.

    Args:
        first: What the ways are.
        ways: Results by way and by what they are of. What is to be compared has the same key.
        data: Folder of photos of each key.
    """
    folders = list(dict.fromkeys(data[key] for key in next(iter(ways.values()))))
    names = [Path(folder).name for folder in folders]
    if len(set(names)) < len(names):
        names = folders
    reference = next(iter(ways.values()))
    rows = []
    for way, found in ways.items():
        cells, means = [], []
        for folder in folders:
            wanted = [key for key in reference if data[key] == folder]
            synthetic, real = (
                mean_if_known([found.get(key, {}).get(name) for key in wanted])
                for name in ("synthetic_auroc", "image_auroc")
            )
            cells.append(f"{figure(synthetic)} / {figure(real)}")
            means.append(synthetic)
        rows.append((way, *cells, figure(mean_if_known(means)), _better(found, reference)))
    return table((first, *names, "mean", "better"), rows)


def _better(found: Found, reference: Found) -> str:
    if found is reference:
        return ""
    both = [key for key in found if key in reference]
    pairs = [(found[key]["synthetic_auroc"], reference[key]["synthetic_auroc"]) for key in both]
    return f"{sum(new > old for new, old in pairs)} of {len(both)}"
