"""``edgead bench``."""

from __future__ import annotations

import argparse
import sys

from edgead import cpu, files
from edgead.cli import _options


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure latency, FPS and memory on this device",
        description="Measure an exported detector here: whole frames, one after the other.",
    )
    parser.add_argument("artifact", metavar="ARTIFACT", help="exported .onnx file")
    parser.add_argument(
        "--duration", type=float, default=10.0, metavar="S", help="seconds at least (default: 10)"
    )
    parser.add_argument(
        "--images", nargs="+", metavar="PATH", help="photos to use (default: generated frames)"
    )
    parser.add_argument(
        "--frame-size",
        type=_options.image_size,
        default=(1080, 1920),
        metavar="HxW",
        help="size of generated frames (default: 1080x1920)",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures and every latency")
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 when the verdict is INVALID"
    )
    _options.add_runtime(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON."""
    from edgead.artifact import read_artifact
    from edgead.benchmarks import Protocol, frames, measure, memory, report

    protocol = Protocol(args.duration, runtime=args.runtime, threads=args.threads)
    artifact = read_artifact(args.artifact)
    if args.threads and args.threads > cpu.physical_cores():
        print(
            f"warning: {args.threads} threads on {cpu.physical_cores()} physical cores get in each "
            "other's way",
            file=sys.stderr,
        )
    chosen = frames.from_photos(args.images) if args.images else frames.generated(args.frame_size)
    measurement = measure(artifact.path, chosen, protocol)
    peak = memory.peak_rss_mib(
        artifact.path, measurement.runtime.name, args.threads, measurement.frame_size
    )
    print(report.table(measurement, artifact, peak))
    if args.json:
        files.write_json(args.json, report.to_json(measurement, artifact, peak))
    return 3 if args.strict and measurement.invalid_because else 0
