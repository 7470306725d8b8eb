"""The export of an engine, start to finish: build, check, refuse or put in place."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import __version__, files
from edgead.artifact import (
    Artifact,
    EngineSpec,
    Manifest,
    ParitySpec,
    read_artifact,
    write_engine,
)
from edgead.calibration.photos import CalibrationPhotos
from edgead.datasets import Dataset
from edgead.errors import GateRefused, UsageError
from edgead.export import gate, latency, parity
from edgead.export.report import Variant
from edgead.export.tensorrt import timing_cache
from edgead.export.tensorrt.builder import Built, build
from edgead.export.tensorrt.calibrator import calibrator
from edgead.export.tensorrt.frames import generated_photos
from edgead.export.tensorrt.options import EngineOptions
from edgead.runtimes import open_runtime
from edgead.runtimes.tensorrt import TensorRT, library
from edgead.runtimes.tensorrt.device import Device, open_device
from edgead.runtimes.tensorrt.machine import Machine

TOLERANCE = {"fp32": 1e-3, "fp16": 1e-2}
"""Largest difference of a score from ONNX Runtime's, as a share of the scores' range. INT8 has the
gate's limits alone."""

_OF_ARTIFACT = {"fp32": "fp32", "fp16": "fp16", "int8-tensorrt": "int8"}

_NO_INT8 = {"5.0", "5.2", "5.3", "6.0", "6.2"}
_SLOW_FP16 = {"5.0", "5.2", "6.1"}


@dataclass(frozen=True)
class Engine:
    """An engine that was built.

    Attributes:
        variants: The artifact it is compared with, and the engine, for the report.
        details: Layers, build time, memory and options, for the report.
    """

    variants: tuple[Variant, Variant]
    details: dict[str, Any]


def precision_of(artifact: Artifact) -> str:
    """Return the precision of the engine that an ONNX artifact makes.

    Raises:
        UsageError: It is no source of engines: an engine itself, or INT8 in another shape.
    """
    found = artifact.manifest.precision
    if artifact.manifest.engine is not None:
        raise UsageError(
            f"{artifact.path} is an engine already; build engines from the .onnx file "
            f"({artifact.manifest.engine.onnx})"
        )
    if found not in _OF_ARTIFACT:
        raise UsageError(
            f"{artifact.path} is {found} in the shape of ONNX Runtime, which TensorRT refuses: use "
            f"{artifact.manifest.model.name}-int8-tensorrt.onnx, which 'edgead export RUN --int8 "
            "static' writes beside it"
        )
    return _OF_ARTIFACT[found]


def export_engine(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: EngineOptions,
    photos: CalibrationPhotos | None = None,
    baseline: str | os.PathLike[str] | None = None,
    validate: Dataset | None = None,
    max_drop: float = 0.5,
) -> Engine:
    """Build an engine on this machine and prove that it keeps the scores.

    Neither torch nor the onnx package is needed.

    Args:
        source: An ONNX artifact: FP32, FP16, or INT8 for TensorRT.
        out: The export folder; made when missing. An engine of the same name in it is replaced
            once the new one has passed its check.
        options: What the engine shall be.
        photos: Good photos and synthetic defects of them; ``None`` for generated frames, which
            show that the arithmetic is right and nothing about accuracy.
        baseline: The artifact whose scores are right; ``None`` for the source.
        validate: Labelled photos for the gate.
        max_drop: Largest loss of accuracy, in points of a hundred.

    Raises:
        UsageError: The source or an option is wrong.
        RuntimeUnavailableError: There is no GPU or no TensorRT.
        EdgeadError: TensorRT builds no engine; has its reason.
        GateRefused: The engine's scores are too far off; nothing was written.
    """
    artifact = read_artifact(source)
    _check(artifact, options, photos)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose a folder for the engine with --out DIR")
    given = photos is not None
    photos = photos or generated_photos(artifact.manifest.input.size)
    reference = artifact if baseline is None else read_artifact(baseline)
    trt = library.load()
    device = open_device()
    try:
        machine = Machine.here(trt, device)
        _warn(machine, options)
        with device.current():
            built = _build(trt, device, machine, artifact, options, photos)
    finally:
        device.close()
    timing_cache.store(machine, built.timing_cache)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".engine-", dir=out) as scratch:
        manifest = _manifest(artifact, options, machine, built)
        draft = Path(scratch) / f"{manifest.name}.engine"
        write_engine(draft, built.plan, manifest)
        checked = _Check(reference, read_artifact(draft), photos, given, validate, max_drop)
        variants, manifest = checked.run(options)
    refused = variants[1].reason
    if not variants[1].accepted:
        raise GateRefused(
            f"the engine {manifest.name}.engine was built but refused, and not written: {refused}"
        )
    path = out / f"{manifest.name}.engine"
    write_engine(path, built.plan, manifest)
    return Engine(variants, _details(manifest, machine, built))


