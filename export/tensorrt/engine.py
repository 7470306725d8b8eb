"""The export of an engine, start to finish: build, check, refuse or put in place."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgead import __version__, files, notices
from edgead.artifact import (
    Artifact,
    EngineSpec,
    Manifest,
    containers,
    read_artifact,
    write_engine,
)
from edgead.artifact.kinds import INT8, INT8_TENSORRT
from edgead.calibration.photos import CalibrationPhotos, refuse_test_photos
from edgead.datasets import Dataset
from edgead.errors import GateRefused, UsageError
from edgead.export import report, stale
from edgead.export.folder import export_folder, file_in
from edgead.export.judge import Judge
from edgead.export.report import Variant
from edgead.export.tensorrt import timing_cache
from edgead.export.tensorrt.builder import Built, build
from edgead.export.tensorrt.calibrator import calibrator
from edgead.export.tensorrt.check import check_engine
from edgead.export.tensorrt.frames import generated_photos
from edgead.export.tensorrt.options import EngineOptions
from edgead.printable import printable
from edgead.runtimes.base import ContractError
from edgead.runtimes.tensorrt import library
from edgead.runtimes.tensorrt.device import Device, open_device
from edgead.runtimes.tensorrt.machine import Machine
from edgead.teaching import DETECTORS

_NO_INT8 = {"5.0", "5.2", "5.3", "6.0", "6.2"}
_SLOW_FP16 = {"5.0", "5.2", "6.1"}


@dataclass(frozen=True)
class Engine:
    """An engine that was built.

    Attributes:
        variants: The artifact it is compared with, and the engine, for the report.
        details: Layers, build time, memory and options, for the report.
        path: The engine.
        command: The command to run next.
    """

    variants: tuple[Variant, Variant]
    details: dict[str, Any]
    path: Path
    command: str


def precision_of(artifact: Artifact) -> str:
    """Return the precision of the engine that an ONNX artifact makes.

    Raises:
        UsageError: It is no source of engines: an engine itself, or INT8 in another shape.
    """
    if artifact.manifest.engine is not None:
        raise UsageError(
            f"{artifact.path} is an engine; build engines from the .onnx file "
            f"({artifact.manifest.engine.onnx})"
        )
    if artifact.path.suffix.lower() != containers.ONNX_SUFFIX:
        raise UsageError(
            f"{artifact.path} is no ONNX file, and TensorRT builds engines from those alone"
        )
    kind = artifact.manifest.kind
    if kind.engine is None:
        name = artifact.manifest.model.name
        command = f"RUN {INT8.option}"
        if name in DETECTORS:
            command = "FP32FILE --tensorrt int8 --calibration GOOD"
        raise UsageError(
            f"{artifact.path} is {kind.name} in the form for ONNX Runtime, which TensorRT refuses: "
            f"use {name}-{INT8_TENSORRT.name}.onnx, which 'edgead export {command}' writes into "
            "the export folder"
        )
    return kind.engine


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
            once the new one has passed its check, and the report is written.
        options: Precision, batch sizes and limits of the engine.
        photos: Good photos and synthetic defects of them; ``None`` for generated frames, which
            show that the arithmetic is right and nothing about accuracy.
        baseline: The artifact whose scores are right; ``None`` for the source.
        validate: Labelled photos for the gate.
        max_drop: Largest loss of accuracy, in points of a hundred.

    Raises:
        UsageError: The source or an option is wrong.
        DataError: The photos are too few, or are test photos.
        RuntimeUnavailableError: There is no GPU or no TensorRT.
        EdgeadError: TensorRT builds no engine; has its reason. Or another process exports into the
            folder.
        GateRefused: The engine's scores are too far off; nothing was written.
    """
    artifact = read_artifact(source)
    check(artifact, options, photos)
    if photos is not None and validate is not None:
        refuse_test_photos(photos.paths, validate, photos.reader)
    with export_folder(out) as folder:
        judge = Judge(photos or generated_photos(artifact.manifest.input.size), validate)
        reference = artifact if baseline is None else read_artifact(baseline)
        made = build_engine(artifact, folder, options, judge, reference, max_drop)
        report.write(folder, list(made.variants), made.command, made.details)
        stale.warn(folder, artifact.manifest)
    return made


