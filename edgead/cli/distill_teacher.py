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
        help="distil a teacher from a larger network",
        description="Distil a teacher for EfficientAd, or a ResNet-18 for stfpm and "
        "reverse-distillation-resnet18, from the features of a larger network, on "
        "photos of any subject (needs edgead[train]).",
    )
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="FILE",
        help="source network: torchvision's weights of wide_resnet101_2 (as in the paper) or "
        "wide_resnet50_2, or an .onnx file with input float32 [N,3,256,256] RGB in 0..1 and "
        "output features [N,384,h,w]",
    )
    parser.add_argument(
        "--images", required=True, metavar="DIR", help="folder of photos of any subject"
    )
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
        help="detector to make the teacher for, or resnet18 (default: efficientad-n)",
    )
    parser.add_argument("--out", required=True, metavar="FILE.safetensors", help="file to write")
    for option, kind, text in (
        ("--steps", _options.positive_int, "training steps"),
        ("--batch-size", _options.positive_int, "views per step"),
        (
            "--window",
            _options.positive_int,
            "side of the window of a view that one step uses, in pixels",
        ),
        ("--views", _options.positive_int, "random crops per photo"),
        ("--learning-rate", float, "peak learning rate"),
        ("--seed", _options.seed, "random seed"),
        ("--name", str, "name of the teacher in manifests"),
        (
            "--licence",
            str,
            "licence terms of the teacher, written into its file and into manifests",
        ),
    ):
        parser.add_argument(option, type=kind, help=text)
    for option, text in (
        ("--grey", "converted to grey (default: 0.2)"),
        ("--light", "made darker or brighter (default: 0)"),
        ("--blur", "blurred (default: 0)"),
        ("--turn", "rotated by multiples of 90 degrees (default: 0)"),
    ):
        parser.add_argument(
            option, type=float, metavar="SHARE", help=f"share of the random crops that is {text}"
        )
    _options.add_device(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Distil and say how to use the result."""
    from edgead.distillation import DistillConfig, distill_teacher
    from edgead.distillation.changes import Changes

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
            f"--{next(iter(shares))} applies to random crops, and --views 1 has none: use --views "
            "2 or more"
        )
    error = distill_teacher(config, Path(args.out), args.device)
    print(f"wrote {args.out}: {error:.1%} of the source features' variance is left unexplained")
    model = "stfpm" if args.model == "resnet18" else args.model
    print(f"next: edgead train DATA --model {model} --teacher {args.out} --out RUN")
    return 0
