"""``edgead predict``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgead import files, images, notices, photo_files
from edgead.cli import _options
from edgead.cli._overlays import Overlays
from edgead.errors import EdgeadError
from edgead.photo_files import PhotoListing
from edgead.printable import printable

if TYPE_CHECKING:
    from edgead.detector import EdgeDetector

SCHEMA = 1
"""Schema number of each entry of ``predict --json``; docs/reference/json.md has the keys."""


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "predict",
        help="score photos",
        description="Score photos with an exported detector; draw heat maps with --out.",
    )
    parser.add_argument("detector", metavar="ARTIFACT", help="exported file, or a run folder")
    parser.add_argument("images", nargs="+", help="photos and folders of photos")
    parser.add_argument("--out", metavar="DIR", help="write a heat-map overlay for each photo")
    parser.add_argument("--json", metavar="FILE", help="write scores and regions of all photos")
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="threshold to use instead of the detector's own",
    )
    _options.add_runtime(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score the photos, print a line each, write what was asked for.

    A photo that cannot be read is reported and the others are scored: a folder from a line has one
    half-written file at times. The exit code is 1 then.
    """
    from edgead.detector import open_detector

    listing = photo_files.find(args.images, outputs=[args.out] if args.out else [])
    unreadable = listing.unreadable()
    others = tuple(entry for entry in listing.skipped if entry not in unreadable)
    photo_files.report(PhotoListing(listing.photos, others))
    overlays = Overlays(args.out, listing.photos) if args.out else None
    with open_detector(args.detector, args.runtime, args.threshold, args.threads) as detect:
        results = [_scored(path, detect, overlays) for path in listing.photos]
        info = detect.runtime
        threshold = detect.threshold
    results += [_unread(entry.path, threshold, entry.sentence()) for entry in unreadable]
    verdicts = [result["is_anomalous"] for result in results if "error" not in result]
    if verdicts:
        threads = "" if info.threads is None else f", {info.threads} threads"
        print(
            f"{sum(verdicts)} of {len(verdicts)} photos are anomalous (threshold {threshold:.4f}, "
            f"{info.name} {info.version}{threads})"
        )
    if args.json:  # of photos that cannot be read too: older verdicts must not stand for them
        files.write_json(args.json, results)
    is_complete = len(verdicts) == len(results) and (overlays is None or not overlays.failed)
    return 0 if is_complete else 1


def _scored(path: Path, detect: EdgeDetector, overlays: Overlays | None) -> dict[str, Any]:
    """Score one photo, print its line and draw its overlay."""
    try:
        photo = images.read_image(path)
        detection = detect(photo)
    except EdgeadError as error:
        return _unread(path, detect.threshold, str(error))
    verdict = "ANOMALOUS" if detection.is_anomalous else "good"
    print(f"{verdict:9}  {detection.score:9.4f}  {printable(path)}")
    if detection.doubt is not None:
        notices.warn(f"{path}: {detection.doubt}")
    if overlays is not None:
        overlays.write(path, photo, detection)
    return {"schema": SCHEMA, "path": str(path), **detection.to_json()}


def _unread(path: Path, threshold: float, error: str) -> dict[str, Any]:
    """Report a photo that has no score, and give its entry."""
    notices.error(error)
    return {
        "schema": SCHEMA,
        "path": str(path),
        "score": None,
        "threshold": threshold,
        "is_anomalous": None,
        "regions": [],
        "blank": [],
        "error": error,
    }