def check(artifact: Artifact, options: EngineOptions, photos: CalibrationPhotos | None) -> None:
    """Refuse what no engine can be made of.

    Args:
        artifact: The ONNX file to build from.
        options: Precision, batch sizes and limits of the engine.
        photos: Good photos, if there are some.

    Raises:
        UsageError: The source makes another precision, or calibration is asked for without photos.
        DataError: The photos are too few.
    """
    makes = precision_of(artifact)
    if options.calibrator is not None:
        if makes != "fp32":
            raise UsageError(
                f"{artifact.path} is {makes}; --tensorrt-calibrator needs an FP32 file: give that "
                "file, or leave the option out"
            )
        if photos is None:
            raise UsageError(
                "--tensorrt-calibrator needs good photos of the part: give them with "
                "--calibration DIR"
            )
    elif makes != options.precision:
        raise UsageError(
            f"the engine of {artifact.path} has precision {makes}, not {options.precision}: leave "
            f"out the precision, or give the {options.precision} file"
        )
    if photos is not None and options.precision != "fp32":
        photos.require_enough()


def build_engine(
    artifact: Artifact,
    out: Path,
    options: EngineOptions,
    judge: Judge,
    reference: Artifact,
    max_drop: float,
) -> Engine:
    """Build an engine, check it, and put it into place.

    Args:
        artifact: The ONNX file to build from, checked with :func:`check`.
        out: The export folder, which nobody else writes into (:func:`export_folder`).
        options: Precision, batch sizes and limits of the engine.
        judge: The photos to calibrate and check on; generated frames have no paths.
        reference: The artifact whose scores are right.
        max_drop: Largest loss of accuracy, in points of a hundred.

    Raises:
        RuntimeUnavailableError: There is no GPU or no TensorRT.
        EdgeadError: TensorRT builds no engine; has its reason.
        GateRefused: The engine's scores are too far off; nothing was written.
    """
    trt = library.load()
    device = open_device()
    model = artifact.content()
    judge.photos.reader.keep_only(())  # the builder needs the memory, which a Jetson has only once
    try:
        machine = Machine.here(trt, device)
        _warn(machine, options)
        with device.current():
            built = _build(trt, device, machine, artifact, model, options, judge.photos)
    finally:
        device.close()
    timing_cache.store(machine, built.timing_cache)
    manifest = _manifest(artifact, model, options, machine, built)
    path = file_in(out, f"{manifest.name}.engine")
    with files.scratch_folder(out) as scratch:
        draft = file_in(scratch, path.name)
        write_engine(draft, built.plan, manifest)
        try:
            variants, manifest = check_engine(
                artifact, reference, read_artifact(draft), judge, options, max_drop
            )
        except ContractError as error:
            raise _refused(path.name, error.problem) from error
    if not variants[1].accepted:
        raise _refused(path.name, variants[1].reason)
    write_engine(path, built.plan, manifest)
    command = f"edgead predict {path} IMAGES --out results"
    return Engine(variants, _details(manifest, machine, built), path, command)


def _refused(name: str, reason: str) -> GateRefused:
    return GateRefused(f"the engine {name} was built, but refused and not written: {reason}")


def _warn(machine: Machine, options: EngineOptions) -> None:
    if options.precision == "int8" and machine.compute_capability in _NO_INT8:
        text = "has no INT8 units, so INT8 is not faster than FP16: measure both with edgead bench"
    elif options.precision != "fp32" and machine.compute_capability in _SLOW_FP16:
        text = "computes FP16 slower than FP32: build with --tensorrt fp32"
    else:
        return
    notices.warn(f"{machine.gpu} (compute capability {machine.compute_capability}) {text}")


def _build(
    trt: Any,
    device: Device,
    machine: Machine,
    artifact: Artifact,
    model: bytes,
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
            model,
            options,
            timing_cache.load(machine),
            chosen,
            notices.say,
        )
    finally:
        if chosen is not None:
            chosen.free()


def _manifest(
    artifact: Artifact, model: bytes, options: EngineOptions, machine: Machine, built: Built
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
        onnx=printable(artifact.path.name),
        onnx_sha256=hashlib.sha256(model).hexdigest(),
        sha256="",
        build_seconds=built.seconds,
    )
    return artifact.manifest.replace(
        precision=options.precision, engine=spec, edgead_version=__version__
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
