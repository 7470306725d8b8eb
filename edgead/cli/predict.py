"""``edgead predict``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2

from edgead import files, images, photo_files
from edgead.cli import _options
from edgead.errors import EdgeadError, ImageError


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "predict",
        help="score photos",
        description="Score photos with an exported detector; draw heat maps with --out.",
    )
    parser.add_argument("detector", metavar="ARTIFACT", help="exported .onnx file, or a run folder")
    parser.add_argument("images", nargs="+", help="photos and folders of photos")
    parser.add_argument("--out", metavar="DIR", help="write a heat-map overlay for each photo")
    parser.add_argument("--json", metavar="FILE", help="write scores and regions")
    parser.add_argument("--threshold", type=float, metavar="X", help="use instead of its own")
    _options.add_runtime(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the photos, print a line each, write what was asked for.

    A photo that cannot be read is reported and the others are scored: a folder from a line has one
    half-written file at times. The exit code is 1 then.
    """
    from edgead.detector import open_detector

    paths = photo_files.find_and_report(args.images)
    names = _output_names(paths) if args.out else {}
    results: list[dict[str, Any]] = []
    overlays = Path(args.out) if args.out else None
    with open_detector(args.detector, args.runtime, args.threshold, args.threads) as detect:
        for path in paths:
            try:
                photo = images.read_image(path)
            except ImageError as error:
                print(f"edgead: error: {error}", file=sys.stderr)
                results.append(_unread(path, detect.threshold, str(error)))
                continue
            detection = detect(photo)
            verdict = "ANOMALOUS" if detection.is_anomalous else "good"
            print(f"{verdict:9}  {detection.score:9.4f}  {path}")
            if detection.doubt is not None:
                print(f"warning: {path}: {detection.doubt}", file=sys.stderr)
            results.append(
                {
                    "path": str(path),
                    "score": detection.score,
                    "threshold": detection.threshold,
                    "is_anomalous": detection.is_anomalous,
                    "regions": [region.to_json() for region in detection.regions],
                    "blank": [list(cell.box) for cell in detection.blank],
                }
            )
            if overlays is not None:
                try:
                    _write_png(overlays / names[path], detection.overlay(photo))
                except EdgeadError as error:  # the scores count for more than their pictures
                    print(f"edgead: error: {error}; the scores go on without", file=sys.stderr)
                    overlays = None
        info = detect.runtime
        threshold = detect.threshold
    verdicts = [result["is_anomalous"] for result in results if "error" not in result]
    if verdicts:
        print(
            f"{sum(verdicts)} of {len(verdicts)} photos are anomalous (threshold {threshold:.4f}, "
            f"{info.name} {info.version}, {info.threads} threads)"
        )
    if args.json:  # of photos that cannot be read too: older verdicts must not stand for them
        files.write_json(args.json, results)
    is_complete = len(verdicts) == len(results) and (overlays is not None or not args.out)
    return 0 if is_complete else 1


def _unread(path: Path, threshold: float, error: str) -> dict[str, Any]:
    return {
        "path": str(path),
        "score": None,
        "threshold": threshold,
        "is_anomalous": None,
        "regions": [],
        "blank": [],
        "error": error,
    }


def _output_names(paths: list[Path]) -> dict[Path, str]:
    """Name the overlays after their photos, with folders in front where names repeat."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        parts = path.resolve().parts
        for depth in range(1, len(parts)):
            name = "_".join(parts[-depth:]) + ".png"
            if name not in taken:
                break
        taken.add(name)
        names[path] = name
    return names


def _write_png(path: Path, picture: images.Image) -> None:
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise EdgeadError(f"OpenCV cannot encode the picture for {path}")
    files.write_bytes(path, encoded.tobytes())
