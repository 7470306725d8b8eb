"""``edgead distill-teacher``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from edgead.cli import _options
from edgead.errors import UsageError


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "distill-teacher",
        help="make a teacher from a larger network",
        description="Distil a teacher for EfficientAd, or a ResNet-18 for stfpm and "
        "reverse-distillation-resnet18, from a larger network's features, on photos of anything "
        "(needs edgead[train]).",
    )
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="FILE",
        help="source network: torchvision's weights of wide_resnet101_2 (the paper's) or "
        "wide_resnet50_2, or an .onnx from float32 [N,3,256,256] RGB in 0..1 to [N,384,h,w] "
        "features",
    )
    parser.add_argument("--images", required=True, metavar="DIR", help="photos of anything")
    parser.add_argument(
        "--model",
        default="efficientad-n",
        choices=[
            "efficientad-n",
            "efficientad-s",
            "efficientad-m",
            "efficientad-survey",
            "resnet18",
        ],
        help="detector that the teacher is for, or resnet18 (default: efficientad-n)",
    )
    parser.add_argument("--out", required=True, metavar="FILE.safetensors", help="file to write")
    for option, kind, text in (
        ("--steps", _options.positive_int, "iterations"),
        ("--batch-size", _options.positive_int, "views an iteration"),
        ("--window", _options.positive_int, "pixels a side that an iteration takes of a view"),
        ("--views", _options.positive_int, "crops of each photo"),
        ("--learning-rate", float, "at its highest"),
        ("--seed", _options.seed, "of every draw"),
        ("--name", str, "what manifests call the teacher"),
        ("--licence", str, "what a user of the teacher must know about its licence"),
    ):
        parser.add_argument(option, type=kind, help=text)
    for option, text in (
        ("--grey", "without colour (default: 0.2)"),
        ("--light", "darker or brighter (default: 0)"),
        ("--blur", "out of focus (default: 0)"),
        ("--turn", "turned by quarters (default: 0)"),
    ):
        parser.add_argument(
            option, type=float, metavar="SHARE", help=f"of the random crops that is {text}"
        )
    _options.add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Distil and say how to use the result."""
    from edgead.teachers.changes import Changes
    from edgead.teachers.distill import DistillConfig, distill_teacher

    options = ("steps", "batch_size", "window", "views", "learning_rate", "seed", "name", "licence")
    given = {name: value for name in options if (value := getattr(args, name)) is not None}
    names = [field.name for field in dataclasses.fields(Changes)]
    shares = {name: share for name in names if (share := getattr(args, name)) is not None}
    config = DistillConfig(
        Path(args.source),
        Path(args.images),
        args.model.removeprefix("efficientad-"),
        changes=Changes(**shares),
        **given,
    )
    if shares and config.views == 1:
        raise UsageError(
            f"--{next(iter(shares))} is of the random crops, of which --views 1 takes none: give "
            "--views 2 or more"
        )
    error = distill_teacher(config, Path(args.out), args.device)
    print(f"wrote {args.out}: {error:.1%} of the source features' variance is left unexplained")
    model = "stfpm" if args.model == "resnet18" else args.model
    print(f"next: edgead train DATA --model {model} --teacher {args.out} --out RUN")
    return 0
