"""A quick side-by-side latency, so that an export report can show what a variant buys here.

For figures to rely on, use ``edgead bench``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from edgead.runtimes import Runtime, RuntimeOptions

SIDE_BY_SIDE = RuntimeOptions(spinning=False)
"""For runtimes that share a process: idle threads that spin would take the cores from the others.
With them ONNX Runtime's FP32 looked half as slow again as in a process of its own."""

_ROUNDS = 30
_WARM_UP = 3
_SECONDS = 10.0


def side_by_side(runtimes: Mapping[str, Runtime], photo: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Time runtimes in alternation, so that a busy machine disturbs them alike.

    Args:
        runtimes: Open runtimes by name, with :data:`SIDE_BY_SIDE`.
        photo: uint8 ``[1, height, width, 3]`` BGR.

    Returns:
        Median milliseconds of one inference, by name.
    """
    calls = {name: functools.partial(runtime.infer, photo) for name, runtime in runtimes.items()}
    samples = in_turns(calls, _ROUNDS, _SECONDS)
    return {name: float(np.median(values)) for name, values in samples.items()}


def in_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, seconds: float = float("inf")
) -> dict[str, list[float]]:
    """Time calls interleaved, two of each at a time; the second counts.

    The first of a turn finds the caches full of another network, and perhaps threads of the runtime
    before it still spinning on the cores.

    Args:
        calls: By name.
        rounds: Turns of each.
        seconds: No round begins later than this.

    Returns:
        Milliseconds by name, one a round.
    """
    for call in calls.values():
        for _ in range(_WARM_UP):
            call()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    stop = time.perf_counter() + seconds
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            samples[name].append((time.perf_counter() - start) * 1e3)
        if time.perf_counter() > stop:
            break
    return samples
