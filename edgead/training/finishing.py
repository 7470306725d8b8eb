"""The finished detector: its scores, its threshold and its manifest."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

import edgead
from edgead import images
from edgead.artifact import (
    SCORE,
    InputSpec,
    Manifest,
    ModelSpec,
    PhotoSizes,
    TeacherSpec,
    TrainingSpec,
)
from edgead.calibration import threshold as thresholds
from edgead.contrast import GoodContrast
from edgead.datasets import Dataset, Photo
from edgead.errors import TrainingError
from edgead.models import AnomalyModel, GradientModel
from edgead.networks.cost import count_macs, parameter_count
from edgead.printable import printable
from edgead.progress import progress
from edgead.training import photos
from edgead.training.config import TrainConfig
from edgead.view import View


class NotFiniteError(TrainingError):
    """A loss, a weight or a score is not a finite number: the training gives no detector."""


def describe(
    model: AnomalyModel,
    config: TrainConfig,
    dataset: Dataset,
    split: photos.Split,
    scores: Sequence[float],
    labelled: Sequence[Photo],
    teacher: TeacherSpec | None,
    seen: GoodContrast,
) -> Manifest:
    """Measure the finished detector and choose its threshold.

    Args:
        model: On the CPU, in evaluation mode.
        config: With every default resolved.
        dataset: The data set of the training.
        split: Which photos were held out.
        scores: Their scores.
        labelled: Photos to choose the threshold on, or none.
        teacher: The teacher of the detector.
        seen: The contrast of its photos.

    Raises:
        NotFiniteError: A score of a labelled photo is not a finite number.
    """
    view = View(config.image_size, config.resize, config.view)
    if not labelled:
        threshold = thresholds.from_good_scores(scores, config.false_positive_rate)
    else:
        pixels = photos.load([photo.path for photo in labelled], view, "labelled photos")
        labels = [photo.is_anomalous for photo in labelled]
        threshold = thresholds.from_labelled_scores(
            labels, score(model, pixels, view, "scoring labelled photos")
        )
    height, width = config.image_size
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    return Manifest(
        edgead_version=edgead.__version__,
        model=ModelSpec(
            config.model,
            parameter_count(model),
            round(count_macs(model, example) / 1e9, 4),
            model.options,
        ),
        input=InputSpec(height, width, "uint8", "NHWC", "BGR", config.resize),
        map=model.map_spec,
        score=SCORE,
        threshold=threshold,
        score_statistics=thresholds.score_statistics(scores),
        precision="fp32",
        source_sha256="",
        teacher=teacher,
        training=TrainingSpec(
            dataset=printable(dataset.root.resolve().name),
            images=len(split.training),
            held_out=len(split.held_out),
            steps=config.steps or 0,
            seed=config.seed,
            finished=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            photo_sizes=PhotoSizes.of([images.read_image(p).shape[:2] for p in split.held_out]),
            least_contrast=seen.least,
            contrast_left_out=len(seen.odd),
        ),
        view=config.view,
    )


def score(
    model: AnomalyModel, pixels: npt.NDArray[np.uint8], view: View, label: str
) -> list[float]:
    """Score photos with a trained detector.

    Args:
        model: On the CPU, in evaluation mode.
        pixels: uint8 ``[N, height, width, 3]`` BGR, as :func:`photos.load` gives them.
        view: The view that they were loaded for.
        label: Text of the progress line.

    Raises:
        NotFiniteError: A score is not a finite number.
    """
    scores: list[float] = []
    with torch.no_grad():
        if view.spec is None:
            for batch in photos.batches(pixels, label):
                scores += model(batch)[1].tolist()
        else:
            for canvas in progress(pixels, total=len(pixels), label=label):
                cut = torch.from_numpy(view.windows(canvas))
                parts = (cut[at : at + photos.BATCH] for at in range(0, len(cut), photos.BATCH))
                found = torch.cat([model(part)[0] for part in parts])
                scores.append(view.join(found.numpy(), model.map_spec)[1])
    if not all(map(math.isfinite, scores)):
        other = (
            "--precision 32-true or a lower --learning-rate"
            if isinstance(model, GradientModel)
            else "other options of the detector"
        )
        raise NotFiniteError(
            "the scores of the trained detector are not finite numbers: check that the photos show "
            f"the part, and train into a new folder with {other}"
        )
    return scores
