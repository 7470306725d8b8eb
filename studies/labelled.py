"""A trained detector's graph and labelled photos, to try changes of the graph on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgead import images, metrics
from edgead.datasets import Dataset
from edgead.view import View

if TYPE_CHECKING:
    from edgead.calibration.photos import CalibrationPhotos


@dataclass(frozen=True)
class Trial:
    """What a changed graph is made with and judged on.

    Attributes:
        model: The trained detector's FP32 graph.
        photos: Good photos, for whatever is fitted; labelled ones take no part in that.
        batch: Labelled photos, uint8 ``[N, height, width, 3]`` BGR at the network's input size.
        labels: Whether each of them is anomalous.
    """

    model: Any
    photos: CalibrationPhotos
    batch: npt.NDArray[np.uint8]
    labels: Sequence[bool]

    @classmethod
    def of(cls, run: str, data: str) -> Trial:
        """Read a finished training and the labelled photos of a folder."""
        import onnx

        from edgead.export.source import Source

        source = Source.open(run)
        view = View.of(source.manifest)
        photos = source.photos.read(view)
        test = Dataset.from_folder(data).test_photos()
        batch = np.stack([view.prepare(images.read_image(photo.path)) for photo in test])
        labels = [photo.is_anomalous for photo in test]
        return cls(onnx.load_from_string(source.graph), photos, batch, labels)

    def scores(self, model: Any) -> npt.NDArray[np.float32]:
        """Score the labelled photos with a graph."""
        from edgead.calibration.probe import probe

        found = probe(model, ["score"], [photo[None] for photo in self.batch])
        return np.concatenate([scores for (scores,) in found])

    def auroc(self, scores: npt.NDArray[np.float32]) -> float | None:
        """Return the image AUROC of scores."""
        return metrics.auroc(self.labels, scores.tolist())
