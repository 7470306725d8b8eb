"""``edgead info``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgead.artifact import Manifest, TeacherSpec, TrainingSpec, ViewSpec, read_artifact
from edgead.cli import _options
from edgead.contrast import GRID, LEAST_SHARE
from edgead.errors import UsageError
from edgead.printable import printable


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "info",
        help="show the manifest of an exported file",
        description="Check the seal of an exported file and show its manifest.",
    )
    parser.add_argument("artifact", metavar="ARTIFACT", help="exported .onnx or .engine file")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the manifest."""
    if not Path(args.artifact).exists():
        raise UsageError(f"{args.artifact} does not exist")
    artifact = read_artifact(args.artifact)
    if args.json:
        print(json.dumps(dataclasses.asdict(artifact.manifest), indent=2))
        return 0
    rows = [
        ("file", f"{artifact.path} ({artifact.size_bytes / 1e6:.2f} MB, seal intact)"),
        *_rows(artifact.manifest),
    ]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print(f"{label.ljust(width)}  {printable(value)}")
    return 0


def _rows(manifest: Manifest) -> list[tuple[str, str]]:
    model, size, threshold = manifest.model, manifest.input, manifest.threshold
    statistics, training = manifest.score_statistics, manifest.training
    parity, quantization = manifest.parity, manifest.quantization
    return [
        ("model", f"{model.name}, {model.parameters:,} parameters, {model.gmac:.2f} GMAC"),
        *([("options", _options_of(model.options))] if model.options else []),
        *_compression(manifest),
        ("precision", manifest.precision),
        ("input", f"{size.height}x{size.width} px, {size.color}, {size.dtype}"),
        ("anomaly map", f"{manifest.map.height}x{manifest.map.width} cells"),
        *_view(manifest.view),
        ("threshold", f"{threshold.value:.4f}: {threshold.method}, {threshold.images} photos"),
        *[("", text) for text in (threshold.promise, threshold.note) if text],
        (
            "good scores",
            f"{statistics.mean:.4f} ± {statistics.std:.4f}, highest {statistics.maximum:.4f}, "
            f"{statistics.images} photos",
        ),
        _learned(training),
        ("blank photos", _blank(training)),
        *_teacher(manifest.teacher),
        (
            "parity",
            f"{parity.max_score_diff_relative:.1e} of the score range from {parity.reference}, "
            f"{parity.label_flips} of {parity.images} verdicts flip"
            if parity
            else "not checked",
        ),
        *_engine_rows(manifest),
        *([("INT8", f"{quantization.method}, {quantization.scheme}")] if quantization else []),
        ("made by", f"edgead {manifest.edgead_version}"),
    ]


def _view(view: ViewSpec | None) -> list[tuple[str, str]]:
    if view is None:
        return []
    parts = [f"frames of aspect ratio {view.aspect:.3f}"]
    if view.crop is not None:
        parts.append("crop " + ",".join(f"{value:g}" for value in view.crop))
    if view.mask is not None:
        parts.append("with a mask")
    if view.rows * view.columns > 1:
        parts.append(f"{view.rows}x{view.columns} tiles that share {view.overlap} px")
    if view.keeps_aspect:
        parts.append("aspect ratio kept")
    return [("view", ", ".join(parts))]


def _options_of(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _learned(training: TrainingSpec) -> tuple[str, str]:
    photos = f"{training.images} photos of {training.dataset}"
    if not training.finished:  # no date: the same photos teach the same file
        return "taught", f"with {photos}"
    steps = f"{training.steps} steps, " if training.steps else ""
    return "trained", f"on {photos}, {steps}seed {training.seed}, {training.finished}"


def _blank(training: TrainingSpec) -> str:
    if training.least_contrast is None:
        return "not checked: trained with an earlier version of edgead"
    rule = (
        f"anomalous if a cell of a {GRID}x{GRID} grid has less than {LEAST_SHARE:.0%} of the "
        "contrast of good photos"
    )
    if training.contrast_left_out is None:
        return rule
    left_out = training.contrast_left_out
    seen = training.images + training.held_out - left_out
    odd = f", {left_out} without contrast left out" if left_out else ""
    return f"{rule} ({seen} photos{odd})"


def _teacher(teacher: TeacherSpec | None) -> list[tuple[str, str]]:
    if teacher is None:
        return [("teacher", "none")]
    known = (teacher.images, teacher.recipe, teacher.validation, teacher.date)
    return [
        ("teacher", f"{teacher.name}, {teacher.source}"),
        *[("", line) for line in known if line],
        ("licence", teacher.licence),
    ]


def _engine_rows(manifest: Manifest) -> list[tuple[str, str]]:
    engine = manifest.engine
    if engine is None:
        return []
    return [
        (
            "engine",
            f"TensorRT {engine.tensorrt}, {engine.gpu} (compute capability "
            f"{engine.compute_capability}, {engine.multiprocessors} multiprocessors), "
            f"{engine.platform}; runs nowhere else",
        ),
        ("batch", f"{engine.batch[0]} to {engine.batch[-1]}, tuned for {engine.batch[1]}"),
        ("built", f"from {engine.onnx} in {engine.build_seconds:.1f} s"),
    ]


def _compression(manifest: Manifest) -> list[tuple[str, str]]:
    done = manifest.compression
    if done is None:
        return []
    return [
        (
            "compressed",
            f"from {done.gmac_before:.4g} GMAC and {done.parameters_before:,} parameters, on "
            f"{done.images} good photos: {len(done.directions)} differences projected, "
            f"{len(done.channels)} convolutions pruned, {len(done.ranks)} factorised",
        )
    ]
