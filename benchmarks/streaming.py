"""Frames per second of calls one after the other and of ``EdgeDetector.stream``, in turns.

    python -m edgead.benchmarks.streaming ARTIFACT [--frame-size HxW] [--threads N] [--rounds N]

Frames are generated and lie in memory, so no camera limits the rate.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgead import Detection, EdgeadError, EdgeDetector, Timings, notices
from edgead.benchmarks import frames as sources
from edgead.benchmarks.statistics import Ratio, paired_ratio
from edgead.images import Image

_BLOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Streaming:
    """What preparing the next frame early gains.

    Attributes:
        calls_fps: Frames per second of calls, median of the rounds.
        stream_fps: Frames per second of the stream.
        gain: The second over the first, paired by round.
        prepare_ms: Median time that one frame takes to be prepared, in calls.
        infer_ms: Median time of its inference, in calls.
    """

    calls_fps: float
    stream_fps: float
    gain: Ratio
    prepare_ms: float
    infer_ms: float


def measure_streaming(detect: EdgeDetector, frames: Sequence[Image], rounds: int) -> Streaming:
    """Take turns between blocks of calls and blocks of a stream, two seconds each.

    Args:
        detect: An open detector.
        frames: Frames as a camera gives them, uint8 ``[H, W, 3]`` BGR.
        rounds: Blocks of each.
    """
    calls, streamed, prepare, infer = [], [], [], []
    for _ in range(3):
        detect(frames[0])
    for index in range(rounds):
        for is_stream in (index % 2 == 0, index % 2 == 1):
            if is_stream:
                streamed.append(_rate(detect.stream(_for_a_while(frames))))
                continue
            timings: list[Timings] = []
            calls.append(_rate(_called(detect, frames, timings)))
            prepare.append(float(np.median([timing.preprocess_ms for timing in timings])))
            infer.append(float(np.median([timing.inference_ms for timing in timings])))
    return Streaming(
        calls_fps=float(np.median(calls)),
        stream_fps=float(np.median(streamed)),
        gain=paired_ratio(streamed, calls),
        prepare_ms=float(np.median(prepare)),
        infer_ms=float(np.median(infer)),
    )


def _called(
    detect: EdgeDetector, frames: Sequence[Image], timings: list[Timings]
) -> Iterator[Detection]:
    for frame in _for_a_while(frames):
        detection = detect(frame)
        timings.append(detection.timings)
        yield detection


def _for_a_while(frames: Sequence[Image]) -> Iterator[Image]:
    start = time.perf_counter()
    for frame in itertools.cycle(frames):
        yield frame
        if time.perf_counter() - start > _BLOCK_SECONDS:
            return


def _rate(results: Iterator[object]) -> float:
    start = time.perf_counter()
    count = sum(1 for _ in results)
    return count / (time.perf_counter() - start)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edgead.benchmarks.streaming")
    parser.add_argument("artifact")
    parser.add_argument("--frame-size", default="1080x1920", metavar="HxW", help="in pixels")
    parser.add_argument("--threads", type=int, metavar="N", help="of one inference")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="at least 2")
    args = parser.parse_args()
    sides = args.frame_size.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= 16384 for side in sides):
        parser.error(f"--frame-size must be height x width in pixels, not {args.frame_size!r}")
    if args.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {args.rounds}")
    frames = sources.generated((int(sides[0]), int(sides[1])))
    try:
        with EdgeDetector(args.artifact, args.runtime, threads=args.threads) as detect:
            found = measure_streaming(detect, frames, args.rounds)
            info = detect.runtime
    except EdgeadError as error:
        notices.error(error)
        return 1
    print(f"{info.name}, {info.threads} threads, frames of {sides[1]}x{sides[0]} px")
    print(f"prepare, infer    {found.prepare_ms:.2f} ms, {found.infer_ms:.2f} ms a frame")
    print(f"calls             {found.calls_fps:.1f} frames per second")
    print(f"stream            {found.stream_fps:.1f} frames per second")
    print(f"stream / calls    {found.gain}")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
