"""What an export starts from: a run folder, or an FP32 artifact that was exported before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgead import images
from edgead.artifact import Manifest, read_artifact
from edgead.calibration.photos import refuse_test_photos
from edgead.datasets import Dataset
from edgead.errors import DataError, EdgeadError, UsageError


@dataclass(frozen=True)
class Source:
    """A trained detector as an FP32 graph.

    Attributes:
        path: The run folder or the artifact.
        graph: Serialised ONNX model in FP32.
        manifest: Of the FP32 detector.
        held_out: The good photos that the training held out; empty for an artifact, which travels
            without them.
        dataset: What a run was trained on, where it is still there.
    """

    path: Path
    graph: bytes
    manifest: Manifest
    held_out: tuple[Path, ...] = ()
    dataset: Dataset | None = None

    @property
    def is_run(self) -> bool:
        """Whether PyTorch can give reference scores."""
        return self.path.is_dir()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Source:
        """Read a run folder (needs torch) or an FP32 artifact (needs only onnx).

        Raises:
            UsageError: Neither of them, or an artifact that is not FP32.
            ArtifactError: The artifact is damaged or not ours.
            TrainingError: The run has not finished or is damaged.
        """
        path = Path(path)
        if not path.exists():
            raise UsageError(f"{path} does not exist; give a run folder or an exported .onnx file")
        return cls._from_run(path) if path.is_dir() else cls._from_artifact(path)

    @classmethod
    def _from_run(cls, path: Path) -> Source:
        from edgead.export.graph import to_onnx
        from edgead.training import Run

        run = Run(path)
        model, manifest = run.load_model()
        record = run.read_record()
        try:
            dataset = Dataset.from_folder(record.config.data)
        except EdgeadError:  # the photos were moved away; a run is complete without them
            dataset = None
        return cls(path, to_onnx(model), manifest, record.held_out, dataset)

    @classmethod
    def _from_artifact(cls, path: Path) -> Source:
        artifact = read_artifact(path)
        if artifact.manifest.engine is not None:
            raise UsageError(
                f"{path} is an engine, which nothing can be made of: export the ONNX file that it "
                f"was built from ({artifact.manifest.engine.onnx})"
            )
        if artifact.manifest.precision != "fp32":
            raise UsageError(
                f"{path} is {artifact.manifest.precision} already, and what it was rounded from is "
                "not in it: export the FP32 file (or the run folder) that it was made from"
            )
        return cls(path, path.read_bytes(), artifact.manifest)

    def learned_photos(self, folder: str | None) -> Sequence[Path]:
        """List the good photos that the training learned from, where they are still there.

        Args:
            folder: Calibration photos that were given: then nothing else is wanted.
        """
        if folder is not None or self.dataset is None:
            return ()
        return learned_photos(self.dataset, self.held_out)

    def calibration_photos(self, folder: str | None) -> Sequence[Path]:
        """List the good photos to calibrate and check on.

        Args:
            folder: Given in place of the photos that the training held out.

        Raises:
            DataError: They are gone, there are none, or they are test photos.
        """
        if folder is not None:
            paths = _good_photos(folder)
            if self.dataset is not None:
                refuse_test_photos(paths, self.dataset)
            return paths
        if not self.is_run:
            raise UsageError(
                f"{self.path} does not carry the photos that its training held out: give good "
                "photos of the part with --calibration DIR"
            )
        require_held_out(self.held_out, self.path)
        return self.held_out


def learned_photos(dataset: Dataset, held_out: Sequence[Path]) -> list[Path]:
    """List a data set's training photos but those held out, where they are still there."""
    kept = {path.resolve() for path in held_out}
    photos = dataset.train_photos()
    return [path for path in photos if path.resolve() not in kept and path.is_file()]


def require_held_out(held_out: Sequence[Path], run: Path) -> None:
    """Check that the photos which a run held out are still there.

    Raises:
        DataError: One is not; names it.
    """
    gone = next((path for path in held_out if not path.is_file()), None)
    if gone is not None:
        raise DataError(
            f"the held-out photo {gone} of {run} is not there any more: put the photos back "
            "(edgead export also takes other good ones, with --calibration DIR)"
        )


def _good_photos(folder: str) -> Sequence[Path]:
    """List a folder's photos; of a data set in MVTec AD's layout those of train/good alone."""
    if not any((Path(folder) / name).is_dir() for name in ("train", "test")):
        return images.find_images([folder])
    dataset = Dataset.from_folder(folder)
    if not dataset.train:
        raise DataError(
            f"{folder} is a data set without photos of good parts in train/good, and its test "
            "photos are not for calibration: give a folder of other good photos"
        )
    return dataset.train
