"""``edgead compare``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from edgead import notices
from edgead.cli import _options
from edgead.errors import UsageError
from edgead.printable import printable


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare detectors on your data and machine, with a recommendation",
        description="Train and teach detectors or use finished ones, export every precision that "
        "passes its gate, measure accuracy, speed and memory on this machine, and write one report "
        "with a recommendation. The same command continues an interrupted comparison. Exit code "
        "3: no variant is within the limits.",
    )
    parser.add_argument("data", help="folder in MVTec AD layout, or photos of good parts")
    parser.add_argument("--out", required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--models",
        type=_options.listed,
        default=(),
        metavar="A,B,RUN",
        help="detectors to train or to teach, run folders of trained detectors, and taught files "
        "(default: every detector that this machine makes in reasonable time)",
    )
    _options.add_good(parser)
    _options.add_trainings(parser)
    parser.add_argument(
        "--seed",
        type=_options.seed,
        default=0,
        metavar="N",
        help="random seed of every training (default: 0)",
    )
    parser.add_argument(
        "--train-device",
        default="auto",
        choices=["auto", "cpu", "cuda", "mps"],
        help="device to train on (default: a GPU if there is one)",
    )
    parser.add_argument(
        "--precisions",
        type=_options.listed,
        default=("fp32", "fp16", "int8"),
        metavar="LIST",
        help="precisions to export; FP32 is always included (default: fp32,fp16,int8)",
    )
    _options.add_max_drop(parser)
    limits = parser.add_argument_group("limits, for the recommendation")
    limits.add_argument(
        "--max-latency",
        type=float,
        metavar="MS",
        help="maximum 90th-percentile latency of a whole frame",
    )
    limits.add_argument(
        "--max-memory",
        type=float,
        metavar="MIB",
        help="maximum peak memory of a process that only predicts",
    )
    limits.add_argument("--min-auroc", type=float, metavar="X", help="minimum image AUROC, 0 to 1")
    limits.add_argument(
        "--device",
        default="here",
        metavar="NAME",
        help="device that the limits apply to: 'here', or a name from --measure-on (default: here)",
    )
    parser.add_argument(
        "--measure-on",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="speed of another device: a file of 'edgead bench --json' from that device, for a "
        "file exported here; may be given several times",
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds of the speed measurement of each variant (default: 5)",
    )
    parser.add_argument(
        "--threads",
        type=_options.positive_int,
        metavar="N",
        help="threads of one inference (default: one per physical core, within a container's CPU "
        "quota)",
    )
    _options.add_view(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print the tables and the recommendation."""
    import torch  # noqa: F401  # needed to train and to export: fail before anything is written

    from edgead.compare import Constraints, Plan, compare, markdown
    from edgead.compare.run import JSON_NAME, MARKDOWN_NAME, PAGE_NAME
    from edgead.datasets import Dataset
    from edgead.view import advice

    request, size = _options.view_request(args), args.image_size
    view = None
    if not request.is_empty:
        dataset = Dataset.from_folder(args.data, tuple(args.good))
        view = advice.view_of(request, dataset.train_photos(), size)
    plan = Plan(
        data=Path(args.data),
        out=Path(args.out),
        detectors=args.models,
        steps=_options.steps_by_model(args.steps),
        teachers=_options.teachers_by_model(args.teacher),
        options=_options.options_by_model(args.option),
        seed=args.seed,
        image_size=args.image_size,
        train_device=args.train_device,
        precisions=args.precisions,
        max_drop=args.max_drop,
        threads=args.threads,
        seconds=args.duration,
        elsewhere=_benches(args.measure_on),
        constraints=Constraints(args.max_latency, args.max_memory, args.min_auroc, args.device),
        good=tuple(args.good),
        view=view,
    )
    comparison = compare(plan, shlex.join(["edgead", *args.words]))
    print(markdown.variant_table(comparison, plan.constraints.device))
    for entry in comparison.left_out:
        print(printable(f"not compared: {entry.what}: {entry.reason}"))
    for remark in comparison.remarks:
        print(printable(f"note: {remark}"))
    print(markdown.recommendation(comparison).replace("**", ""))
    out = plan.out
    print(
        printable(
            f"wrote {out / JSON_NAME}, {out / MARKDOWN_NAME}; open {out / PAGE_NAME} in a browser"
        )
    )
    chosen = comparison.recommendation.chosen
    if chosen is None:
        notices.say("edgead: no variant is within the limits")
        return 3
    print(printable(f"next: {shlex.join(['edgead', 'bench', str(out / chosen.file)])}"))
    return 0


def _benches(words: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        given = Path(path) if equals else Path(word)
        name = name if equals else given.stem
        if name in found or name == "here":
            raise UsageError(f"--measure-on: two devices are called '{name}'; write NAME={given}")
        found[name] = given
    return found
