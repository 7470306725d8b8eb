"""``edgead teach``."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgead.cli import _options
from edgead.errors import UsageError
from edgead.view import advice

if TYPE_CHECKING:
    from edgead.artifact import Artifact


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "teach",
        help="make a detector from photos of good parts in seconds, without training",
        description="Make a detector from photos of good parts in seconds, without training and "
        "without torch: it remembers what they look like to a network with ImageNet weights. One "
        "photo is enough to begin with (needs edgead[teach]).",
    )
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTOS",
        help="photos of good parts, folders of them, or a data set, whose train/good is used",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help=".onnx file to write")
    parser.add_argument(
        "--add",
        metavar="ARTIFACT",
        help="add the photos to what this taught file remembers, without the photos that it was "
        "taught with, and choose its threshold again",
    )
    parser.add_argument(
        "--defects",
        action="append",
        metavar="DIR",
        help="photos of labelled defects: they choose the threshold and, without --stages, the "
        "stages; never photos that are tested with (may be given several times)",
    )
    parser.add_argument(
        "--int8", action="store_const", const=True, help="write an INT8 file in place of FP32"
    )
    parser.add_argument(
        "--detector", metavar="NAME", help="patchcore or padim (default: patchcore)"
    )
    parser.add_argument(
        "--image-size",
        type=_options.image_size,
        metavar="HxW",
        help="the network's input in pixels, multiples of 32 (default: 256x256)",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="efficientnet-lite0, whose weights are installed, or resnet18 or wide_resnet50_2 with "
        "--backbone-weights (default: efficientnet-lite0)",
    )
    parser.add_argument(
        "--backbone-weights",
        metavar="FILE",
        help="ImageNet weights of a ResNet with torchvision's or timm's names: safetensors, or a "
        "state dict of torch.save",
    )
    parser.add_argument(
        "--stages",
        type=_numbers,
        metavar="N,...",
        help="stages of the backbone whose features are compared, 2 to 6, of a ResNet 1 to 3 "
        "(default: 4,5, of a ResNet 2,3, of padim the last of these, or what --defects choose)",
    )
    parser.add_argument(
        "--coreset",
        type=_options.positive_int,
        metavar="N",
        help="largest number of patches that patchcore remembers (default: 500)",
    )
    _options.add_false_positive_rate(parser)
    parser.add_argument(
        "--max-drop",
        type=_options.points,
        metavar="POINTS",
        help="largest loss of accuracy that --int8 may cost, in points (0.01 of a metric; default: "
        "0.5)",
    )
    _options.add_good(parser)
    _options.add_view(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Teach or add, and print what the threshold is worth and the next commands."""
    from edgead import teaching

    given = {
        "int8": args.int8,
        "detector": args.detector,
        "backbone": args.backbone,
        "backbone_weights": args.backbone_weights,
        "image_size": args.image_size,
        "stages": args.stages,
        "coreset": args.coreset,
        "false_positive_rate": args.false_positive_rate,
        "max_drop": args.max_drop,
    }
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    request = _options.view_request(args)
    if args.add is None:
        options = teaching.TeachOptions(**chosen, good=tuple(args.good))
        view = advice.view_of(request, _first(args.photos[0], args.good), options.image_size)
        options = dataclasses.replace(options, view=view)
        made = teaching.teach(args.photos, args.out, options, args.defects)
    elif args.defects:
        raise UsageError("--defects cannot be given with --add: teach again with all photos")
    elif not request.is_empty:
        raise UsageError(
            f"crop, mask and tiles cannot be changed with --add: {args.add} has its own"
        )
    elif chosen:
        name = next(iter(chosen)).replace("_", "-")
        raise UsageError(f"--{name} cannot be changed with --add: {args.add} has it already")
    else:
        made = teaching.add(args.add, args.photos, args.out, tuple(args.good))
    _report(args, made)
    return 0


def _first(given: str, good: Sequence[str]) -> Sequence[Path]:
    """Return photos of which the first shows how large they are; none where there are none."""
    from edgead.datasets import good_photos_in

    path = Path(given)
    if path.is_dir():
        return good_photos_in(path, good, "be taught").train[:1]
    return [path] if path.is_file() else []  # what is missing is refused with the others


def _report(args: argparse.Namespace, made: Artifact) -> None:
    manifest, threshold = made.manifest, made.manifest.threshold
    print(
        f"taught {manifest.name} with {manifest.training.images} photos of good parts"
        + (f" and {manifest.training.held_out} to validate" if manifest.training.held_out else "")
        + f": {made.path} ({made.size_bytes / 1e6:.1f} MB)"
    )
    print(f"threshold {threshold.value:.4f} ({threshold.method}, {threshold.images} photos)")
    if threshold.promise:
        print(threshold.promise)
    if threshold.note:
        print(f"note: {threshold.note}")
    if (Path(args.photos[0]) / "test").is_dir():
        words = ["edgead", "evaluate", args.out, args.photos[0]]
        for name in args.good:
            words += ["--good", name]
        print(f"next: {shlex.join(words)}")
    print(f"next: edgead predict {shlex.quote(args.out)} IMAGES --out results")
    print(f"next: edgead bench {shlex.quote(args.out)}")


def _numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them."""
    return tuple(_options.whole_number(word) for word in _options.listed(text))
