"""Maps of all detectors side by side, on photos that nobody picked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgead import images, page
from edgead.compare.accuracy import Accuracy
from edgead.contact_sheet import outline_truth
from edgead.datasets import GOOD, Dataset, Photo
from edgead.detector import EdgeDetector
from edgead.markup import Html, element

_WIDTH = 240
_MOST_KINDS = 10
_UNLABELLED = 3


@dataclass(frozen=True)
class Chosen:
    """A photo to show, and why this one."""

    photo: Photo
    why: str


def choose(
    dataset: Dataset, accuracies: Sequence[Accuracy], held_out: Sequence[Path]
) -> list[Chosen]:
    """Choose a typical and the hardest photo of each kind, by the detectors' mean rank of it.

    Without labelled photos, good ones that the training held out are shown.
    """
    if not accuracies:
        return [Chosen(Photo(path, GOOD), "held out") for path in held_out[:_UNLABELLED]]
    rank = _mean_rank([accuracy.scores for accuracy in accuracies])
    kinds: dict[str, list[Photo]] = {}
    for photo in dataset.test:
        kinds.setdefault(photo.kind, []).append(photo)
    order = sorted(kinds, key=lambda kind: (kind != GOOD, kind))[:_MOST_KINDS]
    chosen = []
    for kind in order:
        photos = sorted(kinds[kind], key=lambda photo: rank[str(photo.path)])
        chosen.append(Chosen(photos[len(photos) // 2], "typical"))
        hardest = photos[-1] if kind == GOOD else photos[0]
        if hardest is not chosen[-1].photo:
            chosen.append(Chosen(hardest, "hardest"))
    return chosen


def side_by_side(chosen: Sequence[Chosen], artifacts: Mapping[str, tuple[Path, str]]) -> Html:
    """Draw each photo with every detector's heat map.

    Args:
        chosen: Photos.
        artifacts: Artifact and runtime by the detector's label.

    Returns:
        A row a photo, a column a detector. Colours follow each detector's own threshold.
    """
    photos = [images.read_image(entry.photo.path) for entry in chosen]
    columns = [[_truth(entry, photo) for entry, photo in zip(chosen, photos, strict=True)]]
    for path, runtime in artifacts.values():
        with EdgeDetector(path, runtime) as detect:
            columns.append(
                [_map(entry, photo, detect) for entry, photo in zip(chosen, photos, strict=True)]
            )
    heads = [element("b", label) for label in ("photo", *artifacts)]
    cells = [cell for row in zip(*columns, strict=True) for cell in row]
    grid = f"grid-template-columns: repeat({len(columns)}, minmax(0, {_WIDTH}px))"
    return element("div", *heads, *cells, class_="maps", style=grid)


def _truth(entry: Chosen, photo: images.Image) -> Html:
    marked = _small(photo)
    outline_truth(marked, entry.photo, photo.shape[:2])
    caption = f"{entry.photo.kind.replace('_', ' ')}, {entry.why}: {entry.photo.path.name}"
    return element("figure", page.picture(marked, marked.shape[1]), element("figcaption", caption))


def _map(entry: Chosen, photo: images.Image, detect: EdgeDetector) -> Html:
    detection = detect(photo)
    wrong = detection.is_anomalous != entry.photo.is_anomalous
    verdict = ("anomalous" if detection.is_anomalous else "good") + (", wrong" if wrong else "")
    times = f", score {_times(detection.score, detection.threshold)}"
    return element(
        "figure",
        page.picture(_small(detection.overlay(photo)), _WIDTH),
        element("figcaption", element("span", verdict, class_="bad" if wrong else "good"), times),
    )


def _times(score: float, threshold: float) -> str:
    """Write a score so that detectors with other scales can be compared."""
    if threshold <= 0 or score <= 0:
        return f"{score:.3g}"
    return f"{score / threshold:.2f} of the threshold"


def _small(picture: images.Image) -> images.Image:
    height = max(1, round(picture.shape[0] * _WIDTH / picture.shape[1]))
    return np.array(images.resize(picture, (height, _WIDTH)), np.uint8)


def _mean_rank(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    paths = sorted(scores[0])
    ranks = [
        np.argsort(np.argsort([detector[path] for path in paths], kind="stable"))
        for detector in scores
    ]
    return dict(zip(paths, np.mean(ranks, axis=0).tolist(), strict=True))
