"""One verdict for every file of an export, ONNX files and engines alike."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgead.artifact import Manifest, ParitySpec
from edgead.export import gate, parity
from edgead.export.judge import Judge, Scored
from edgead.export.report import Variant


@dataclass(frozen=True)
class Verdict:
    """What a file's scores are worth, compared with those of the file that is right.

    Attributes:
        parity: Of the file against the other.
        before: Accuracy of the file that is right.
        after: Accuracy of the file.
        refusal: Why the file must not be used, or ``None``.
    """

    parity: ParitySpec
    before: gate.Accuracy
    after: gate.Accuracy
    refusal: str | None

    def or_refused(self, reason: str | None) -> Verdict:
        """Return a copy that is also refused for another reason; the first reason stays."""
        return dataclasses.replace(self, refusal=self.refusal or reason)

    def recorded(self, manifest: Manifest, max_drop: float) -> Manifest:
        """Return a manifest that has the comparison."""
        found = gate.record(self.before, self.after, max_drop)
        return manifest.replace(parity=self.parity, gate=found)

    def variant(self, manifest: Manifest, size_bytes: int, runtime: str) -> Variant:
        """Return the row of the report, not timed yet.

        Args:
            manifest: Of the file.
            size_bytes: Of the file.
            runtime: What it is timed with.
        """
        return Variant(
            name=manifest.name,
            file=None,
            precision=manifest.precision,
            gmac=manifest.model.gmac,
            parameters=manifest.model.parameters,
            size_bytes=size_bytes,
            latency_ms=None,
            speed_up=None,
            runtime=runtime,
            score_diff_in_runtimes={},
            parity=self.parity,
            image_auroc=self.after.image_auroc,
            image_auroc_drop=gate.points_lost(self.before.image_auroc, self.after.image_auroc),
            au_pro=self.after.au_pro,
            au_pro_drop=gate.points_lost(self.before.au_pro, self.after.au_pro),
            accepted=self.refusal is None,
            reason=self.refusal or "",
        )


def compare(reference: Scored, file: Scored, name: str = "fp32") -> ParitySpec:
    """Compare the scores of a file with those of the one that is right, each with its threshold.

    Args:
        reference: The file whose scores are right.
        file: The file that is judged.
        name: What the manifest calls the first.
    """
    thresholds = tuple(scored.artifact.manifest.threshold.value for scored in (reference, file))
    return parity.compare(reference.outputs, file.outputs, (thresholds[0], thresholds[1]), name)


def without_labels(
    judge: Judge, reference: Scored, file: Scored, allowed: float, name: str = "fp32"
) -> Verdict:
    """Judge a file on good photos and synthetic defects alone.

    Args:
        judge: The photos.
        reference: The file whose scores are right.
        file: The file that is judged.
        allowed: Largest loss of accuracy, in points of a hundred.
        name: What the manifest calls the first file.
    """
    compared = compare(reference, file, name)
    before, after = judge.unlabelled(reference, file, compared, allowed)
    return Verdict(compared, before, after, gate.refusal(before, after, compared, allowed))


def with_labels(
    judge: Judge, reference: Scored, file: Scored, allowed: float, name: str = "fp32"
) -> Verdict:
    """Judge a file on all photos; labelled ones were measured before (:meth:`Judge.label`).

    Args are those of :func:`without_labels`.
    """
    found = without_labels(judge, reference, file, allowed, name)
    before = judge.with_labelled(reference, found.before)
    after = judge.with_labelled(file, found.after)
    refusal = gate.refusal(before, after, found.parity, allowed)
    return Verdict(found.parity, before, after, refusal)


def of_reference(judge: Judge, reference: Scored, name: str) -> Verdict:
    """Return the verdict on the file that all others are compared with: it is right.

    Args:
        judge: The photos.
        reference: That file.
        name: What it is compared with, where nothing was compared yet.
    """
    found = reference.artifact.manifest.parity
    if found is None:
        outputs = reference.outputs
        found = parity.compare(outputs, outputs, (0.0, 0.0), name)
    accuracy = judge.with_labelled(reference, judge.on_few(reference).accuracy)
    return Verdict(found, accuracy, accuracy, None)
