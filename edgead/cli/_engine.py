"""``edgead export --tensorrt``: an engine where there is a GPU, and elsewhere the next step."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from edgead.artifact import read_artifact
from edgead.artifact.kinds import FP32, source_of
from edgead.cli import _options
from edgead.errors import GateRefused, RuntimeUnavailableError, UsageError
from edgead.view import View

if TYPE_CHECKING:
    from edgead.export.judge import Judge
    from edgead.export.pipeline import Exported
    from edgead.export.tensorrt import Engine, EngineOptions

_AUTO = "auto"
_BATCH = 8


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of engines."""
    group = parser.add_argument_group("TensorRT engine, built for the GPU of this machine")
    group.add_argument(
        "--tensorrt",
        nargs="?",
        const=_AUTO,
        choices=[_AUTO, "fp16", "int8", "fp32"],
        help="also a TensorRT engine; auto (the default): the precision of the source file, fp16 "
        "for a run",
    )
    group.add_argument(
        "--batch",
        type=_options.positive_int,
        default=_BATCH,
        metavar="N",
        help=f"largest batch size of the engine (default: {_BATCH})",
    )
    group.add_argument(
        "--workspace",
        type=_options.positive_int,
        metavar="MIB",
        help="largest scratch memory for the build (default: half of the free GPU memory, at most "
        "1024)",
    )
    group.add_argument(
        "--dla", type=_options.whole_number, metavar="CORE", help="use this DLA core (0 or 1)"
    )
    group.add_argument(
        "--tensorrt-calibrator",
        choices=["entropy", "minmax"],
        help="build INT8 from an FP32 file with TensorRT's own calibration on the --calibration "
        "photos (TensorRT 10 and older)",
    )


def is_source(args: argparse.Namespace) -> bool:
    """Whether the engine is built from the source itself, without writing another ONNX file.

    Raises:
        UsageError: The source is an INT8 file that TensorRT refuses.
    """
    from edgead.export.tensorrt.engine import precision_of

    if args.tensorrt is None:
        given = (args.tensorrt_calibrator, args.workspace, args.dla, args.batch)
        if given != (None, None, None, _BATCH):
            raise UsageError(
                "--tensorrt-calibrator, --workspace, --dla and --batch apply to engines only: add "
                "--tensorrt, or leave them out"
            )
        return False
    compresses = args.compress is not None or args.max_latency is not None
    if not Path(args.source).is_file() or compresses:
        return False
    makes = precision_of(read_artifact(args.source))
    return makes != "fp32" or args.tensorrt in (_AUTO, "fp32") or bool(args.tensorrt_calibrator)


def needs_fp16(args: argparse.Namespace) -> bool:
    """Whether the engine is built from an FP16 file."""
    return args.tensorrt is not None and _wanted(args) == "fp16"


def needs_int8(args: argparse.Namespace) -> bool:
    """Whether the engine is built from an INT8 file.

    Raises:
        UsageError: The only INT8 files asked for are dynamic.
    """
    if args.tensorrt is None or _wanted(args) != "int8" or args.tensorrt_calibrator:
        return False
    if args.int8 == "dynamic":
        raise UsageError(
            "--tensorrt int8 needs static INT8: use --int8 static, or leave --int8 out"
        )
    return True


def build(args: argparse.Namespace) -> int:
    """Build an engine from the ONNX file given."""
    from edgead.export import gate, report
    from edgead.export.good_photos import GoodPhotos
    from edgead.export.tensorrt import export_engine
    from edgead.export.tensorrt.engine import precision_of

    artifact = read_artifact(args.source)
    precision = precision_of(artifact) if args.tensorrt == _AUTO else args.tensorrt
    if args.tensorrt_calibrator and args.tensorrt == _AUTO:
        precision = "int8"
    reason = _not_here(args.source, precision, args)
    if reason:
        raise RuntimeUnavailableError(reason)
    options = _options_of(args, precision)
    validate = gate.labelled(args.validate, args.good) if args.validate else None
    photos = None
    if args.calibration:
        known = GoodPhotos.known_for(Path(args.source))
        view = View.of(artifact.manifest)
        photos = known.read(view, args.calibration, validate, args.good)
    made = export_engine(
        args.source, args.out, options, photos, validate=validate, max_drop=args.max_drop
    )
    print(report.table(list(made.variants)))
    return _finish(made)


def build_from_export(args: argparse.Namespace, out: Path, judge: Judge, exported: Exported) -> int:
    """Build an engine from a file that was just written, or print where to do that.

    Args:
        args: Of the command.
        out: The export folder, which nobody else writes into.
        judge: What the files in it were judged on.
        exported: These files.
    """
    from edgead.export import report
    from edgead.export.tensorrt import engine

    variants = exported.variants
    precision = _wanted(args)
    source = FP32 if args.tensorrt_calibrator else source_of(precision)
    # The last one: a compressed FP32 file comes after the original.
    made_from = next((v for v in reversed(variants) if v.precision == source.name), None)
    if made_from is None or made_from.file is None:
        why = made_from.reason if made_from else f"there is no {source.name} file"
        raise GateRefused(f"no {precision} engine can be built: {why}")
    path = out / made_from.file
    reason = _not_here(path, precision, args)
    if reason:
        print(reason)
        return 0
    artifact, options = read_artifact(path), _options_of(args, precision)
    engine.check(artifact, options, judge.photos)
    reference = read_artifact(out / str(variants[0].file))
    made = engine.build_engine(artifact, out, options, judge, reference, args.max_drop)
    rows = [*variants, made.variants[1]]
    report.write(out, rows, made.command, made.details, exported.rungs)
    return _finish(made)


def _wanted(args: argparse.Namespace) -> str:
    if args.tensorrt == _AUTO:
        return "int8" if args.tensorrt_calibrator else "fp16"
    return str(args.tensorrt)


def _not_here(path: str | Path, precision: str, args: argparse.Namespace) -> str | None:
    """Return the next step where no engine can be built; ``None`` where one can."""
    from edgead.runtimes.tensorrt import library

    reason = library.problem()
    if reason is None:
        return None
    command = ["edgead", "export", Path(path).name, "--out", ".", "--tensorrt", precision]
    if args.batch != _BATCH:
        command += ["--batch", str(args.batch)]
    for option, value in (("--workspace", args.workspace), ("--dla", args.dla)):
        if value is not None:
            command += [option, str(value)]
    if args.tensorrt_calibrator:
        command += ["--tensorrt-calibrator", args.tensorrt_calibrator, "--calibration", "GOOD"]
    if args.validate:
        command += ["--validate", "DATA", "--max-drop", f"{args.max_drop:g}"]
    return (
        f"no engine was built: it must be built on the device that runs it, and here {reason}. "
        f"Copy {path} to the Jetson and run there: {shlex.join(command)}"
    )


def _options_of(args: argparse.Namespace, precision: str) -> EngineOptions:
    from edgead.export.tensorrt import EngineOptions

    return EngineOptions(
        precision=precision,
        batch=(1, 1, args.batch),
        workspace_mib=args.workspace,
        dla_core=args.dla,
        calibrator=args.tensorrt_calibrator,
    )


def _finish(made: Engine) -> int:
    print(
        f"wrote {made.path} and {made.path.name}.json (keep them together): built in "
        f"{made.details['build_seconds']:.1f} s, {len(made.details['layers'])} layers, "
        f"{made.variants[1].reason}"
    )
    print(f"next: {made.command}")
    print(f"next: edgead bench {made.path}")
    return 0
