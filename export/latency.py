"""A quick side-by-side latency, so that an export report can show what a variant buys here.

For numbers to rely on there is ``edgead bench``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgead.runtimes import Runtime

_ROUNDS = 30
_WARM_UP = 3
_SECONDS = 10.0


def side_by_side(runtimes: Mapping[str, Runtime], photo: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Time runtimes in alternation, so that a busy machine disturbs them alike.

    Args:
        runtimes: Open runtimes by name.
        photo: uint8 ``[1, height, width, 3]`` BGR.

    Returns:
        Median milliseconds of one inference, by name.
    """
    for runtime in runtimes.values():
        for _ in range(_WARM_UP):
            runtime.infer(photo)
    samples: dict[str, list[float]] = {name: [] for name in runtimes}
    stop = time.perf_counter() + _SECONDS
    for _ in range(_ROUNDS):
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            runtime.infer(photo)
            samples[name].append((time.perf_counter() - start) * 1e3)
        if time.perf_counter() > stop:
            break
    return {name: float(np.median(values)) for name, values in samples.items()}
