"""``edgead runtimes``."""

from __future__ import annotations

import argparse

from edgead.cli import _options


def add_parser(subparsers: _options.Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "runtimes",
        help="show which runtimes work here",
        description="Show which runtimes work on this machine and why the others do not, in the "
        "order in which they are tried. For static INT8 on x86, OpenVINO is tried "
        "before ONNX Runtime.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a line a runtime."""
    from edgead import notices, opencv
    from edgead.runtimes import names, working
    from edgead.runtimes.select import runtime_class

    states = working()
    width = max(map(len, states))
    for name, reason in states.items():
        print(f"{name.ljust(width)}  {'works' if reason is None else 'does not work: ' + reason}")
    conflicts = [runtime_class(name).conflict() for name in names()]
    for conflict in (*conflicts, opencv.conflict()):
        if conflict is not None:
            notices.warn(conflict)
    return 0 if None in states.values() else 1
