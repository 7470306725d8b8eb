"""Which photos an export calibrates on, and what makes them unfit for it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgead import images
from edgead.artifact import Manifest, MapSpec, PhotoSizes, ScoreStatistics
from edgead.calibration.synthetic import with_defect
from edgead.datasets import GOOD, Dataset, identical
from edgead.errors import DataError
from edgead.images import Image
from edgead.photo_reader import PhotoReader
from edgead.progress import progress
from edgead.view import View

FEWEST = 4
"""Fewer photos are not enough for the range of an activation."""

_MOST = 64
_CHECKED = 80  # photos in all, good and with defects, that a gate compares at least
_TIMES_MORE = 3  # others than the first ones, where those leave a verdict open
_FEW_HELD_OUT = 16
_PAINTED = 8  # grey levels: less is the soft edge of a stain
_ENOUGH_GOOD = 40
_THUMBNAIL = (16, 16)
_DRAWS = 6


@dataclass(frozen=True)
class CalibrationPhotos:
    """Good photos for an export, and the same with synthetic defects.

    With seven held-out photos one pair that changes its order moves an AUROC by a fifth of a point,
    and a gate would refuse by chance. So where a training held out few, good photos that it learned
    from are compared too: what a file loses against FP32 shows on them as well. A threshold, a
    quantile or a statistic must not come from them, because they score lower than any others.

    Of a detector with a view, windows of the photos are compared, each as a picture of its own.

    Attributes:
        paths: The files.
        good: uint8 ``[N, height, width, 3]`` BGR at the network's input size.
        defective: Good and learned photos with one synthetic defect each, or several where there
            are few.
        sizes: ``(height, width)`` of each photo as it came, in pixels.
        sha256: Digest of the photos' contents, for the manifest.
        learned_paths: Files of the photos that the training learned from.
        learned: These, uint8 ``[M, height, width, 3]``; ``None`` for none.
        copies: How many files were left out, because they are copies of others.
        reader: What has read the photos, for those who want them at their own size.
        view: What of a photo is judged; ``None`` where there are no files.
        places: Number of each window in :attr:`view`, for all good ones; empty without a view.
    """

    paths: tuple[Path, ...]
    good: npt.NDArray[np.uint8]
    defective: npt.NDArray[np.uint8]
    sizes: tuple[tuple[int, int], ...]
    sha256: str
    learned_paths: tuple[Path, ...] = ()
    learned: npt.NDArray[np.uint8] | None = None
    copies: int = 0
    reader: PhotoReader = field(default_factory=PhotoReader, repr=False, compare=False)
    view: View | None = None
    places: tuple[int, ...] = ()

    @classmethod
    def read(
        cls,
        paths: Sequence[Path],
        view: View,
        learned: Sequence[Path] = (),
        reader: PhotoReader | None = None,
    ) -> CalibrationPhotos:
        """Read photos, resize them as a device does, and paint the defects.

        Copies of a photo are left out. Of many photos, 64 that cover the set are taken: each next
        one is the one least like those taken so far.

        Args:
            paths: Good photos.
            view: What of a photo the detector sees.
            learned: Good photos that the training learned from; some are taken where ``paths`` are
                few.
            reader: What may have read some of them already.

        Raises:
            DataError: There are none.
            ImageError: One cannot be read.
        """
        if not paths:
            raise DataError("there are no good photos for calibration and checks")
        reader = reader or PhotoReader()
        once = distinct(paths, reader)
        left_out = len(paths) - len(once)
        paths = covering(once, _MOST, reader)
        more = []
        if len(paths) < _FEW_HELD_OUT:
            more = covering(distinct(learned, reader), _ENOUGH_GOOD - len(paths), reader)
        every = [*paths, *more]
        reader.keep_only(every)
        rng = np.random.default_rng(_DRAWS)
        of_a_photo = 1 if view.spec is None else _windows_of(len(every), len(view.places))
        each = max(1, -(-(_CHECKED - len(every) * of_a_photo) // (len(every) * of_a_photo)))
        good: list[Image] = []
        defective: list[Image] = []
        sizes, places, sha = [], [], hashlib.sha256()
        for index, path in enumerate(progress(every, len(every), "calibration photos")):
            found = reader.read(path)
            sizes.append((found.pixels.shape[0], found.pixels.shape[1]))
            sha.update(bytes.fromhex(found.sha256))
            if view.spec is None:
                good.append(view.prepare(found.pixels))
                defective += [view.prepare(with_defect(found.pixels, rng)) for _ in range(each)]
                continue
            windows = view.windows(reader.canvas(path, view))
            for number in _chosen(index, of_a_photo, len(windows)):
                places.append(number)
                good.append(windows[number])
                defective += _painted(windows[number], view, number, each, rng)
        own = len(paths) * of_a_photo
        return cls(
            tuple(paths),
            np.stack(good[:own]),
            np.stack(defective),
            tuple(sizes[: len(paths)]),
            sha.hexdigest(),
            tuple(more),
            np.stack(good[own:]) if more else None,
            left_out,
            reader,
            view,
            tuple(places),
        )

    def judged(self, window: MapSpec) -> npt.NDArray[np.bool_] | None:
        """Return which cells of the maps of :attr:`compared` are judged, bool ``[N, h, w]``.

        Args:
            window: The map of one window.

        Returns:
            ``None`` for all.
        """
        cells = None if self.view is None else self.view.judged_cells_of_windows(window)
        if cells is None:
            return None
        good = cells[list(self.places)]
        return np.concatenate([good, np.repeat(good, len(self.defective) // len(good), axis=0)])

    @property
    def all_good(self) -> npt.NDArray[np.uint8]:
        """Good photos to compare graphs on: the held-out ones first, then those learned from."""
        return self.good if self.learned is None else np.concatenate([self.good, self.learned])

    @property
    def compared(self) -> npt.NDArray[np.uint8]:
        """All photos to compare graphs on: :attr:`all_good`, then those with defects."""
        return np.concatenate([self.all_good, self.defective])

    def with_other_defects(self) -> CalibrationPhotos:
        """Return the same good photos with three times as many defects, none of them in here."""
        rng = np.random.default_rng([_DRAWS, 1])
        view, good = self.view, self.all_good
        each = _TIMES_MORE * len(self.defective) // len(good)
        defective: list[Image] = []
        if view is None or view.spec is not None:
            for photo, number in zip(good, self.places or [0] * len(good), strict=True):
                defective += _painted(photo, view, number, each, rng)
            return dataclasses.replace(self, defective=np.stack(defective))
        every = [*self.paths, *self.learned_paths]
        for path in progress(every, total=len(every), label="more synthetic defects"):
            photo = self.reader.read(path).pixels
            defective += [view.prepare(with_defect(photo, rng)) for _ in range(each)]
        return dataclasses.replace(self, defective=np.stack(defective))

    def masks(self) -> list[npt.NDArray[np.bool_] | None]:
        """Return :meth:`defect_masks` for :attr:`compared`, ``None`` for the good ones."""
        return [*[None] * len(self.all_good), *self.defect_masks()]

    def defect_masks(self) -> list[npt.NDArray[np.bool_]]:
        """Return where a defect was painted, bool ``[height, width]`` for each of the defects."""
        good = np.repeat(self.all_good, len(self.defective) // len(self.all_good), axis=0)
        return [
            np.asarray(np.abs(painted.astype(np.int16) - photo).max(-1) >= _PAINTED)
            for painted, photo in zip(self.defective, good, strict=True)
        ]

    @property
    def pixels_sha256(self) -> str:
        """Digest of what the networks will see: changes with the photos and their preparation."""
        sha = hashlib.sha256(self.all_good.tobytes())
        sha.update(self.defective.tobytes())
        return sha.hexdigest()

    def require_enough(self) -> None:
        """Refuse to calibrate on too few.

        Photos with the same pixels count once: they say no more than one of them.

        Raises:
            DataError: Says how many there are and how many it takes.
        """
        count = len({photo.tobytes() for photo in self.good})
        if count < FEWEST:
            total = len(self.paths) + self.copies
            of = f", of {total} photos" if total > count else ""
            raise DataError(
                f"INT8 and FP16 need at least {FEWEST} different good photos to calibrate on, but "
                f"there {'is only 1' if count == 1 else f'are {count}'}{of}: give a folder with "
                "more photos with --calibration DIR"
            )

    def for_ranges(self) -> list[npt.NDArray[np.uint8]]:
        """Return batches of one: every good photo, each followed by the defects of it."""
        good = self.all_good
        each = len(self.defective) // len(good)
        batches = []
        for index, photo in enumerate(good):
            batches += [photo[None], *self.defective[index * each : (index + 1) * each, None]]
        return batches


def _windows_of(photos: int, windows: int) -> int:
    """Return how many windows of each photo are compared."""
    return max(1, min(windows, _MOST // photos))


def _chosen(photo: int, count: int, windows: int) -> list[int]:
    """Return the windows of a photo that are compared: others of each photo, spread over it."""
    step = max(1, windows // count)
    return [(photo + step * number) % windows for number in range(count)]


def _painted(
    window: Image, view: View | None, number: int, each: int, rng: np.random.Generator
) -> list[Image]:
    """Paint defects into a window, but not where nothing is judged."""
    ignored = None if view is None else view.ignored_windows
    painted = [with_defect(window, rng) for _ in range(each)]
    for one in painted if ignored is not None else []:
        assert ignored is not None
        one[ignored[number]] = window[ignored[number]]
    return painted


def covering(
    paths: Sequence[Path], most: int = _MOST, reader: PhotoReader | None = None
) -> list[Path]:
    """Choose photos that cover a set: each next one is farthest from those chosen before."""
    if len(paths) <= most:
        return list(paths)
    reader = reader or PhotoReader()
    looks = np.stack(
        [_look(path, reader) for path in progress(paths, total=len(paths), label="choosing photos")]
    )
    chosen = [int(np.square(looks - looks.mean(0)).sum(1).argmin())]
    distance = np.square(looks - looks[chosen[0]]).sum(1)
    while len(chosen) < most and distance.any():  # else all that are left look like one chosen
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(looks - looks[chosen[-1]]).sum(1))
    return [paths[index] for index in sorted(chosen)]


def distinct(paths: Sequence[Path], reader: PhotoReader) -> list[Path]:
    """Leave out every file that has the same bytes as an earlier one."""
    first: dict[str, Path] = {}
    for path in progress(paths, total=len(paths), label="reading photos"):
        first.setdefault(reader.read(path).sha256, path)
    return list(first.values())


def refuse_test_photos(
    paths: Sequence[Path], dataset: Dataset, reader: PhotoReader | None = None
) -> None:
    """Refuse photos that belong to the training's test set, under any name.

    Raises:
        DataError: Names the first such photo, and the defect that it is labelled with.
    """
    digest = (reader or PhotoReader()).digest
    found = identical(paths, [photo.path for photo in dataset.test], digest)
    if found:
        path, test_path = found[0]
        photo = next(photo for photo in dataset.test if photo.path == test_path)
        what = "a good test photo" if photo.kind == GOOD else f"labelled {photo.kind!r}"
        raise DataError(
            f"the calibration photo {path} is the test photo {photo.path} ({what}): calibrate on "
            "other photos of good parts; otherwise the accuracy on the test photos is meaningless"
        )


def warnings(
    photos: CalibrationPhotos, scores: npt.NDArray[np.float32], manifest: Manifest
) -> list[str]:
    """Say what makes one doubt that photos show the good parts that a detector was trained for.

    Args:
        photos: What the user gave, or what the training held out.
        scores: Scores of the good photos from the FP32 detector.
        manifest: Manifest of that detector.
    """
    found = (
        _are_copies(photos),
        _other_size(photos, manifest.training.photo_sizes),
        _scored_high(photos, scores, manifest.threshold.value),
        _scored_low(scores, manifest.score_statistics),
    )
    return [warning for warning in found if warning is not None]


def _are_copies(photos: CalibrationPhotos) -> str | None:
    if not photos.copies:
        return None
    return (
        f"{photos.copies} of {len(photos.paths) + photos.copies} calibration photos are copies of "
        "others and were left out: there are fewer different photos than files"
    )


def _scored_high(
    photos: CalibrationPhotos, scores: npt.NDArray[np.float32], threshold: float
) -> str | None:
    above = np.flatnonzero(scores > threshold)
    if len(above) <= max(1, 0.1 * len(scores)):
        return None
    return (
        f"{len(above)} of {len(scores)} calibration photos are anomalous for the FP32 detector "
        f"(highest score {scores.max():.3g} for {photos.paths[int(scores.argmax())]}, threshold "
        f"{threshold:.3g}): are they good parts of the same product, from the same camera?"
    )


def _scored_low(scores: npt.NDArray[np.float32], held_out: ScoreStatistics) -> str | None:
    """Photos that were learned from score lower than any others, and a threshold must not."""
    if float(np.median(scores)) >= held_out.minimum:
        return None
    return (
        f"half of the calibration photos score below {held_out.minimum:.3g}, the lowest score of "
        "the validation photos: if they were used for training, the threshold fitted on them is "
        "too low; use photos that were not used for training"
    )


def _other_size(photos: CalibrationPhotos, trained: PhotoSizes | None) -> str | None:
    if trained is None:
        return None
    other = [
        (path, size)
        for path, size in zip(photos.paths, photos.sizes, strict=True)
        if not trained.is_near(size)
    ]
    if not other:
        return None
    path, (height, width) = other[0]
    return (
        f"{len(other)} of {len(photos.paths)} calibration photos differ in size from the training "
        f"photos ({path} has {width}x{height} px, the training photos {trained}): are they from "
        "the same camera, with the same framing?"
    )


def _look(path: Path, reader: PhotoReader) -> npt.NDArray[np.float32]:
    return images.resize(reader.read(path).pixels, _THUMBNAIL).astype(np.float32).ravel()
