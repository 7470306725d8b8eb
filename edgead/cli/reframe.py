"""``edgead reframe``."""

from __future__ import annotations

import argparse

from edgead.cli import _options


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "reframe",
        help="give an exported file another crop or mask",
        description="Give an exported ONNX file another crop or mask, and fit its threshold again "
        "on good photos. Without --crop the file keeps its own. It is refused where good photos "
        "score higher than before.",
    )
    parser.add_argument("artifact", metavar="ARTIFACT", help="exported .onnx file")
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTOS",
        help="photos of good parts that were not used for training, or folders of them",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help=".onnx file to write")
    _options.add_crop_and_mask(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Change the file, and print its new threshold."""
    from edgead import photo_files
    from edgead.view.reframe import reframe

    photos = photo_files.find_and_report(args.photos)
    made = reframe(args.artifact, photos, args.out, args.crop, args.mask)
    threshold = made.manifest.threshold
    print(f"{made.path} has the new view; good photos: {threshold.images}")
    print(f"threshold {threshold.value:.4f} ({threshold.method})")
    if threshold.note:
        print(f"note: {threshold.note}")
    return 0
