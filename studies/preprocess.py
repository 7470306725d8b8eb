"""Ways to bring a frame to the network's size, in turns: what each costs, and if bytes are equal.

    python -m studies.preprocess [--frame-size HxW] [--to HxW] [--rounds N]

The first two are those that manifests name. Training, calibration and every device use the way of
their file, so another one needs another name, and bytes that no processor changes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgead import cpu, images, resizing
from edgead.benchmarks import frames as sources
from edgead.benchmarks.statistics import Ratio, paired_ratio
from edgead.cli import _options
from edgead.images import Image

Size = tuple[int, int]


@dataclass(frozen=True)
class Way:
    """One way to resize.

    Attributes:
        name: As the table shows it.
        run: Frame to network input.
        threads: That OpenCV may use.
    """

    name: str
    run: Callable[[Image], Image]
    threads: int = 1


@dataclass(frozen=True)
class Found:
    """What was measured of a way.

    Attributes:
        way: Which one.
        cpu_ms: Median processor time, all threads together.
        wall_ms: Median time.
        ratio: Of processor time to the first way's.
        difference: Largest difference of a byte from the first way's; 0 is equality.
    """

    way: Way
    cpu_ms: float
    wall_ms: float
    ratio: Ratio
    difference: int


def ways(frame_size: Size, size: Size, pool: ThreadPoolExecutor, workers: int) -> list[Way]:
    """List ways to shrink colour frames, those of :mod:`edgead.resizing` first.

    Args:
        frame_size: Height and width of the frames.
        size: Height and width of the network's input; at most those of the frame.
        pool: For bands in threads.
        workers: How many threads that pool has.
    """
    area, linear, exact = cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_LINEAR_EXACT
    bands = math.gcd(frame_size[0], size[0])

    def to(image: Image, method: int, target: Size = size) -> Image:
        return np.asarray(cv2.resize(image, target[::-1], interpolation=method), np.uint8)

    def in_threads(frame: Image) -> Image:
        out = np.empty((*size, 3), np.uint8)

        def part(place: tuple[slice, slice]) -> None:
            rows, target = place
            _resize_into(frame[rows], out[target])

        list(pool.map(part, _bands(frame_size[0], size[0], min(workers, bands))))
        return out

    def in_float32(frame: Image) -> Image:
        out = np.empty((*size, 3), np.float32)
        for rows, target in _bands(frame_size[0], size[0], bands):
            _resize_into(frame[rows].astype(np.float32), out[target])
        return np.rint(out).astype(np.uint8)

    def halved(image: Image) -> Image:
        while image.shape[0] >= 2 * size[0] and image.shape[1] >= 2 * size[1]:
            image = to(image, area, (image.shape[0] // 2, image.shape[1] // 2))
        return image

    found = [
        Way("INTER_AREA", lambda frame: resizing.resize(frame, size, resizing.AREA)),
        Way("halved: edgead 1", lambda frame: resizing.resize(frame, size, resizing.HALVED)),
        Way("halved, then INTER_AREA", lambda frame: to(halved(frame), area)),
        Way("halved, then INTER_LINEAR_EXACT", lambda frame: to(halved(frame), exact)),
        Way("INTER_AREA, OpenCV's threads", lambda frame: to(frame, area), cpu.physical_cores()),
        Way(
            "halved: edgead 1, OpenCV's threads",
            lambda frame: resizing.resize(frame, size, resizing.HALVED),
            cpu.physical_cores(),
        ),
        Way("INTER_LINEAR", lambda frame: to(frame, linear)),
        Way("every second row, then INTER_AREA", lambda frame: to(frame[::2], area)),
        Way(
            "half by pyrDown, then INTER_AREA",
            lambda frame: to(np.asarray(cv2.pyrDown(frame), np.uint8), area),
        ),
        Way(
            "rows by INTER_AREA, then columns",
            lambda frame: to(to(frame, area, (size[0], frame_size[1])), area),
        ),
    ]
    if bands > 1:  # bands of whole rows on both sides
        found += [
            Way(f"INTER_AREA, bands in {workers} threads", in_threads),
            Way(f"INTER_AREA, {bands} bands in float32", in_float32),
        ]
    return found


def grey_ways(size: Size) -> list[Way]:
    """List ways to bring a grey frame to a network's input of three channels."""

    def before(method: str) -> Callable[[Image], Image]:
        return lambda frame: resizing.resize(images.as_bgr(frame), size, method)

    def after(method: str) -> Callable[[Image], Image]:
        return lambda frame: images.as_bgr(resizing.resize(frame, size, method))

    return [
        Way("grey: three channels, then INTER_AREA", before(resizing.AREA)),
        Way("grey: INTER_AREA, then three channels", after(resizing.AREA)),
        Way("grey: three channels, then halved: edgead 1", before(resizing.HALVED)),
        Way("grey: halved: edgead 1, then three channels", after(resizing.HALVED)),
    ]


