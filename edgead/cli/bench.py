"""``edgead bench``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgead import cpu, files, notices
from edgead.cli import _options
from edgead.errors import EdgeadError, UsageError
from edgead.printable import printable

if TYPE_CHECKING:
    from edgead.artifact import Artifact
    from edgead.benchmarks.measure import Measurement
    from edgead.benchmarks.memory import Peak
    from edgead.benchmarks.protocol import Protocol
    from edgead.benchmarks.result import Result
    from edgead.images import Image

_FRAME_SIZE = (1080, 1920)

# Options of the measurement; --rerun takes all of them from its file.
_PROTOCOL = (
    "images",
    "frame_size",
    "runtime",
    "threads",
    "precision",
    "hint",
    "batch",
    "streams",
    "camera_fps",
    "duration",
    "samples",
    "cooldown",
    "set_governor",
    "settings",
)


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
    from edgead.benchmarks.governor import governor

    _warn_of_threads(args.threads)
    with governor(args.set_governor):
        if args.tune:
            return _tune(args)
        if Path(args.artifact).is_dir():
            return _folder(args)
        return _file(args)


def _file(args: argparse.Namespace) -> int:
    from edgead.artifact import read_artifact

    artifact = read_artifact(args.artifact)
    if args.settings:
        _take_settings(args, artifact)
    result = _measured(args, artifact, _protocol(args), _frames(args))
    return _finish(args, [result])


def _measured(
    args: argparse.Namespace, artifact: Artifact, protocol: Protocol, frames: Sequence[Image]
) -> Result:
    from edgead.benchmarks.device import Device
    from edgead.benchmarks.measure import measure
    from edgead.benchmarks.result import to_result

    device = Device.of()
    measurement = measure(artifact.path, frames, protocol, announce=_announce)
    peak = _peak(artifact, measurement)
    return to_result(measurement, artifact, peak, device, _configuration(args))


def _peak(artifact: Artifact, measurement: Measurement) -> Peak | None:
    """Measure memory; figures that are there already are not lost if that fails."""
    from edgead.benchmarks import memory

    protocol = measurement.protocol
    try:
        return memory.peak(
            artifact.path,
            protocol.runtime,
            protocol.threads,
            measurement.frame_sizes[0],
            precision=protocol.precision,
            hint=protocol.hint,
        )
    except EdgeadError as error:
        notices.warn(f"memory was not measured: {error}")
        return None


def _finish(args: argparse.Namespace, results: Sequence[Result]) -> int:
    """Print and write one result."""
    from edgead.benchmarks import html_report, report

    (result,) = results
    print(report.table(result))
    if args.json:
        files.write_json(args.json, result)
    if args.html:
        html_report.write_result(args.html, result)
    return _exit_code(args, results)


def _folder(args: argparse.Namespace) -> int:
    from edgead.benchmarks import alternation
    from edgead.benchmarks.compare import Comparison

    if args.settings:
        raise UsageError("--settings works with one file: give the file instead of its folder")
    protocol = _protocol(args)
    candidates, left_out = alternation.in_folder(
        Path(args.artifact), protocol.runtime, protocol.threads
    )
    turns = alternation.take_turns(candidates, _frames(args), protocol, announce=_announce)
    results = _results(args, turns, with_memory=True)
    comparison = Comparison.of_turns(results, turns.ratios)
    for name, reason in {**left_out, **turns.left_out}.items():
        notices.say(f"not measured: {name}: {reason}")
    return _side_by_side(args, comparison, [ratio.to_json() for ratio in turns.ratios])


def _tune(args: argparse.Namespace) -> int:
    from edgead.artifact import read_artifact
    from edgead.benchmarks.compare import Comparison
    from edgead.benchmarks.tune import tune

    if Path(args.artifact).is_dir():
        raise UsageError("--tune works with one file: give the file instead of its folder")
    if args.threads or args.settings:
        raise UsageError("--tune chooses the threads itself: leave out --threads and --settings")
    artifact = read_artifact(args.artifact)
    tuning = tune(artifact, _frames(args), _protocol(args), _announce)
    results = _results(args, tuning.turns, with_memory=False)
    comparison = Comparison.of_turns(results, tuning.turns.ratios)
    code = _side_by_side(args, comparison, [ratio.to_json() for ratio in tuning.turns.ratios])
    best = tuning.settings
    print(
        f"\nbest here: --runtime {best.runtime} --threads {best.threads} (fewest threads within "
        "3 % of the fastest)"
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

    given = [*_given(args), *(["tune"] if args.tune else []), *(["rerun"] if args.rerun else [])]
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
    return _side_by_side(args, Comparison.of_runs(results), None)


def _rerun(args: argparse.Namespace) -> int:
    from edgead.artifact import read_artifact
    from edgead.benchmarks.compare import Comparison
    from edgead.benchmarks.governor import governor
    from edgead.benchmarks.stored import read_results, require_repeatable

    given = [*_given(args), *(["tune"] if args.tune else [])]
    if given:
        raise UsageError(
            f"--rerun takes all settings from {args.rerun}: leave out "
            f"--{given[0].replace('_', '-')}"
        )
    results = read_results(args.rerun)
    if len(results) > 1:
        raise UsageError(
            f"{args.rerun} has {len(results)} results, from a folder: run bench on the folder again"
        )
    (before,) = results
    require_repeatable(before, args.rerun)
    config = before["config"]
    artifact = read_artifact(args.artifact or before["artifact"]["path"])
    measured = before["artifact"]["sha256"]
    if artifact.sha256 != measured:
        raise UsageError(
            f"{args.rerun} is a measurement of another file (sha256 {measured[:12]}…) than "
            f"{artifact.path} ({artifact.sha256[:12]}…); to compare the two: edgead bench "
            f"{artifact.path} --json NEW.json, then edgead bench --compare {args.rerun} NEW.json"
        )
    args.runtime, args.threads = config["runtime"], config["threads"]
    # Files of earlier versions have neither.
    args.precision, args.hint = config.get("precision"), config.get("hint")
    args.batch, args.streams, args.camera_fps = (
        config["batch"],
        config["streams"],
        config["camera_fps"],
    )
    args.duration, args.samples = config["duration_s"], config["samples"]
    args.cooldown, args.set_governor = config["cooldown_s"], config["set_governor"]
    args.images = config["images"]
    args.frame_size = None if args.images else tuple(config["frame_size"])
    with governor(args.set_governor):
        after = _measured(args, artifact, _protocol(args), _frames(args))
    code = _finish(args, [after])
    print()
    print(Comparison.of_runs([before, after]).table())
    return code


def _results(args: argparse.Namespace, turns: Any, with_memory: bool) -> list[Result]:
    from edgead.benchmarks.device import Device
    from edgead.benchmarks.result import to_result

    device = Device.of()
    return [
        to_result(
            measurement,
            one.artifact,
            _peak(one.artifact, measurement) if with_memory else None,
            device,
            _configuration(args),
        )
        for one, measurement in zip(turns.candidates, turns.measurements, strict=True)
    ]


def _side_by_side(args: argparse.Namespace, comparison: Any, ratios: list[Any] | None) -> int:
    """Print and write several results."""
    from edgead.benchmarks import html_report, report
    from edgead.benchmarks.result import SCHEMA

    results = [column.result for column in comparison.columns]
    if ratios is not None:
        print(f"{printable(results[0]['device']['line'])}\n{report.protocol(results[0])}\n")
    print(comparison.table())
    for line in comparison.reasons():
        print(line)
    if args.json:
        files.write_json(
            args.json,
            {
                "schema": SCHEMA,
                "kind": "edgead bench, several",
                "in_turns": ratios is not None,
                "ratios": [
                    {"label": column.label, **column.ratio.to_json()}
                    for column in comparison.columns
                ],
                "results": results,
            },
        )
    if args.html:
        html_report.write_comparison(args.html, comparison)
    return _exit_code(args, results)


def _protocol(args: argparse.Namespace) -> Protocol:
    from edgead.benchmarks.protocol import Protocol

    asked = {
        "seconds": args.duration,
        "samples": args.samples,
        "runtime": args.runtime,
        "threads": args.threads,
        "precision": args.precision,
        "hint": args.hint,
        "batch": args.batch,
        "streams": args.streams,
        "camera_fps": args.camera_fps,
        "cooldown": args.cooldown,
    }
    return Protocol(**{name: value for name, value in asked.items() if value is not None})


def _frames(args: argparse.Namespace) -> list[Image]:
    from edgead.benchmarks import frames

    if args.images and args.frame_size:
        raise UsageError(
            "--frame-size applies to generated frames: leave out --frame-size or --images"
        )
    if args.images:
        return frames.from_photos(args.images)
    return frames.generated(args.frame_size or _FRAME_SIZE)


def _configuration(args: argparse.Namespace) -> Any:
    from edgead.benchmarks.result import Configuration

    images = tuple(str(Path(path).absolute()) for path in args.images) if args.images else None
    return Configuration(images, args.set_governor)


def _take_settings(args: argparse.Namespace, artifact: Artifact) -> None:
    from edgead.settings import Settings

    if args.runtime or args.threads:
        raise UsageError("--settings sets runtime and threads: leave out --runtime and --threads")
    settings = Settings.read(artifact.path, artifact.sha256)
    args.runtime, args.threads = settings.runtime, settings.threads


def _given(args: argparse.Namespace) -> list[str]:
    return [name for name in _PROTOCOL if getattr(args, name) is not None]


def _warn_of_threads(threads: int | None) -> None:
    cores = cpu.physical_cores()
    if threads and threads > cores:
        notices.warn(f"{threads} threads compete for {cores} physical cores: this may be slower")


def _announce(text: str) -> None:
    notices.say(text)


def _exit_code(args: argparse.Namespace, results: Sequence[Result]) -> int:
    invalid = any(result["verdict"] != "VALID" for result in results)
    return 3 if args.strict and invalid else 0
