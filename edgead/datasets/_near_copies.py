"""Test photos that show the same part as a training photo: another exposure, file or position.

A photo becomes a fingerprint: grey, 32 x 32 pixels, each divided by the contrast around it, which
takes brightness and exposure out. What the training photos have in common (their mean) is
subtracted, and how they differ (their covariance) is divided out. Parts that look alike as parts
of a kind do are then far from each other, and two photos of one part are not.
docs/notes/leaks.md has the measurements behind the constants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.errors import ImageError
from edgead.progress import progress

LEAST_DEVIATIONS = 18.0
"""How far above the usual pair a near-copy is, in standard deviations of usual pairs."""

LEAST_SIMILARITY, LEAST_DEVIATIONS_OF_SIMILAR = 0.75, 9.0
"""What is enough as well: few training photos, or parts at every angle, make usual pairs spread so
far that not even a copy is 18 deviations above them."""

FEWEST_PHOTOS = 8
"""Training photos, below which "usual" means nothing."""

_REDUCED = 128  # a pixel of it is a quarter of a pixel of the fingerprint
_SIDE, _MARGIN = 32, 2
_SIGMA = 2.0  # pixels of the fingerprint
_NOISE = 1.5  # grey levels: a flat region has no contrast to be divided by
_SHRINKAGE = 0.1
_REACH = 4  # pixels of the reduced photo, 3 % of its side
_WORTH_A_CLOSER_LOOK = 7.0  # deviations

Reduced = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NearCopy:
    """A test photo that shows what a training photo shows.

    Attributes:
        train: The training photo.
        test: The test photo.
        similarity: Cosine of the two fingerprints, at most 1.
        deviations: How far the similarity is above that of the usual pair of the set, in standard
            deviations.
    """

    train: Path
    test: Path
    similarity: float
    deviations: float


@dataclass(frozen=True)
class Comparison:
    """Every test photo with every training photo, each array float32 ``[test, train]``.

    Attributes:
        similarity: Cosines of the fingerprints, the largest of shifts by up to 3 %.
        deviations: How far they are above the usual ones, in standard deviations.
    """

    similarity: Floats
    deviations: Floats

    @property
    def is_near_copy(self) -> npt.NDArray[np.bool_]:
        """Which pairs are near-copies."""
        is_similar = self.similarity > LEAST_SIMILARITY
        return np.asarray(
            (self.deviations > LEAST_DEVIATIONS)
            | (is_similar & (self.deviations > LEAST_DEVIATIONS_OF_SIMILAR))
        )


def near_copies(train: Sequence[Path], test: Sequence[Path]) -> list[NearCopy]:
    """Find near-copies among training and test photos, the clearest first.

    Byte-identical photos are found as well. Photos that cannot be read are left out.

    Args:
        train: Training photos; with fewer than :data:`FEWEST_PHOTOS` nothing is found.
        test: Test photos.
    """
    paths = [*train, *test]
    read = [
        (path, _read(path))
        for path in progress(paths, total=len(paths), label="looking for near-copies")
    ]
    known = [(path, photo) for path, photo in read[: len(train)] if photo is not None]
    asked = [(path, photo) for path, photo in read[len(train) :] if photo is not None]
    if len(known) < FEWEST_PHOTOS or not asked:
        return []
    found = compare([photo for _, photo in known], [photo for _, photo in asked])
    pairs = [
        NearCopy(
            known[column][0],
            asked[row][0],
            round(float(found.similarity[row, column]), 3),
            round(float(found.deviations[row, column]), 1),
        )
        for row, column in np.argwhere(found.is_near_copy).tolist()
    ]
    return sorted(pairs, key=lambda pair: -pair.deviations)


def reduced(photo: images.Image) -> Reduced:
    """Return what is compared of a photo, uint8 ``[128, 128]``, grey.

    Args:
        photo: uint8 ``[height, width, 3]`` BGR.
    """
    grey = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_REDUCED, _REDUCED), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def compare(train: Sequence[Reduced], test: Sequence[Reduced]) -> Comparison:
    """Compare each test photo with each training photo.

    "Usual" is read off the lower half of the pairs, in which there are no copies: a set in which
    most test photos have a copy is judged like one in which none has.

    Args:
        train: At least two photos of :func:`reduced`.
        test: Photos of :func:`reduced`.
    """
    bank = _Bank(train)
    similar = bank.similarities(test, _shifts(step=2))
    middle = np.median(similar, axis=1, keepdims=True)
    usual = max(float(-np.percentile(similar - middle, 16)), 1e-3)
    close = np.flatnonzero((similar - middle).max(axis=1) > _WORTH_A_CLOSER_LOOK * usual).tolist()
    if close:
        finer = set(_shifts(step=1)) - set(_shifts(step=2))
        closer = bank.similarities([test[row] for row in close], sorted(finer))
        similar[close] = np.maximum(similar[close], closer)
    return Comparison(similar, np.asarray((similar - middle) / usual, np.float32))


class _Bank:
    """Fingerprints of training photos, whitened by their own mean and covariance."""

    def __init__(self, photos: Sequence[Reduced]) -> None:
        prints = _fingerprints(photos)
        self._mean = prints.mean(axis=0)
        self._whitening = _whitening(prints - self._mean)
        self._bank = self._whitened(prints).T

    def similarities(self, photos: Sequence[Reduced], shifts: Iterable[tuple[int, int]]) -> Floats:
        """Return the largest cosine over the shifts, float32 ``[photos, bank]``."""
        best = np.full((len(photos), self._bank.shape[1]), -1, np.float32)
        for down, right in shifts:
            moved = self._whitened(_fingerprints([_moved(one, down, right) for one in photos]))
            np.maximum(best, moved @ self._bank, out=best)
        return best

    def _whitened(self, prints: Floats) -> Floats:
        vectors = (prints - self._mean) @ self._whitening
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def _read(path: Path) -> Reduced | None:
    try:
        return reduced(images.read_image(path))
    except ImageError:  # whoever needs the photo reports it
        return None


def _fingerprints(photos: Sequence[Reduced]) -> Floats:
    """Return ``[N, D]`` without the margin, which shifts fill with what is not in the photo."""
    inner = slice(_MARGIN, -_MARGIN)
    return np.stack([_fingerprint(photo)[inner, inner].ravel() for photo in photos])


def _fingerprint(photo: Reduced) -> Floats:
    small = cv2.resize(photo, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), _SIGMA)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _SIGMA))
    return np.asarray(detail / (contrast + _NOISE), np.float32)


def _whitening(centred: Floats) -> Floats:
    """Return the inverse square root of the covariance, shrunk towards its mean eigenvalue.

    The mean is over the directions that so many photos can span.
    """
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred / len(centred))
    values = np.maximum(values, 0)
    shrunk = values + _SHRINKAGE * values.sum() / min(centred.shape) + 1e-9
    return np.asarray(vectors / np.sqrt(shrunk), np.float32)


def _shifts(step: int) -> list[tuple[int, int]]:
    places = range(-_REACH, _REACH + 1, step)
    return [(down, right) for down in places for right in places]


def _moved(photo: Reduced, down: int, right: int) -> Reduced:
    padded = cv2.copyMakeBorder(photo, *(_REACH,) * 4, borderType=cv2.BORDER_REPLICATE)
    top, left = _REACH - down, _REACH - right
    return np.asarray(padded[top : top + _REDUCED, left : left + _REDUCED], np.uint8)