def _check(artifact: Artifact, options: EngineOptions, photos: CalibrationPhotos | None) -> None:
    makes = precision_of(artifact)
    if options.calibrator is not None:
        if makes != "fp32":
            raise UsageError(
                f"{artifact.path} is {makes} already; --tensorrt-calibrator makes INT8 of an FP32 "
                "artifact"
            )
        if photos is None:
            raise UsageError(
                "--tensorrt-calibrator needs good photos of the part: give them with "
                "--calibration DIR"
            )
        photos.require_enough()
    elif makes != options.precision:
        raise UsageError(
            f"{artifact.path} makes an engine in {makes}, not in {options.precision}: leave out "
            f"the precision, or give the {options.precision} file"
        )


def _warn(machine: Machine, options: EngineOptions) -> None:
    if options.precision == "int8" and machine.compute_capability in _NO_INT8:
        text = "has no INT8 units, so that INT8 is no faster than FP16: measure both (edgead bench)"
    elif options.precision != "fp32" and machine.compute_capability in _SLOW_FP16:
        text = "computes FP16 slower than FP32: build with --tensorrt fp32"
    else:
        return
    print(
        f"warning: {machine.gpu} (compute capability {machine.compute_capability}) {text}",
        file=sys.stderr,
    )


def _build(
    trt: Any,
    device: Device,
    machine: Machine,
    artifact: Artifact,
    options: EngineOptions,
    photos: CalibrationPhotos,
) -> Built:
    chosen = None
    if options.calibrator is not None:
        key = (artifact.sha256, photos.pixels_sha256, machine.tensorrt)
        chosen = calibrator(trt, device, options.calibrator, photos.good, key)
    try:
        return build(
            trt,
            device,
            artifact.path.read_bytes(),
            options,
            timing_cache.load(machine),
            chosen,
            lambda text: print(text, file=sys.stderr),
        )
    finally:
        if chosen is not None:
            chosen.free()


def _manifest(
    artifact: Artifact, options: EngineOptions, machine: Machine, built: Built
) -> Manifest:
    spec = EngineSpec(
        **dataclasses.asdict(machine),
        precision=options.precision,
        batch=options.batch,
        shares_profile=built.shares_profile,
        options={
            "workspace_mib": options.workspace_mib,
            "dla_core": options.dla_core,
            "calibrator": options.calibrator,
            "strongly_typed": built.strongly_typed,
        },
        onnx=artifact.path.name,
        onnx_sha256=files.sha256_file(artifact.path),
        sha256="",
        build_seconds=built.seconds,
    )
    return artifact.manifest.replace(
        precision=options.precision, engine=spec, edgead_version=__version__
    )


