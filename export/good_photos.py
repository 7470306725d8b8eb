"""Which good photos an export calibrates and checks on, for ONNX files and engines alike."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgead import notices
from edgead.calibration.photos import CalibrationPhotos, refuse_test_photos
from edgead.datasets import Dataset, good_photos_in, identical, refuse_test_folder
from edgead.errors import DataError, EdgeadError, ImageError, UsageError
from edgead.photo_reader import PhotoReader
from edgead.view import View

_FORBIDDEN = "be used for calibration"
_INSTEAD = "give good photos, for example --calibration {root}"


@dataclass(frozen=True)
class GoodPhotos:
    """The good photos that are known for a trained detector.

    Attributes:
        source: The run folder or the artifact.
        held_out: The validation photos of the training; empty for an artifact, which travels
            without them.
        dataset: What a run was trained on, where it is still there.
        held_out_sha256: Digest of each validation photo; empty for a run of an earlier version.
        reader: What reads the photos.
    """

    source: Path
    held_out: tuple[Path, ...] = ()
    dataset: Dataset | None = None
    held_out_sha256: tuple[str, ...] = ()
    reader: PhotoReader = field(default_factory=PhotoReader, repr=False, compare=False)

    @classmethod
    def known_for(cls, source: Path) -> GoodPhotos:
        """Look up what a run folder records; of an artifact nothing is known.

        Raises:
            UsageError: A folder that is not a run folder.
            TrainingError: The run's record is damaged.
        """
        if not source.is_dir():
            return cls(source)
        from edgead.training import Run

        record = Run(source).read_record()
        try:
            dataset = Dataset.from_folder(record.config.data, record.config.good)
        except EdgeadError:  # the photos were moved away; a run is complete without them
            dataset = None
        return cls(source, record.held_out, dataset, record.held_out_sha256)

    def read(
        self,
        view: View,
        folder: str | None = None,
        validate: Dataset | None = None,
        good: Sequence[str] = (),
    ) -> CalibrationPhotos:
        """Read the photos to calibrate and check on.

        Args:
            view: What of a photo the detector sees.
            folder: Good photos used in place of the validation photos.
            validate: Labelled photos of which none may be calibrated on.
            good: Names of folders in ``folder``, besides ``good``, that hold photos of good parts.

        Raises:
            DataError: They are gone, there are none, or they are test photos.
            UsageError: The source has none, and no folder was given.
            ImageError: One cannot be read.
        """
        paths = self.calibration(folder, good)
        if validate is not None:
            refuse_test_photos(paths, validate, self.reader)
        return CalibrationPhotos.read(paths, view, self.learned(folder), self.reader)

    def learned(self, folder: str | None) -> Sequence[Path]:
        """List the good photos that the training learned from, where they are still there.

        Args:
            folder: Calibration photos that were given: then nothing else is wanted.
        """
        if folder is not None or self.dataset is None:
            return ()
        return learned_photos(self.dataset, self.held_out, self.reader)

    def calibration(self, folder: str | None = None, good: Sequence[str] = ()) -> Sequence[Path]:
        """List the good photos to calibrate and check on.

        Args:
            folder: Used instead of the validation photos of the training.
            good: Names of folders in it, besides ``good``, that hold photos of good parts.

        Raises:
            DataError: They are gone, there are none, or they are test photos.
            UsageError: The source has none, and no folder was given.
        """
        if folder is not None:
            return self._given(folder, good)
        if not self.source.is_dir():
            raise UsageError(
                f"an exported file does not contain its validation photos ({self.source}): give "
                "good photos of the part with --calibration DIR"
            )
        require_held_out(self.held_out, self.source)
        self._require_unchanged()
        return self.held_out

    def _require_unchanged(self) -> None:
        if not self.held_out_sha256:
            return
        for path, digest in zip(self.held_out, self.held_out_sha256, strict=True):
            with contextlib.suppress(ImageError):  # named below as changed, or when it is wanted
                self.reader.read(path)
            if self.reader.digest(path) != digest:
                raise DataError(
                    f"the validation photo {path} of {self.source} has changed since the training, "
                    "so the threshold would change too: restore the photo, give other good photos "
                    "with --calibration DIR, or train again"
                )

    def _given(self, folder: str, good: Sequence[str]) -> Sequence[Path]:
        refuse_test_folder(Path(folder), _FORBIDDEN, _INSTEAD)
        given = good_photos_in(folder, good, _FORBIDDEN)
        paths: Sequence[Path] = given.train
        if self.dataset is not None:
            learned = learned_photos(self.dataset, self.held_out, self.reader)
            paths = self._not_learned(paths, learned)
        for dataset in (given, self.dataset):
            if dataset is not None:
                refuse_test_photos(paths, dataset, self.reader)
        return paths

    def _not_learned(self, paths: Sequence[Path], learned: Sequence[Path]) -> Sequence[Path]:
        """Leave out the training photos: a threshold fitted on them would be too low."""
        known = {photo for _, photo in identical(learned, paths, self.reader.digest)}
        kept = [path for path in paths if path not in known]
        where = paths[0].parent
        if not kept:
            raise DataError(
                f"all {len(paths)} photos in {where} are training photos of {self.source}, and a "
                "threshold fitted on training photos is too low: leave --calibration out, or give "
                "photos of other good parts"
            )
        if known:
            notices.note(
                f"{len(known)} of {len(paths)} photos in {where} are not used: they are training "
                "photos, and a threshold fitted on them would be too low"
            )
        return kept


def learned_photos(
    dataset: Dataset, held_out: Sequence[Path], reader: PhotoReader | None = None
) -> list[Path]:
    """List the photos of a data set that the training used, where they are still there.

    Those are its training photos without the validation photos, and without copies of them.
    """
    digest = (reader or PhotoReader()).digest
    kept = {path.resolve() for path in held_out}
    others = [path for path in dataset.train if path.resolve() not in kept and path.is_file()]
    there = [path for path in held_out if path.is_file()]
    copies = {copy for _, copy in identical(there, others, digest)}
    return [path for path in others if path not in copies]


def require_held_out(held_out: Sequence[Path], run: Path) -> None:
    """Check that the validation photos of a run still exist.

    Raises:
        DataError: One is not; names it.
    """
    gone = next((path for path in held_out if not path.is_file()), None)
    if gone is not None:
        raise DataError(
            f"the validation photo {gone} of {run} no longer exists: restore the photos (edgead "
            "export also accepts other good photos with --calibration DIR)"
        )
