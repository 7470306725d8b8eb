"""Peak memory of a process that only loads a detector and predicts.

Measured in a fresh process that runs this module, because the benchmark itself holds frames,
samples and whatever its caller has imported.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgead import helper_process
from edgead.detector import EdgeDetector
from edgead.errors import EdgeadError

_PREDICTIONS = 20


@dataclass(frozen=True)
class Peak:
    """Memory of a process that scores twenty frames.

    Attributes:
        rss_mib: Highest resident memory.
        gpu_mib: Memory on the GPU; ``None`` where there is none or it cannot be read.
    """

    rss_mib: float
    gpu_mib: float | None = None


def peak(
    artifact: str | os.PathLike[str],
    runtime: str,
    threads: int | None,
    frame_size: tuple[int, int],
    *,
    precision: str | None = None,
    hint: str = "latency",
) -> Peak:
    """Start a process that scores twenty frames and return what it took.

    Raises:
        EdgeadError: That process failed; has its last output.
    """
    arguments = json.dumps(
        [os.fspath(artifact), runtime, threads, list(frame_size), precision, hint]
    )
    done = helper_process.run_module("edgead.benchmarks.memory", [arguments])
    try:
        return Peak(**json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError, TypeError) as error:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise EdgeadError(f"the process that measures memory failed with: {said}") from error


def _main(arguments: str) -> None:
    artifact, runtime, threads, size, precision, hint = json.loads(arguments)
    # Made without temporary arrays, which would count as the detector's memory, and not of zeros,
    # which take no memory until somebody writes to them.
    frame = np.full((size[0], size[1], 3), 127, np.uint8)
    with EdgeDetector(artifact, runtime, threads=threads, precision=precision, hint=hint) as detect:
        for _ in range(_PREDICTIONS):
            detect(frame)
        rss = _peak_kib() / 1024
        # Asked afterwards: the library that answers would count as the detector's memory.
        gpu_mib = _gpu_mib()
    print(json.dumps({"rss_mib": rss, "gpu_mib": gpu_mib}))


def _gpu_mib() -> float | None:
    from edgead.benchmarks.sensors.nvml import Gpu

    gpu = Gpu.first()
    return gpu.used_by_mib(os.getpid()) if gpu else None


def _peak_kib() -> int:
    # Not getrusage: its maximum survives exec, so it would count the process that started this one.
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    _main(sys.argv[1])