class _Check:
    """The comparison of an engine with the artifact whose scores are right."""

    def __init__(
        self,
        reference: Artifact,
        draft: Artifact,
        photos: CalibrationPhotos,
        given: bool,
        validate: Dataset | None,
        max_drop: float,
    ) -> None:
        self.reference, self.draft, self.photos, self.given = reference, draft, photos, given
        self.validate, self.max_drop = validate, max_drop

    def run(self, options: EngineOptions) -> tuple[tuple[Variant, Variant], Manifest]:
        batch = self.photos.compared
        with (
            open_runtime(self.reference, "onnxruntime").runtime as right,
            TensorRT(self.draft) as engine,
        ):
            expected = parity.score(right, batch, self.reference.manifest.name)
            found = parity.score(engine, batch, "the engine")
            manifest = self._refitted(found, options)
            names = self.reference.manifest.name, f"{manifest.name}.engine"
            timed = latency.side_by_side({names[0]: right, names[1]: engine}, batch[:1])
            runtimes = [
                f"{info.name} {info.version}" for info in (right.describe(), engine.describe())
            ]
        compared = parity.compare(
            expected,
            found,
            (self.reference.manifest.threshold.value, manifest.threshold.value),
            f"{self.reference.manifest.name} in onnxruntime"
            + ("" if self.given else ", on generated frames"),
        )
        masks = self.photos.masks()
        before = gate.measure(self.reference, expected, masks, self.validate)
        after = gate.measure(self.draft, found, masks, self.validate, TensorRT.name)
        refused = self._refusal(options, compared, before, after)
        manifest = manifest.replace(parity=compared, gate=gate.record(before, after, self.max_drop))
        same = parity.compare(expected, expected, (0.0, 0.0), self.reference.manifest.name)
        first = _variant(self.reference, same, before, before).replace(
            name=names[0],
            latency_ms=timed[names[0]],
            speed_up=1.0,
            runtime=runtimes[0],
            reason="what the engine is compared with",
        )
        note = "" if self.given else "; checked on generated frames (--calibration DIR for photos)"
        second = _variant(self.draft, compared, before, after).replace(
            name=names[1],
            file=None if refused else f"{manifest.name}.engine",
            latency_ms=timed[names[1]],
            speed_up=timed[names[0]] / timed[names[1]],
            runtime=runtimes[1],
            accepted=refused is None,
            reason=refused or f"passed the gate{note}",
        )
        return (first, second), manifest

    def _refitted(self, found: parity.Scored, options: EngineOptions) -> Manifest:
        """Fit the threshold again where the engine was calibrated here, else keep it."""
        if options.calibrator is None:
            return self.draft.manifest
        from edgead.calibration.threshold import from_good_scores, score_statistics

        manifest = self.draft.manifest
        scores = found.scores[: len(self.photos.good)].tolist()
        rate = manifest.threshold.false_positive_rate
        return manifest.replace(
            score_statistics=score_statistics(scores),
            threshold=manifest.threshold if rate is None else from_good_scores(scores, rate),
        )

    def _refusal(
        self,
        options: EngineOptions,
        compared: ParitySpec,
        before: gate.Accuracy,
        after: gate.Accuracy,
    ) -> str | None:
        allowed = TOLERANCE.get(options.precision)
        if allowed is not None and compared.max_score_diff_relative > allowed:
            return (
                f"its scores differ from {compared.reference} by up to "
                f"{compared.max_score_diff_relative:.1e} of the score range, more than "
                f"{allowed:.0e}; build in fp32, or report this with the report of the build"
            )
        if not self.given:
            # What generated frames have no part in common with says nothing about its defects.
            return None if allowed is not None else gate.refusal(before, before, compared, 100.0)
        return gate.refusal(before, after, compared, self.max_drop)


def _variant(
    artifact: Artifact, compared: ParitySpec, before: gate.Accuracy, after: gate.Accuracy
) -> Variant:
    return Variant(
        name=artifact.manifest.name,
        file=artifact.path.name,
        precision=artifact.manifest.precision,
        gmac=artifact.manifest.model.gmac,
        parameters=artifact.manifest.model.parameters,
        size_bytes=artifact.size_bytes,
        latency_ms=None,
        speed_up=None,
        runtime="",
        score_diff_in_runtimes={},
        parity=compared,
        image_auroc=after.image_auroc,
        image_auroc_drop=gate.points_lost(before.image_auroc, after.image_auroc),
        au_pro=after.au_pro,
        au_pro_drop=gate.points_lost(before.au_pro, after.au_pro),
        accepted=True,
        reason="",
    )


def _details(manifest: Manifest, machine: Machine, built: Built) -> dict[str, Any]:
    return {
        "file": f"{manifest.name}.engine",
        **dataclasses.asdict(machine),
        "build_seconds": built.seconds,
        "timing_cache": "reused" if built.reused_timings else "new",
        "workspace_mib": built.workspace_mib,
        "free_mib_before": built.free_mib,
        "strongly_typed": built.strongly_typed,
        "layers": built.layers,
        "warnings": built.warnings,
    }
