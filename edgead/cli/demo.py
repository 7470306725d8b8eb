"""``edgead demo``."""

from __future__ import annotations

import argparse
import shlex
import time
from pathlib import Path

from edgead.cli import _options
from edgead.errors import UsageError

_STEPS = 300  # enough for this task, and minutes on two cores


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="try everything on a small rendered inspection task",
        description="Render a small inspection task, train, export, evaluate, predict and bench on "
        "it, and write an HTML report. Takes a few minutes without a GPU.",
    )
    parser.add_argument(
        "--out", default="edgead-demo", metavar="DIR", help="folder to write (default: edgead-demo)"
    )
    parser.add_argument(
        "--steps",
        type=_options.positive_int,
        default=_STEPS,
        metavar="N",
        help=f"training steps (default: {_STEPS})",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Walk the whole way with the commands that a user would type, and print each."""
    import torch  # noqa: F401  # without it nothing below works: fail before anything is written

    from edgead.cli import main
    from edgead.demo.parts import write_parts
    from edgead.demo.report import DemoReport, Step

    out = Path(args.out)
    if out.exists():
        raise UsageError(
            f"{out} already exists; remove it, or choose another folder with --out DIR"
        )
    parts = write_parts(out / "parts")
    run_folder, exports = out / "run", out / "exports"
    artifact = exports / "efficientad-n.onnx"
    steps: list[Step] = []
    pictures, predictions = out / "pictures", out / "predictions.json"
    figures, sheet = out / "evaluation.json", out / "worst.png"
    for command in (
        ["train", parts, "--out", run_folder, "--steps", args.steps],
        ["export", run_folder, "--out", exports],
        ["evaluate", artifact, parts, "--json", figures, "--sheet", sheet],
        ["predict", artifact, parts / "test", "--out", pictures, "--json", predictions],
        ["bench", artifact, "--images", parts / "test", "--json", out / "bench.json"],
    ):
        words = [str(word) for word in command]
        line = shlex.join(["edgead", *words])
        print(f"\n$ {line}", flush=True)
        began = time.monotonic()
        code = main(words)
        if code != 0:
            return code
        steps.append(Step(line, time.monotonic() - began))
    report = out / "report.html"
    DemoReport.from_folder(out, artifact, steps).write(report)
    print(f"\nwrote {report}: open it in a browser")
    return 0