def measure(candidates: Sequence[Way], frames: Sequence[Image], rounds: int) -> list[Found]:
    """Let all ways resize the same frame in each round, in changing order.

    Args:
        candidates: The first is what the others are compared with.
        frames: uint8 ``[H, W, 3]`` or ``[H, W]``, taken in turn.
        rounds: How often.
    """
    used: list[list[float]] = [[] for _ in candidates]
    took: list[list[float]] = [[] for _ in candidates]
    for number in range(rounds + 1):
        frame = frames[number % len(frames)]
        order = list(range(len(candidates)))
        for index in order if number % 2 else reversed(order):
            with _opencv_threads(candidates[index].threads):
                busy, start = time.process_time(), time.perf_counter()
                candidates[index].run(frame)
                end = time.perf_counter()
                if number:  # the first round warms up
                    used[index].append((time.process_time() - busy) * 1e3)
                    took[index].append((end - start) * 1e3)
    return [
        Found(
            way,
            float(np.median(used[index])),
            float(np.median(took[index])),
            paired_ratio(used[index], used[0]),
            max(_difference(way.run(frame), candidates[0].run(frame)) for frame in frames),
        )
        for index, way in enumerate(candidates)
    ]


def table(found: Sequence[Found]) -> str:
    """Return what was measured as a table in Markdown."""
    lines = [
        "| way | CPU ms | ms | CPU time of the first | bytes | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        equal = "equal" if one.difference == 0 else "differ"
        lines.append(
            f"| {one.way.name} | {one.cpu_ms:.2f} | {one.wall_ms:.2f} | {one.ratio} | {equal} | "
            f"{one.difference} |"
        )
    return "\n".join(lines)


def _bands(height: int, target: int, count: int) -> Iterator[tuple[slice, slice]]:
    """Cut both heights at whole rows, where the same share of each is above."""
    steps = math.gcd(height, target)
    cuts = [steps * index // count for index in range(count + 1)]
    for above, below in itertools.pairwise(cuts):
        yield (
            slice(above * height // steps, below * height // steps),
            slice(above * target // steps, below * target // steps),
        )


def _resize_into(image: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    height, width = out.shape[:2]
    cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_AREA)


def _difference(one: Image, other: Image) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


@contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.preprocess")
    parser.add_argument("--frame-size", type=_options.image_size, default=(1080, 1920))
    parser.add_argument("--to", type=_options.image_size, default=(256, 256))
    parser.add_argument("--rounds", type=_options.positive_int, default=40)
    args = parser.parse_args()
    frame_size, size = args.frame_size, args.to
    if frame_size[0] < size[0] or frame_size[1] < size[1]:
        parser.error("--frame-size must be at least --to on both sides: only shrinking costs")
    frames = sources.generated(frame_size)
    workers = cpu.physical_cores()
    with ThreadPoolExecutor(workers) as pool:
        colour = measure(ways(frame_size, size, pool, workers), frames, args.rounds)
    grey = measure(grey_ways(size), [frame[..., 0].copy() for frame in frames], args.rounds)
    print(
        f"{cpu.model_name()}, {workers} cores, OpenCV {cv2.__version__}, "
        f"{frame_size[1]}x{frame_size[0]} to {size[1]}x{size[0]}, {args.rounds} rounds\n"
    )
    print(f"{table(colour)}\n\n{table(grey)}")


if __name__ == "__main__":
    _main()
