"""``python -m tests.fuzz``: a campaign from the command line."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.fuzz import campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=campaign.__doc__)
    parser.add_argument("--target", required=True, choices=campaign.TARGETS)
    parser.add_argument("--cases", type=int, default=1000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first")
    parser.add_argument("--case", type=int, metavar="N", help="this case alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, metavar="DIR", help="keeps the files of failures")
    args = parser.parse_args()
    cases = range(args.first, args.first + args.cases) if args.case is None else [args.case]
    began = time.monotonic()
    summary = campaign.run(args.target, cases, args.seed, min(args.workers, len(cases)), args.out)
    print(f"{summary} ({time.monotonic() - began:.0f} s)")
    return 1 if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
