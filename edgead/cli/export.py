"""``edgead export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgead.cli import _engine, _options
from edgead.export.options import INT8_CHOICES

if TYPE_CHECKING:
    from edgead.export import ExportOptions


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="export a trained detector to files for devices",
        description="Export a trained detector to ONNX in FP32, FP16 and INT8, and to a TensorRT "
        "engine for the GPU of this machine. Each file is checked against the FP32 scores; files "
        "that fail are refused.",
    )
    parser.add_argument(
        "source",
        metavar="RUN|ARTIFACT",
        help="run folder of a finished training, or an exported FP32 .onnx file (for an engine "
        "also an FP16 or -int8-tensorrt file)",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="export folder")
    parser.add_argument(
        "--onnx", action="store_true", help="FP32 ONNX; always written, with or without this option"
    )
    parser.add_argument("--fp16", action="store_true", help="also FP16, for GPUs")
    parser.add_argument(
        "--int8",
        nargs="?",
        const="auto",
        choices=INT8_CHOICES,
        help="also INT8; auto (the default) builds both kinds and keeps the faster one that "
        "passes the checks",
    )
    parser.add_argument(
        "--compress",
        nargs="?",
        const="auto",
        type=_options.compression,
        metavar="GMAC",
        help="first compress the detector to at most GMAC billion multiply-accumulates per image; "
        "without a number: as far as the accuracy gate allows",
    )
    parser.add_argument(
        "--max-latency",
        type=_options.milliseconds,
        metavar="MS",
        help="compress until one inference takes at most MS milliseconds on this machine (with "
        "--int8: one inference of the INT8 file)",
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="photos of good parts for calibration and checks: a folder with the photos directly "
        "in it, or a data set, whose train/good is used (default: the validation photos of the "
        "training)",
    )
    parser.add_argument(
        "--calibrator",
        default="minmax",
        choices=["minmax", "percentile", "entropy", "mse"],
        help="method that chooses the ranges of static INT8 (default: minmax)",
    )
    parser.add_argument(
        "--validate",
        metavar="DATA",
        help="labelled photos in MVTec AD layout, to measure accuracy before and after the export",
    )
    _options.add_good(parser)
    _options.add_max_drop(parser)
    _engine.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, and print the next command."""
    from edgead.export.folder import export_folder

    if _engine.is_source(args):
        return _engine.build(args)
    options = _options_of(args)
    with export_folder(args.out) as out:
        return _export(args, options, out)


def _export(args: argparse.Namespace, options: ExportOptions, out: Path) -> int:
    from edgead.export.pipeline import prepare
    from edgead.export.report import recommended, table

    prepared = prepare(args.source, options)
    exported = prepared.write(out)
    if exported.refused is not None:
        raise exported.refused
    print(table(exported.variants))
    for variant in exported.variants:
        if variant.accepted:
            print(f"wrote {out / str(variant.file)}")
    best = out / str(recommended(exported.variants).file)
    print(f"wrote {out / 'report.md'}; copy one .onnx file to the device, fastest here: {best}")
    print(f"next: edgead predict {best} IMAGES --out results")
    print(f"next: edgead bench {best}")
    if not args.tensorrt:
        return 0
    return _engine.build_from_export(args, out, prepared.judge, exported)


def _options_of(args: argparse.Namespace) -> ExportOptions:
    from edgead.export import ExportOptions

    return ExportOptions(
        fp16=args.fp16 or _engine.needs_fp16(args),
        int8=args.int8,
        tensorrt_int8=_engine.needs_int8(args),
        calibration=args.calibration,
        calibrator=args.calibrator,
        validate=args.validate,
        good=tuple(args.good),
        max_drop=args.max_drop,
        compress=args.compress,
        max_latency=args.max_latency,
    )
