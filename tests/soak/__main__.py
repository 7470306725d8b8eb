"""``python -m tests.soak``: one long run."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import write_dataset
from tests.soak import soak

_MAKE = """
import sys
from pathlib import Path
from edgead.export import export
from edgead.training import TrainConfig, train
data, out = sys.argv[1:]
config = TrainConfig("efficientad-n", data, image_size=(96, 96), steps=20, batch_size=2,
                     precision="32-true")
train(config, out + "/run", device="cpu")
export(out + "/run", out + "/exports")
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=soak.__doc__)
    parser.add_argument("run", choices=("frames", "threads", "open"))
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--frames", type=int, default=2000, metavar="N", help="of each thread")
    parser.add_argument("--times", type=int, default=500, metavar="N", help="opened and closed")
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="threads that score")
    parser.add_argument("--threads", type=int, metavar="N", help="of one inference")
    parser.add_argument(
        "--artifact",
        type=Path,
        help="exported file (default: efficientad-n for 96x96 px, trained here for 20 steps)",
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgead-soak-") as folder:
        artifact = args.artifact or _made(Path(folder))
        began = time.monotonic()
        files = 0
        if args.run == "frames":
            growth = soak.frames(artifact, args.runtime, args.frames, args.threads)
            what = f"{args.frames:,} frames"
        elif args.run == "threads":
            growth = soak.in_threads(artifact, args.runtime, args.frames, args.workers)
            what = f"{args.workers} threads x {args.frames:,} frames, equal scores"
        else:
            growth, files = soak.open_and_close(artifact, args.runtime, args.times)
            what = f"opened and closed {args.times:,} times, {files:+d} open files"
        seconds = time.monotonic() - began
    print(f"{args.runtime}, {artifact.name}: {what}: {growth} ({seconds:.0f} s)")
    return 1 if growth.mib > soak.MOST_GROWTH_MIB or files > 0 else 0


def _made(folder: Path) -> Path:
    """Train and export in another process: PyTorch's memory is not what is watched here."""
    data = write_dataset(folder / "parts", train=20)
    words = [sys.executable, "-c", _MAKE, str(data), str(folder)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return folder / "exports/efficientad-n.onnx"


if __name__ == "__main__":
    sys.exit(main())
