"""What an export judges its files on, ONNX files and engines alike.

Good photos and synthetic defects of them decide about every file, labelled photos where there are
some. What was measured of a file once is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgead import notices
from edgead.artifact import Artifact, Manifest, ParitySpec
from edgead.calibration.photos import CalibrationPhotos, warnings
from edgead.calibration.threshold import refitted
from edgead.datasets import Dataset
from edgead.detector import EdgeDetector
from edgead.evaluation import Evaluation, evaluate_together
from edgead.export import gate, parity
from edgead.progress import progress
from edgead.runtimes import Runtime


@dataclass
class Scored:
    """A file, its outputs for the judge's photos, and the accuracy measured from them.

    Attributes:
        artifact: The file.
        runtime: What scored the photos; it scores more of them while it is open.
        outputs: Scores and maps of the judge's photos.
    """

    artifact: Artifact
    runtime: Runtime
    outputs: parity.Scored
    on_few: gate.EachDefect | None = None
    on_many: gate.EachDefect | None = None
    on_labelled: Evaluation | None = None

    @property
    def name(self) -> str:
        """Model and precision."""
        return self.artifact.manifest.name

    def describe(self, manifest: Manifest) -> None:
        """Give the file another manifest: its threshold comes from the scores above."""
        self.artifact = dataclasses.replace(self.artifact, manifest=manifest)


class Judge:
    """The photos that files are judged on.

    Args:
        photos: Good photos and synthetic defects of them.
        validate: Labelled photos; ``None`` for none.
    """

    def __init__(self, photos: CalibrationPhotos, validate: Dataset | None) -> None:
        self.photos, self.validate = photos, validate
        self.batch, self.masks = photos.compared, photos.masks()
        self._others: CalibrationPhotos | None = None

    def scored(self, artifact: Artifact, runtime: Runtime, name: str | None = None) -> Scored:
        """Score the photos.

        Args:
            artifact: The file.
            runtime: Open on that file.
            name: Of the file, for the progress shown; ``None`` for the manifest's.
        """
        outputs = self.outputs(runtime, name or artifact.manifest.name)
        return Scored(artifact, runtime, outputs)

    def outputs(self, runtime: Runtime, name: str) -> parity.Scored:
        """Return scores and maps of the photos in any runtime."""
        judged = self.photos.judged(runtime.artifact.manifest.map)
        return parity.score(runtime, self.batch, name, judged)

    def _good_scores(self, file: Scored) -> npt.NDArray[np.float32]:
        """Return the scores of the good photos, of views those of whole frames."""
        view = self.photos.view
        if view is None or view.spec is None:
            return file.outputs.scores[: len(self.photos.good)]
        detect = EdgeDetector.from_runtime(file.runtime)
        paths = progress(self.photos.paths, len(self.photos.paths), f"whole frames, {file.name}")
        read = self.photos.reader.read
        return np.array([detect(read(path).pixels).score for path in paths], np.float32)

    def doubt(self, reference: Scored) -> None:
        """Warn on stderr where photos or detector do not look fit for an export.

        Args:
            reference: The file whose scores are right.
        """
        good = self._good_scores(reference)
        doubts = warnings(self.photos, good, reference.artifact.manifest)
        doubt = gate.hardly_trained(reference.outputs.scores, self.masks)
        for warning in [*doubts, *([doubt] if doubt else [])]:
            notices.warn(warning)

    def refit(self, file: Scored) -> None:
        """Fit a file's threshold and statistics to its own scores of the good photos."""
        good = self._good_scores(file)
        file.describe(refitted(file.artifact.manifest, good.tolist()))

    def on_few(self, file: Scored) -> gate.EachDefect:
        """Measure a file on the photos that it was scored on."""
        if file.on_few is None:
            file.on_few = gate.on_synthetic_defects(
                file.artifact.manifest, file.outputs, self.masks
            )
        return file.on_few

    def unlabelled(
        self, reference: Scored, file: Scored, compared: ParitySpec, allowed: float
    ) -> tuple[gate.Accuracy, gate.Accuracy]:
        """Measure both without the labelled photos, on more defects where few leave it open.

        Args:
            reference: The file whose scores are right.
            file: The file that is judged.
            compared: The second against the first.
            allowed: Largest loss of accuracy, in points of a hundred.
        """
        before, after = self.on_few(reference), self.on_few(file)
        is_refused = gate.refusal(before.accuracy, before.accuracy, compared, allowed)
        if not is_refused and gate.is_open(before, after, allowed):
            before, after = self._on_many(reference), self._on_many(file)
        return before.accuracy, after.accuracy

    def label(self, files: Sequence[Scored]) -> None:
        """Measure files on the labelled photos, where there are some; each photo is read once.

        Args:
            files: Whose runtimes are open.
        """
        waiting = [file for file in files if file.on_labelled is None]
        if self.validate is None or not waiting:
            return
        detectors = [EdgeDetector.from_runtime(file.runtime) for file in waiting]
        found = evaluate_together(detectors, self.validate)
        for file, evaluation in zip(waiting, found, strict=True):
            file.on_labelled = evaluation

    def with_labelled(self, file: Scored, found: gate.Accuracy) -> gate.Accuracy:
        """Return a copy with the accuracy on labelled photos (:meth:`label`), if there are some."""
        if file.on_labelled is None:
            return found
        image_auroc, au_pro = file.on_labelled.image_auroc, file.on_labelled.au_pro
        return dataclasses.replace(found, image_auroc=image_auroc, au_pro=au_pro)

    def _on_many(self, file: Scored) -> gate.EachDefect:
        if file.on_many is None:
            if self._others is None:
                self._others = self.photos.with_other_defects()
            count = len(self.photos.all_good)
            judged = self._others.judged(file.artifact.manifest.map)
            more = parity.score(
                file.runtime,
                self._others.defective,
                file.name,
                None if judged is None else judged[count:],
            )
            masks = [*self.masks, *self._others.defect_masks()]
            file.on_many = gate.on_synthetic_defects(
                file.artifact.manifest, file.outputs.and_then(more), masks
            )
        return file.on_many
