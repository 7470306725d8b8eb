"""``edgead export``."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgead.cli import _options


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="export a trained detector to one file for devices",
        description="Export a trained detector to ONNX and prove that its scores are unchanged.",
    )
    parser.add_argument("source", metavar="RUN", help="run folder of a finished training")
    parser.add_argument("--out", required=True, metavar="DIR", help="export folder")
    parser.add_argument(
        "--onnx", action="store_true", help="ONNX in FP32; what happens anyway without an option"
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="good photos for the checks (default: those that the training held out)",
    )
    parser.add_argument(
        "--validate", metavar="DATA", help="labelled photos: report image AUROC before and after"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and say what to do next."""
    from edgead.export import export_run
    from edgead.export.pipeline import calibration_photos
    from edgead.export.report import table

    photos = calibration_photos(args.calibration) if args.calibration else None
    variants = export_run(args.source, args.out, photos, args.validate)
    print(table(variants))
    best = Path(args.out) / str(variants[0].file)
    print(f"wrote {best} and report.json; copy the .onnx file to the device")
    print(f"next: edgead predict {best} IMAGES --out results")
    print(f"next: edgead bench {best}")
    return 0
