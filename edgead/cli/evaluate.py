"""``edgead evaluate``."""

from __future__ import annotations

import argparse

from edgead import files
from edgead.cli import _data, _leaks, _options


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure accuracy on labelled photos",
        description="Measure a trained or exported detector's accuracy on labelled photos.",
    )
    parser.add_argument("detector", help="run folder or exported file")
    parser.add_argument("data", help="folder in MVTec AD layout")
    parser.add_argument("--json", metavar="FILE", help="write all metrics and scores")
    parser.add_argument("--sheet", metavar="FILE", help="write a picture with the worst errors")
    _leaks.add_option(parser)
    _options.add_good(parser)
    _options.add_runtime(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the table, write what was asked for."""
    from edgead.contact_sheet import contact_sheet, require_picture_name
    from edgead.detector import open_detector
    from edgead.evaluation import evaluate

    if args.sheet:
        require_picture_name(args.sheet)
    (dataset,) = _data.read([args.data], args.good)
    dataset.test_photos()
    pairs = _leaks.find(dataset, args.leak_check)
    with open_detector(args.detector, args.runtime, threads=args.threads) as detect:
        evaluation = evaluate(detect, dataset)
        print(evaluation.table())
        if pairs is not None:
            print(_leaks.line(evaluation, pairs))
        if detect.manifest.threshold.promise:
            print(f"threshold {detect.manifest.threshold.promise}")
        print(f"runtime {detect.runtime.name} {detect.runtime.version}")
        if args.json:
            found = {"near_copies": _leaks.to_json(evaluation, pairs)}
            files.write_json(args.json, evaluation.to_json() | found)
        if args.sheet:
            contact_sheet(evaluation, detect, args.sheet)
    return 0
