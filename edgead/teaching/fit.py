"""From photos to what is learned, and from that to scores of good photos that it does not know."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx

from edgead import notices
from edgead.artifact import ScoreStatistics, ThresholdSpec
from edgead.calibration import threshold as thresholds
from edgead.calibration.outliers import far_above
from edgead.datasets import held_out_count
from edgead.images import Image
from edgead.progress import progress
from edgead.teaching.extract import Extractor
from edgead.teaching.gallery import Gallery
from edgead.teaching.learner import Head, Learner
from edgead.teaching.patchcore import Design, Patches
from edgead.teaching.scoring import Scoring
from edgead.teaching.texture import Moments, Texture

FEWEST_HELD_OUT = 40
"""With so many photos ten or more become validation photos. With fewer each photo is left out once:
a bound from two to nine scores is so high that it misses most defects."""

FEWEST_ALONE = 8
"""With fewer photos altered copies of them are scored, too."""

_REMEMBERED = 20_000_000  # bytes of vectors that are kept for a second look
_FEWEST_SCORES = 4
_NAMED = 5


@dataclass(frozen=True)
class Split:
    """Photos that fill the bank, and photos that are held out; none where there are few."""

    taught: tuple[Path, ...]
    held_out: tuple[Path, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Split:
        """Hold out as many as a training does (:func:`held_out_count`).

        Args:
            paths: In an order that says nothing about the photos.
        """
        if len(paths) < FEWEST_HELD_OUT:
            return cls(tuple(paths), ())
        count = held_out_count(len(paths))
        return cls(tuple(paths[count:]), tuple(paths[:count]))


@dataclass(frozen=True)
class Fitted:
    """What was learned in one arithmetic.

    Attributes:
        head: What was learned of the patch vectors.
        texture: Of shallow vectors of the same photos.
        threshold: From scores of good photos that the head does not know.
        scores: Those scores.
        statistics: Of those scores.
        unknown: Score of each photo by what the other photos taught, by path; in other arithmetic
            of held-out ones alone.
    """

    head: Head
    texture: Texture
    threshold: ThresholdSpec
    scores: tuple[float, ...]
    statistics: ScoreStatistics
    unknown: dict[Path, float]


def fit(
    model: onnx.ModelProto,
    gallery: Gallery,
    split: Split,
    learner: Learner,
    rate: float,
    label: str,
    design: Design,
) -> Fitted:
    """Teach a learner, look for odd photos among those it was taught, and choose the threshold.

    Args:
        model: Graph of :func:`edgead.teaching.patchcore.build`, FP32 or INT8.
        gallery: The photos.
        split: Which of them are taught.
        learner: One that knows nothing.
        rate: Target rate of false alarms.
        label: What the graph is called in progress lines.
        design: What the graph was built of.
    """
    source = _Source(Extractor(model, gallery.view), gallery, Scoring(design, gallery.view), label)
    fitted, kept = _taught(source, split, learner, rate)
    if split.held_out:
        fitted.unknown.update(_by_the_others(source, split.taught, learner, kept, fitted.texture))
    return fitted


def fit_again(
    model: onnx.ModelProto,
    gallery: Gallery,
    split: Split,
    learner: Learner,
    rate: float,
    label: str,
    design: Design,
) -> Fitted:
    """Teach the same photos in other arithmetic; odd ones have been named. Args as :func:`fit`."""
    source = _Source(Extractor(model, gallery.view), gallery, Scoring(design, gallery.view), label)
    return _taught(source, split, learner.again(), rate)[0]


@dataclass(frozen=True)
class _Source:
    """Gives the vectors of photos, and their scores."""

    extractor: Extractor
    gallery: Gallery
    scoring: Scoring
    label: str

    def patches(self, path: Path) -> Patches:
        return self.extractor.patches(self.gallery.resized(path))


def _taught(
    source: _Source, split: Split, learner: Learner, rate: float
) -> tuple[Fitted, dict[Path, Patches]]:
    kept: dict[Path, Patches] = {}
    moments: Moments | None = None
    taught, scoring = split.taught, source.scoring
    for owner, path in enumerate(progress(taught, len(taught), f"learning, {source.label}")):
        if split.held_out and not learner.wants(owner):
            continue
        patches = source.patches(path)
        seen = scoring.moments(patches)
        moments = seen if moments is None else moments + seen
        learner.add(patches.deep, owner)
        own = scoring.kept(patches)
        if len(kept) < FEWEST_ALONE or len(kept) < _REMEMBERED // own.nbytes:
            kept[path] = own
    assert moments is not None
    head, texture = learner.head(), moments.texture()
    unknown: dict[Path, float] = {}
    if split.held_out:
        for path in split.held_out:
            unknown[path] = scoring.score(source.patches(path), head, texture)
        scores = list(unknown.values())
        threshold = thresholds.from_good_scores(scores, rate)
        statistics = thresholds.score_statistics(scores)
    else:
        if len(taught) < FEWEST_ALONE:
            scores = _left_out(source, kept, learner, unknown, texture)
        else:
            unknown = _by_the_others(source, taught, learner, kept, texture)
            scores = list(unknown.values())
        threshold = _from_few(scores, len(taught), rate)
        statistics = dataclasses.replace(thresholds.score_statistics(scores), images=len(taught))
    found = Fitted(head, texture, threshold, tuple(scores), statistics, unknown)
    return found, kept


def _by_the_others(
    source: _Source,
    taught: Sequence[Path],
    learner: Learner,
    kept: dict[Path, Patches],
    texture: Texture,
) -> dict[Path, float]:
    """Score each photo by what was learned without it."""
    scores = {}
    looking = progress(taught, len(taught), f"looking again, {source.label}")
    for owner, path in enumerate(looking):
        found = kept.get(path)
        patches = source.patches(path) if found is None else found
        others = learner.without(patches.deep, owner)
        if others is not None:
            scores[path] = source.scoring.score(patches, others, texture)
    return scores


def warn_of_odd(unknown: dict[Path, float]) -> None:
    """Name photos that look unlike all others: there may be a defect on them.

    Args:
        unknown: Of :class:`Fitted`.
    """
    if len(unknown) < _FEWEST_SCORES:
        return
    paths, values = list(unknown), np.array(list(unknown.values()))
    is_odd = far_above(list(unknown.values()))
    if not is_odd.any():
        return
    others = values[~is_odd]
    for index in np.flatnonzero(is_odd)[np.argsort(-values[is_odd])][:_NAMED].tolist():
        notices.warn(
            f"{paths[index]} is the odd one: it scores {values[index]:.3f}, the other good photos "
            f"{others.min():.3f} to {others.max():.3f}. If it shows a defect, remove it and teach "
            "again"
        )


def _left_out(
    source: _Source,
    kept: dict[Path, Patches],
    learner: Learner,
    unknown: dict[Path, float],
    texture: Texture,
) -> list[float]:
    """Score each photo and altered copies of it by the others; of a single photo, by itself."""
    scores = []
    for path, own in kept.items():
        others = learner.fresh()
        for owner, (other, patches) in enumerate(kept.items()):
            if other != path or len(kept) == 1:
                others.add(patches.deep, owner)
        head = others.head()
        if len(kept) > 1:
            unknown[path] = source.scoring.score(own, head, texture)
            scores.append(unknown[path])
        for view in altered(source.gallery.resized(path)):
            covered = source.gallery.view.covered(view)
            patches = source.extractor.patches(covered)
            scores.append(source.scoring.score(patches, head, texture))
    return scores


def altered(photo: Image) -> list[Image]:
    """Return copies as a camera might have taken them: turned, moved, darker, brighter."""
    height, width = photo.shape[:2]
    made = [cv2.convertScaleAbs(photo, alpha=gain) for gain in (0.9, 1.1)]
    for degrees, across, down in ((3, 0, 0), (-3, 0, 0), (0, 5, 3), (0, -3, -5)):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        matrix[:, 2] += across, down
        made.append(
            cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        )
    return [np.asarray(view, np.uint8) for view in made]


def _from_few(scores: Sequence[float], photos: int, rate: float) -> ThresholdSpec:
    found = thresholds.from_good_scores(scores, rate)
    if photos >= FEWEST_ALONE:
        return dataclasses.replace(found, method=f"each of {photos} photos, scored by the others")
    if photos == 1:
        method = "altered copies of the photo"
        note = (
            "one photo does not show how good parts differ, so this threshold is a guess: add good "
            "photos with 'edgead teach --add', and check it on good and defective parts"
        )
    else:
        method = f"each of {photos} photos and altered copies of it, scored by the others"
        note = (
            f"{photos} photos show little of how good parts differ, so this threshold is an "
            f"estimate: check it on more good parts, or teach with {FEWEST_HELD_OUT} photos or more"
        )
    return dataclasses.replace(
        found, method=method, note=note, images=photos, false_positive_interval=None
    )
