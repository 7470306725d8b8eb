"""Does an engine give the scores of the ONNX file that is right?"""

from __future__ import annotations

import dataclasses

from edgead.artifact import Artifact, Manifest
from edgead.export import gate, latency, verdict
from edgead.export.judge import Judge, Scored
from edgead.export.report import Variant
from edgead.export.tensorrt.options import EngineOptions
from edgead.export.verdict import Verdict
from edgead.runtimes import open_runtime
from edgead.runtimes.tensorrt import TensorRT

TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2}
"""Largest difference of a score from ONNX Runtime's, as a share of the scores' range. INT8 has the
gate's limits alone."""


def check_engine(
    source: Artifact,
    reference: Artifact,
    draft: Artifact,
    judge: Judge,
    options: EngineOptions,
    max_drop: float,
) -> tuple[tuple[Variant, Variant], Manifest]:
    """Score the photos with an engine and with the artifact whose scores are right.

    Args:
        source: What the engine was built from.
        reference: The artifact whose scores are right.
        draft: The engine.
        judge: The photos; generated frames have no paths.
        options: How the engine was built.
        max_drop: Largest loss of accuracy, in points of a hundred.

    Returns:
        The rows of the report, reference first, and the engine's manifest with what was found.

    Raises:
        ContractError: The engine does not compute what a detector must.
    """
    has_photos = bool(judge.photos.paths)
    with open_runtime(reference, "onnxruntime").runtime as right, TensorRT(draft) as engine:
        expected = judge.scored(reference, right)
        if has_photos and reference is source:  # else the export has warned already
            judge.doubt(expected)
        found = judge.scored(draft, engine, "the engine")
        if options.calibrator is not None:  # by TensorRT, on these photos
            judge.refit(found)
        judge.label([expected, found])
        if has_photos:
            judged = _on_photos(judge, expected, found, max_drop)
        else:
            judged = _on_generated_frames(judge, expected, found, options, max_drop)
        names = reference.manifest.name, f"{draft.manifest.name}.engine"
        timed = latency.side_by_side({names[0]: right, names[1]: engine}, judge.batch[:1])
        runtimes = [f"{info.name} {info.version}" for info in (right.describe(), engine.describe())]
    judged = _within_tolerance(judged, options)
    same = verdict.compare(expected, expected, reference.manifest.name)
    whole = Verdict(same, judged.before, judged.before, None)
    first = whole.variant(reference.manifest, reference.size_bytes, runtimes[0]).replace(
        file=reference.path.name,
        latency_ms=timed[names[0]],
        speed_up=1.0,
        reason="reference for the engine",
    )
    note = "" if has_photos else "; checked on generated frames (--calibration DIR for photos)"
    manifest = judged.recorded(found.artifact.manifest, max_drop)
    second = judged.variant(manifest, draft.size_bytes, runtimes[1]).replace(
        name=names[1],
        file=names[1] if judged.refusal is None else None,
        latency_ms=timed[names[1]],
        speed_up=timed[names[0]] / timed[names[1]],
        reason=judged.refusal or f"passed the gate{note}",
    )
    return (first, second), manifest


def _on_photos(judge: Judge, expected: Scored, found: Scored, max_drop: float) -> Verdict:
    name = f"{expected.name} in onnxruntime"
    return verdict.with_labels(judge, expected, found, max_drop, name)


def _on_generated_frames(
    judge: Judge, expected: Scored, found: Scored, options: EngineOptions, max_drop: float
) -> Verdict:
    """Generated frames show no part, so that they prove nothing about its defects."""
    name = f"{expected.name} in onnxruntime, on generated frames"
    compared = verdict.compare(expected, found, name)
    before = judge.with_labelled(expected, judge.on_few(expected).accuracy)
    after = judge.with_labelled(found, judge.on_few(found).accuracy)
    same = dataclasses.replace(after, image_auroc=before.image_auroc, au_pro=before.au_pro)
    judged = compared
    if options.precision in TOLERANCE:
        judged = dataclasses.replace(compared, rank_correlation=None)
    return Verdict(compared, before, after, gate.refusal(same, after, judged, max_drop))


def _within_tolerance(judged: Verdict, options: EngineOptions) -> Verdict:
    allowed = TOLERANCE.get(options.precision)
    difference = judged.parity.max_score_diff_relative
    if allowed is None or difference <= allowed:
        return judged
    return dataclasses.replace(
        judged,
        refusal=f"its scores differ from {judged.parity.reference} by up to {difference:.1e} of "
        f"the score range (allowed: {allowed:.0e}); build in fp32, or report this with the report "
        "of the build",
    )
