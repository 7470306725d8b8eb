"""Labelled defects choose the stages and the threshold; cross-validation says what that gives.

Photos of good parts and defects are dealt into folds. The detectors that are tried score the photos
of a fold by what the good photos of the other folds teach, so no photo is scored by itself. What
is chosen from the scores of the other folds is then tried on the fold: the mistakes that are
reported are those on photos that had no part in the choice.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgead.artifact import ThresholdSpec
from edgead.calibration import threshold as thresholds
from edgead.errors import DataError
from edgead.progress import progress
from edgead.teaching.extract import Extractor
from edgead.teaching.fit import Fitted
from edgead.teaching.gallery import Gallery
from edgead.teaching.learner import Head, Learner
from edgead.teaching.patchcore import Design, Floats
from edgead.teaching.scoring import Scoring

FEWEST_GOOD = 4
"""Good photos without which nothing can be cross-validated."""

_FOLDS = 5
_MOST_GOOD = 64  # as many as fit, but at least 16
_FEWER_GOOD = 16
_MOST_BYTES = 64_000_000  # of vectors that are kept at once
_FEW_DEFECTS = 5

Scores = npt.NDArray[np.float64]
OpenExtractor = Callable[[Design], Extractor]
Begin = Callable[[Design], Learner]


@dataclass(frozen=True)
class Trial:
    """Scores of a detector that was tried, in the order of the photos.

    Attributes:
        design: What was tried.
        good: Of good photos, each by what photos of other folds taught.
        defective: Of defects, likewise.
    """

    design: Design
    good: Scores
    defective: Scores


@dataclass(frozen=True)
class Choice:
    """What the labelled defects chose, and what it gave on photos that had no part in it.

    Attributes:
        design: The detector.
        tried: How many were tried.
        good: Number of good photos.
        false_alarms: How many of them were called anomalous.
        defects: Number of defects.
        missed: How many of them were not.
    """

    design: Design
    tried: int
    good: int
    false_alarms: int
    defects: int
    missed: int

    @property
    def report(self) -> str:
        """What was chosen, what it gave, and what that is worth."""
        stages = ",".join(map(str, self.design.stages))
        chosen = f"stages {stages}" + (f", of {self.tried} choices" if self.tried > 1 else "")
        said = (
            f"chosen: {chosen}; missed {self.missed} of {self.defects} defects and "
            f"{self.false_alarms} false alarms of {self.good} in cross-validation"
        )
        if self.defects < _FEW_DEFECTS:
            defects = "defect shows" if self.defects == 1 else "defects show"
            said += (
                f"; {self.defects} {defects} little of what can go wrong: give more with "
                "--defects when you have them"
            )
        return said


def choose(
    designs: Sequence[Design],
    open_one: OpenExtractor,
    begin: Begin,
    gallery: Gallery,
    defects: Gallery,
    rate: float,
) -> Choice:
    """Try detectors and choose one.

    Args:
        designs: The first is taken where no other is clearly better.
        open_one: Makes the extractor of a design.
        begin: Makes a learner of a design.
        gallery: Good photos.
        defects: Photos of defects.
        rate: Target rate of false alarms.

    Raises:
        DataError: There are too few good photos.
    """
    largest = max(4 * design.channels * math.prod(design.cells) for design in designs)
    most = min(_MOST_GOOD, max(_FEWER_GOOD, _MOST_BYTES // largest))
    paths = gallery.paths[:most]
    if len(paths) < FEWEST_GOOD:
        raise DataError(
            f"labelled defects need at least {FEWEST_GOOD} different good photos to be compared "
            f"with, but there {'is 1' if len(paths) == 1 else f'are {len(paths)}'}: give more good "
            "photos, or leave the defects out"
        )
    count = min(_FOLDS, len(paths))
    trials = [
        _tried(design, open_one(design), begin, gallery, paths, defects, count)
        for design in progress(designs, len(designs), "trying detectors")
    ]
    good_folds, bad_folds = np.arange(len(paths)) % count, np.arange(len(defects.paths)) % count
    false_alarms = missed = 0
    for fold in range(count):
        held_good, held_bad = good_folds == fold, bad_folds == fold
        others = [Trial(t.design, t.good[~held_good], t.defective[~held_bad]) for t in trials]
        chosen = best(others)
        limit = fewest_mistakes(
            others[chosen].good.tolist(), others[chosen].defective.tolist(), rate
        )
        false_alarms += int((trials[chosen].good[held_good] > limit).sum())
        missed += int((trials[chosen].defective[held_bad] <= limit).sum())
    design = designs[best(trials)]
    return Choice(design, len(designs), len(paths), false_alarms, len(defects.paths), missed)


def best(trials: Sequence[Trial]) -> int:
    """Return the position of the best one: the first, where no other is clearly better.

    What a defect contributes to the AUROC is the share of good photos that score below it. Another
    one is better where the mean gain of the defects is above two standard errors.
    """
    shares = [_shares_below(trial) for trial in trials]
    found = 0
    for index, other in enumerate(shares):
        gains = other - shares[0]
        if len(gains) < 2 or gains.mean() <= 2 * gains.std(ddof=1) / np.sqrt(len(gains)):
            continue
        if other.mean() > shares[found].mean():
            found = index
    return found


def fewest_mistakes(good: Sequence[float], defective: Sequence[float], rate: float) -> float:
    """Return the threshold with the lowest mean of missed share and share of false alarms.

    The threshold of good photos alone stays where none is better, and of equally good ones the
    nearest to it is taken: defects that are found by far say nothing about those that are not.

    Args:
        good: Scores of good photos that were not learned.
        defective: Scores of defects; may be empty.
        rate: Target rate of false alarms for the threshold of good photos alone.
    """
    usual = thresholds.from_good_scores(good, rate).value
    normal, bad = np.sort(np.asarray(good, np.float64)), np.sort(np.asarray(defective, np.float64))
    if not len(bad):
        return usual
    every = np.unique(np.concatenate([normal, bad]))
    limits = np.concatenate([[usual], (every[1:] + every[:-1]) / 2])
    missed = np.searchsorted(bad, limits, "right") / len(bad)
    alarms = 1 - np.searchsorted(normal, limits, "right") / len(normal)
    mistakes = missed + alarms
    best_ones = limits[mistakes <= mistakes.min() + 1e-12]
    return float(best_ones[np.abs(best_ones - usual).argmin()])


def adjusted(
    fitted: Fitted, extractor: Extractor, defects: Gallery, rate: float, choice: Choice
) -> Fitted:
    """Let the defects choose the threshold of what was learned.

    Args:
        fitted: With the threshold of good photos alone.
        extractor: Of the same graph.
        defects: None of them was learned.
        rate: Target rate of false alarms for the threshold of good photos alone.
        choice: What cross-validation gave, for the note.
    """
    scoring = Scoring(choice.design, defects.view)
    scores = [
        scoring.score(extractor.patches(defects.resized(path)), fitted.head, fitted.texture)
        for path in progress(defects.paths, len(defects.paths), "scoring defects")
    ]
    value = fewest_mistakes(fitted.scores, scores, rate)
    usual = fitted.threshold
    note = "; ".join(part for part in (choice.report, usual.note) if part)
    if value == usual.value:
        return dataclasses.replace(fitted, threshold=dataclasses.replace(usual, note=note))
    threshold = ThresholdSpec(
        value=value,
        method="fewest mistakes on good photos and labelled defects",
        false_positive_rate=None,
        images=usual.images + len(scores),
        note=choice.report,
    )
    return dataclasses.replace(fitted, threshold=threshold)


def _tried(
    design: Design,
    extractor: Extractor,
    begin: Begin,
    gallery: Gallery,
    paths: Sequence[Path],
    defects: Gallery,
    count: int,
) -> Trial:
    scoring = Scoring(design, gallery.view)
    seen = [extractor.patches(gallery.resized(path)) for path in paths]
    moments = functools.reduce(operator.add, map(scoring.moments, seen))
    texture = moments.texture()
    patches = list(map(scoring.kept, seen))
    heads = list(_heads([one.deep for one in patches], begin(design), count))
    good = [scoring.score(one, heads[index % count], texture) for index, one in enumerate(patches)]
    defective = [
        scoring.score(extractor.patches(defects.resized(path)), heads[index % count], texture)
        for index, path in enumerate(defects.paths)
    ]
    return Trial(design, np.array(good), np.array(defective))


def _heads(vectors: Sequence[Floats], learner: Learner, count: int) -> Iterator[Head]:
    """Yield what the photos outside of each fold teach."""
    for fold in range(count):
        others = learner.fresh()
        for owner, one in enumerate(vectors):
            if owner % count != fold:
                others.add(one, owner)
        yield others.head()


def _shares_below(trial: Trial) -> Scores:
    """Return for each defect the share of good photos below it; equal ones count half."""
    good, bad = trial.good[None], trial.defective[:, None]
    return np.asarray((good < bad).mean(1) + (good == bad).mean(1) / 2)
