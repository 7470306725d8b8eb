"""``edgead train``."""

from __future__ import annotations

import argparse
import shlex

from edgead.cli import _data, _leaks, _options
from edgead.view import advice


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a detector on photos of good parts",
        description="Train a detector on photos of good parts (needs edgead[train]).",
    )
    parser.add_argument("data", help="folder in MVTec AD layout, or of photos of good parts")
    parser.add_argument("--out", required=True, metavar="RUN", help="run folder to write")
    parser.add_argument("--model", default=None, help="detector (default: efficientad-n)")
    parser.add_argument(
        "--image-size",
        type=_options.image_size,
        metavar="HxW",
        help="the network's input in pixels (default: 256x256)",
    )
    parser.add_argument("--seed", type=_options.seed, metavar="N", help="random seed (default: 0)")
    parser.add_argument(
        "--option",
        type=_options.named_value,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the detector (listed by 'edgead models'); may be repeated",
    )
    parser.add_argument(
        "--teacher",
        "--backbone-weights",
        metavar="FILE",
        help="pretrained weights of the teacher or backbone (default: the detector's own). "
        "'anomalib': download anomalib's teacher for EfficientAd-S or -M. 'random': untrained, "
        "where the detector allows it",
    )
    _options.add_false_positive_rate(parser)
    parser.add_argument(
        "--threshold-data",
        metavar="DATA",
        help="choose the threshold by the best F1 score on these labelled photos instead; do not "
        "use your test photos",
    )
    _options.add_good(parser)
    _leaks.add_option(parser)
    _options.add_view(parser)
    _options.add_device(parser)
    parser.add_argument(
        "--resume", action="store_true", help="continue from the last checkpoint of the run folder"
    )
    steps = parser.add_argument_group(
        "gradient training",
        "For detectors that train by gradient steps ('edgead models' says which); others refuse "
        "these options.",
    )
    steps.add_argument("--steps", type=_options.positive_int, metavar="N", help="training steps")
    steps.add_argument(
        "--batch-size", type=_options.positive_int, metavar="N", help="photos per step"
    )
    steps.add_argument("--learning-rate", type=float, metavar="X", help="peak learning rate")
    steps.add_argument(
        "--penalty-images",
        metavar="DIR",
        help="images without any part, for the penalty loss of EfficientAd (default: generated "
        "images)",
    )
    steps.add_argument(
        "--precision",
        choices=["32-true", "bf16-mixed"],
        help="training precision (default: bf16-mixed where the processor supports it)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, and print the next command."""
    from edgead.training import Run, TrainConfig, train
    from edgead.training.defaults import refuse_another

    stored = Run(args.out).read_record().config if args.resume else None
    given = {
        "model": args.model or (stored.model if stored else "efficientad-n"),
        "data": args.data,
        "image_size": args.image_size,
        "steps": args.steps,
        "batch_size": args.batch_size,
        "learning_rate": args.learning_rate,
        "seed": args.seed,
        "teacher": args.teacher,
        "penalty_images": args.penalty_images,
        "precision": args.precision,
        "false_positive_rate": args.false_positive_rate,
        "threshold_data": args.threshold_data,
        "options": dict(args.option),
        "good": tuple(args.good),
    }
    if stored is not None:  # what was typed counts, also where it is a default
        for name in ("image_size", "seed", "false_positive_rate"):
            if given[name] is not None:
                refuse_another(Run(args.out), name, given[name], getattr(stored, name))
    good = args.good or (stored.good if stored else ())
    folders = [args.data, *([args.threshold_data] if args.threshold_data else [])]
    request = _options.view_request(args)
    dataset, *_ = _data.read(folders, good)
    size = args.image_size or (stored.image_size if stored else TrainConfig.image_size)
    if stored is None or not request.is_empty:
        given["view"] = advice.view_of(request, dataset.train_photos(), size)
    _leaks.warn(dataset, _leaks.find(dataset, args.leak_check) or ())
    config = TrainConfig(**{key: value for key, value in given.items() if value is not None})
    manifest = train(config, args.out, args.device, args.resume)
    threshold = manifest.threshold
    print(f"trained {manifest.model.name} on {manifest.training.images} photos: {args.out}")
    print(f"threshold {threshold.value:.4f} ({threshold.method}, {threshold.images} photos)")
    if threshold.promise:
        print(threshold.promise)
    if threshold.note:
        print(f"note: {threshold.note}")
    if dataset.test:
        words = ["edgead", "evaluate", args.out, args.data]
        for name in good:
            words += ["--good", name]
        print(f"next: {shlex.join(words)}")
    print(f"next: edgead export {args.out} --out exports")
    return 0
