"""``edgead view``."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgead import photo_files
from edgead.cli import _options


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "view",
        help="draw what a detector sees of photos: crop, mask, tiles",
        description="Draw what a detector sees of photos, to choose --crop, --mask and --tiles by "
        "looking: the judged part, the ignored regions, the windows, and how large a defect is for "
        "the network.",
    )
    parser.add_argument("images", nargs="+", help="photos and folders of photos")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument(
        "--artifact",
        metavar="FILE",
        help="draw the view of this exported file in place of the options below",
    )
    parser.add_argument(
        "--image-size",
        type=_options.image_size,
        default=None,
        metavar="HxW",
        help="the network's input in pixels (default: 256x256)",
    )
    parser.add_argument(
        "--defect",
        type=_options.positive_int,
        default=20,
        metavar="PX",
        help="side of a defect in pixels of the photo (default: 20)",
    )
    _options.add_view(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw each photo, and print what becomes of the first."""
    from edgead import images
    from edgead.artifact import read_artifact
    from edgead.cli._overlays import names, write_png
    from edgead.errors import UsageError
    from edgead.view import View, draw

    request = _options.view_request(args)
    if args.artifact is not None and (args.image_size is not None or not request.is_empty):
        raise UsageError(
            f"{args.artifact} has a view of its own: leave out --artifact, or the options of a view"
        )
    listing = photo_files.find(args.images, outputs=[args.out])
    photo_files.report(listing)
    out = Path(args.out)
    named = names(listing.photos, out)
    view: View | None = None
    for path in listing.photos:
        photo = images.read_image(path)
        frame = photo.shape[0], photo.shape[1]
        if view is None:
            if args.artifact is not None:
                view = View.of(read_artifact(args.artifact).manifest)
            else:
                size = args.image_size or (256, 256)
                view = View(size, spec=request.resolve(frame, size))
            for line in draw.described(view, frame, (args.defect,)):
                print(line)
        view.require_aspect(frame, path)
        out.mkdir(parents=True, exist_ok=True)
        write_png(out / named[path], draw.on_photo(photo, view, args.defect))
    count = len(listing.photos)
    pictures = "1 picture" if count == 1 else f"{count} pictures"
    print(f"{pictures} in {out}: green is a defect of {args.defect} px")
    return 0
