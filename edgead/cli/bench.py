"""``edgead bench``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgead import cpu, files, notices
from edgead.cli import _options
from edgead.errors import UsageError
from edgead.printable import printable

if TYPE_CHECKING:
    from edgead.benchmarks.compare import Comparison
    from edgead.benchmarks.request import Request
    from edgead.benchmarks.result import Result
    from edgead.settings import Settings


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure latency, FPS, memory, heat and energy on this device",
        description="Measure an exported detector on this device, on whole frames, with a verdict "
        "on whether the figures are valid. For a folder: measure every file in it in every "
        "runtime, interleaved.",
    )
    parser.add_argument(
        "artifact", nargs="?", metavar="ARTIFACT|DIR", help="exported file, or folder of them"
    )
    _options.add_runtime(parser)
    how = parser.add_argument_group("measurement")
    how.add_argument(
        "--duration", type=float, metavar="S", help="minimum duration in seconds (default: 10)"
    )
    how.add_argument(
        "--samples",
        type=_options.positive_int,
        metavar="N",
        help="minimum number of latencies (default: 64, enough for a p90; a p99 needs 662)",
    )
    how.add_argument(
        "--images", nargs="+", metavar="PATH", help="photos to use (default: generated frames)"
    )
    how.add_argument(
        "--frame-size",
        type=_options.image_size,
        metavar="HxW",
        help="size of generated frames (default: 1080x1920)",
    )
    how.add_argument(
        "--precision",
        choices=["f32", "bf16", "f16"],
        help="arithmetic of the layers that are not INT8; bf16 and f16 change the scores; runtimes "
        "without this option refuse it (default: what the scores were checked with)",
    )
    how.add_argument(
        "--hint",
        choices=["latency", "throughput"],
        help="optimise for latency (one frame) or throughput (several streams); runtimes without "
        "this option refuse it (default: latency)",
    )
    how.add_argument(
        "--batch", type=_options.positive_int, metavar="N", help="offline: N frames per call"
    )
    how.add_argument(
        "--streams",
        type=_options.positive_int,
        metavar="N",
        help="multi-stream: N cameras share the detector",
    )
    how.add_argument(
        "--camera-fps",
        type=float,
        metavar="FPS",
        help="frames arrive at this rate: measure whether the detector keeps up and how many "
        "frames are late",
    )
    how.add_argument(
        "--cooldown", type=float, metavar="S", help="idle for S seconds first (default: 0)"
    )
    how.add_argument(
        "--set-governor",
        metavar="NAME",
        help="set the CPU frequency governor during the measurement, such as 'performance' (needs "
        "root; the old one is restored)",
    )
    how.add_argument(
        "--settings",
        action="store_true",
        default=None,
        help="use the runtime and threads of the settings file beside the artifact",
    )
    other = parser.add_argument_group("other modes")
    other.add_argument(
        "--tune",
        action="store_true",
        help="measure runtimes and thread counts, interleaved, and propose the best",
    )
    other.add_argument(
        "--save-settings",
        action="store_true",
        help="with --tune: write the proposal beside the artifact (NAME.settings.json)",
    )
    other.add_argument(
        "--rerun", metavar="FILE", help="repeat the measurement in a --json file, and compare"
    )
    other.add_argument(
        "--line",
        metavar="LINE.toml",
        help="measure a line as it will run, from frame to output; its outputs are used",
    )
    other.add_argument(
        "--compare", nargs="+", metavar="FILE", help="show --json files side by side"
    )
    out = parser.add_argument_group("output")
    out.add_argument("--json", metavar="FILE", help="write all figures and every latency")
    out.add_argument("--html", metavar="FILE", help="write a page with charts")
    out.add_argument(
        "--strict", action="store_true", help="exit with code 3 when a verdict is INVALID"
    )
    parser.set_defaults(run=run, runtime=None)


def run(args: argparse.Namespace) -> int:
    """Measure or compare, print the report, write the files."""
    if args.line:
        return _line(args)
    if args.compare:
        return _compare(args)
    if args.rerun:
        return _rerun(args)
    if args.artifact is None:
        raise UsageError("give an exported file or an export folder: edgead bench ARTIFACT")
    if args.save_settings and not args.tune:
        raise UsageError("--save-settings writes the result of --tune: add --tune")
    if args.save_settings and (args.precision or args.hint):
        raise UsageError(
            "--save-settings stores only the runtime and the threads, so that the checked scores "
            "stay valid: leave out --precision and --hint"
        )
    _warn_of_threads(args.threads)
    if args.tune:
        return _tune(args)
    if Path(args.artifact).is_dir():
        return _folder(args)
    return _file(args)


def _line(args: argparse.Namespace) -> int:
    from edgead.benchmarks.line import measure_line
    from edgead.benchmarks.protocol import Protocol
    from edgead.line.config import LineConfig, place_of, table_of

    given = [name for name in _given(args) if name not in ("duration", "samples")]
    given += [name for name in ("rerun", "compare", "html") if getattr(args, name)]
    if given or args.artifact:
        raise UsageError(
            "--line takes everything but --duration, --samples and --json from the "
            "configuration: leave out "
            + (f"--{given[0].replace('_', '-')}" if given else str(args.artifact))
        )
    path = Path(args.line)
    config = LineConfig.from_table(table_of(path), place_of(path))
    config = dataclasses.replace(config, state=None)
    asked = Protocol.of_options(vars(args))
    found = measure_line(config, asked.seconds, asked.samples, notices.say)
    print(found.table())
    if args.json:
        files.write_json(args.json, found.to_json())
    return 3 if args.strict and not found.is_valid else 0


def _file(args: argparse.Namespace) -> int:
    from edgead.artifact import read_artifact
    from edgead.benchmarks import session
    from edgead.settings import Settings

    artifact = read_artifact(args.artifact)
    settings = None
    if args.settings:
        if args.runtime or args.threads:
            raise UsageError(
                "--settings sets runtime and threads: leave out --runtime and --threads"
            )
        settings = Settings.read(artifact.path, artifact.sha256)
    result = session.of_file(artifact, _request(args, settings), notices.say)
    return _show(args, result)


def _folder(args: argparse.Namespace) -> int:
    from edgead.benchmarks import session

    if args.settings:
        raise UsageError("--settings works with one file: give the file instead of its folder")
    found = session.of_folder(Path(args.artifact), _request(args), notices.say)
    for name, reason in found.left_out.items():
        notices.say(f"not measured: {name}: {reason}")
    return _side_by_side(args, found.comparison)


def _tune(args: argparse.Namespace) -> int:
    from edgead.artifact import read_artifact
    from edgead.benchmarks import session

    if Path(args.artifact).is_dir():
        raise UsageError("--tune works with one file: give the file instead of its folder")
    if args.threads or args.settings:
        raise UsageError("--tune chooses the threads itself: leave out --threads and --settings")
    artifact = read_artifact(args.artifact)
    found = session.tuned(artifact, _request(args), notices.say)
    code = _side_by_side(args, found.comparison)
    best = found.settings
    if best.threads is None:  # the runtime does not use them
        print(f"\nbest here: --runtime {best.runtime}")
    else:
        print(
            f"\nbest here: --runtime {best.runtime} --threads {best.threads} (fewest threads "
            "within 3 % of the fastest)"
        )
    if args.save_settings:
        path = best.write(artifact.path)
        print(
            f"wrote {path}: use it with 'edgead bench {args.artifact} --settings' and "
            "EdgeDetector.with_settings(path)"
        )
    return code


def _compare(args: argparse.Namespace) -> int:
    from edgead.benchmarks.compare import Comparison
    from edgead.benchmarks.stored import read_results

    given = [*_given(args), *(["rerun"] if args.rerun else [])]
    if given or args.artifact:
        raise UsageError(
            "--compare only reads files and measures nothing: leave out "
            + (f"--{given[0].replace('_', '-')}" if given else str(args.artifact))
        )
    results = [result for path in args.compare for result in read_results(path)]
    if len(results) < 2:
        raise UsageError(
            "--compare needs at least two results: edgead bench --compare A.json B.json"
        )
    return _side_by_side(args, Comparison.of_runs(results))


def _rerun(args: argparse.Namespace) -> int:
    from edgead.benchmarks import session
    from edgead.benchmarks.compare import Comparison
    from edgead.benchmarks.request import Request

    given = _given(args)
    if given:
        raise UsageError(
            f"--rerun takes all settings from {args.rerun}: leave out "
            f"--{given[0].replace('_', '-')}"
        )
    before, artifact = session.to_repeat(args.rerun, args.artifact)
    after = session.of_file(artifact, Request.of_result(before), notices.say)
    code = _show(args, after)
    print()
    print(Comparison.of_runs([before, after]).table())
    return code


def _request(args: argparse.Namespace, settings: Settings | None = None) -> Request:
    """Read how to measure; the runtime and threads are those of the settings where there are."""
    from edgead.benchmarks.protocol import Protocol
    from edgead.benchmarks.request import Request

    found = {"runtime": settings.runtime, "threads": settings.threads} if settings else {}
    request = Request(
        Protocol.of_options({**vars(args), **found}),
        images=tuple(args.images) if args.images else None,
        governor=args.set_governor,
    )
    if args.frame_size is None:
        return request
    if args.images:
        raise UsageError(
            "--frame-size applies to generated frames: leave out --frame-size or --images"
        )
    return dataclasses.replace(request, frame_size=args.frame_size)


def _given(args: argparse.Namespace) -> list[str]:
    """Name the options of a measurement that were given."""
    from edgead.benchmarks.protocol import OPTIONS

    names = ("images", "frame_size", *OPTIONS.values(), "set_governor", "settings")
    given = [name for name in names if getattr(args, name) is not None]
    return [*given, *(["tune"] if args.tune else [])]


def _show(args: argparse.Namespace, result: Result) -> int:
    """Print and write one result."""
    from edgead.benchmarks import html_report, report

    print(report.table(result))
    if args.json:
        files.write_json(args.json, result)
    if args.html:
        html_report.write_result(args.html, result)
    return _exit_code(args, [result])


def _side_by_side(args: argparse.Namespace, comparison: Comparison) -> int:
    """Print and write several results."""
    from edgead.benchmarks import html_report, report

    results = [column.result for column in comparison.columns]
    if comparison.in_turns:
        print(f"{printable(results[0]['device']['line'])}\n{report.protocol(results[0])}\n")
    print(comparison.table())
    for line in comparison.reasons():
        print(line)
    if args.json:
        files.write_json(args.json, comparison.to_json())
    if args.html:
        html_report.write_comparison(args.html, comparison)
    return _exit_code(args, results)


def _warn_of_threads(threads: int | None) -> None:
    cores = cpu.physical_cores()
    if threads and threads > cores:
        notices.warn(f"{threads} threads compete for {cores} physical cores: this may be slower")


def _exit_code(args: argparse.Namespace, results: Sequence[Result]) -> int:
    invalid = any(result["verdict"] != "VALID" for result in results)
    return 3 if args.strict and invalid else 0
