"""Another crop or mask for a finished detector, where its scores say that it knows what it sees."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgead import images
from edgead.artifact import Artifact, PhotoSizes, read_artifact, write_artifact
from edgead.artifact.containers import ONNX_SUFFIX
from edgead.calibration.threshold import refitted
from edgead.contrast import GoodContrast
from edgead.detector import EdgeDetector
from edgead.errors import DataError, GateRefused, UsageError
from edgead.progress import progress
from edgead.view.request import Crop, ViewRequest
from edgead.view.view import View

FEWEST = 4
"""Good photos without which no threshold is fitted."""


def reframe(
    artifact: str | os.PathLike[str],
    photos: Sequence[Path],
    out: str | os.PathLike[str],
    crop: Crop | None = None,
    mask: str | os.PathLike[str] | None = None,
) -> Artifact:
    """Give a file another crop or mask, and fit threshold and statistics to good photos.

    Args:
        artifact: An exported ONNX file.
        photos: Good photos that it was not trained or taught with.
        out: The file to write.
        crop: As in :class:`ViewRequest`; ``None`` for the file's own.
        mask: Likewise; ``None`` for none.

    Returns:
        The new artifact.

    Raises:
        UsageError: Nothing is changed, or the file is no ONNX file.
        DataError: There are too few photos, or they are of another camera.
        GateRefused: Good photos score higher than before; nothing was written.
    """
    source = read_artifact(artifact)
    manifest, path = source.manifest, Path(out)
    if source.path.suffix.lower() != ONNX_SUFFIX or path.suffix.lower() != ONNX_SUFFIX:
        raise UsageError(
            f"{source.path} and {path} must be {ONNX_SUFFIX} files: change the ONNX file that an "
            "engine was built from, and build the engine again"
        )
    if crop is None and mask is None:
        raise UsageError("give the new crop with --crop, or the new mask with --mask")
    if len(photos) < FEWEST:
        raise DataError(
            f"a threshold needs at least {FEWEST} good photos, and there "
            f"{'is 1' if len(photos) == 1 else f'are {len(photos)}'}"
        )
    frame = images.read_image(photos[0]).shape
    view = _changed(View.of(manifest), (frame[0], frame[1]), crop, mask, str(source.path))
    # What was measured of the file with another view is no longer known.
    draft = manifest.replace(view=view.spec, gate=None)
    sizes: list[tuple[int, int]] = []
    scores: list[float] = []

    def scored(detect: EdgeDetector) -> Iterator[images.Image]:
        for one in progress(photos, len(photos), "scoring photos"):
            photo = images.read_image(one)
            sizes.append((photo.shape[0], photo.shape[1]))
            view.require_aspect(sizes[-1], one)
            scores.append(detect(photo).score)
            yield view.prepare(photo)

    with tempfile.TemporaryDirectory() as folder:
        trial = write_artifact(Path(folder) / f"draft{ONNX_SUFFIX}", source.content(), draft)
        with EdgeDetector(trial.path) as detect:
            contrast = GoodContrast.of(scored(detect), view)
    known = manifest.score_statistics.maximum
    if float(np.median(scores)) > max(known, manifest.threshold.value):
        raise GateRefused(
            f"{path} was not written: half of the good photos score above {known:.3g} with the new "
            f"view, which was the highest score of good photos before, so {source.path} does not "
            "know what it would see: train or teach again with the new crop or mask"
        )
    training = dataclasses.replace(
        manifest.training,
        photo_sizes=PhotoSizes.of(sizes),
        least_contrast=contrast.least,
        contrast_left_out=len(contrast.odd),
    )
    described = refitted(draft.replace(training=training), scores)
    return write_artifact(path, source.content(), described)


def _changed(
    old: View,
    frame: tuple[int, int],
    crop: Crop | None,
    mask: str | os.PathLike[str] | None,
    name: str,
) -> View:
    spec = old.spec
    if spec is not None and spec.mask is not None and mask is None:
        raise UsageError(
            f"{name} has a mask for its own crop: give the mask for the new crop with --mask"
        )
    request = ViewRequest(
        crop if crop is not None or spec is None else spec.crop,
        mask,
        old.grid if old.grid != (1, 1) else None,
        None,
        False if spec is None else spec.keeps_aspect,
    )
    made = request.resolve(frame, old.size, old.resize)
    if made is not None and spec is not None:
        made = made.replace(overlap=spec.overlap)
    return View(old.size, old.resize, made)
