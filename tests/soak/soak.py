"""The three runs, each in this process; start a fresh one for each, for memory is the process's."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgead import EdgeDetector
from tests.conftest import part

WARM_UP = 1000
"""Frames after which memory is level; what grows later grows for ever."""

MOST_GROWTH_MIB = 2.0
_FRAME_SIZES = ((240, 320), (480, 640), (360, 480))


@dataclass(frozen=True)
class Memory:
    """Resident memory of this process, in MiB.

    Attributes:
        held: As it is.
        trimmed: Once the allocator has given back what it held free.
    """

    held: float
    trimmed: float

    @classmethod
    def now(cls) -> Memory:
        gc.collect()
        held = resident_mib()
        with contextlib.suppress(OSError, AttributeError):  # a C library that is not glibc
            ctypes.CDLL(None).malloc_trim(0)
        return cls(held, resident_mib())


@dataclass(frozen=True)
class Growth:
    """Memory after the warm-up and at the end."""

    before: Memory
    after: Memory

    @property
    def mib(self) -> float:
        """What was gained and is in use: memory that lies free is not lost."""
        return self.after.trimmed - self.before.trimmed

    def __str__(self) -> str:
        return (
            f"{self.before.held:.1f} MiB after the warm-up, {self.after.held:.1f} at the end "
            f"({self.after.held - self.before.held:+.1f}); trimmed {self.before.trimmed:.1f} and "
            f"{self.after.trimmed:.1f} ({self.mib:+.1f})"
        )


def frames(artifact: Path, runtime: str, count: int, threads: int | None) -> Growth:
    """Score frames of several sizes one after the other; the scores of a frame stay the same."""
    photos = _photos()
    with EdgeDetector(artifact, runtime, threads=threads) as detect:
        truth = [detect(photo).score for photo in photos]
        warm_up = min(WARM_UP, count // 2)
        for index, photo in enumerate(itertools.islice(itertools.cycle(photos), count)):
            detection = detect(photo)
            if detection.score != truth[index % len(photos)]:
                raise AssertionError(f"frame {index}: {detection.score}, not {truth}")
            if index % 50 == 0:  # a heat map and its regions at times, as a program makes them
                detection.overlay(photo)
            if index == warm_up:
                before = Memory.now()
        return Growth(before, Memory.now())


def in_threads(artifact: Path, runtime: str, count: int, workers: int) -> Growth:
    """Score frames in threads that share a detector; every score must be that of one thread."""
    photos = _photos()
    with EdgeDetector(artifact, runtime, threads=1) as detect:
        truth = [detect(photo).score for photo in photos]
        wrong: list[str] = []

        def work(first: int, rounds: int) -> None:
            try:
                for index in range(first, first + rounds):
                    score = detect(photos[index % len(photos)]).score
                    if score != truth[index % len(photos)]:
                        wrong.append(f"frame {index}: {score}")
            except BaseException as error:
                wrong.append(repr(error))

        def together(rounds: int) -> None:
            pool = [threading.Thread(target=work, args=(k, rounds)) for k in range(workers)]
            for thread in pool:
                thread.start()
            for thread in pool:
                thread.join()

        together(min(WARM_UP, count))
        before = Memory.now()
        together(count)
        if wrong:
            raise AssertionError(f"{len(wrong)} frames are wrong: {wrong[:3]}")
        return Growth(before, Memory.now())


def open_and_close(artifact: Path, runtime: str, count: int) -> tuple[Growth, int]:
    """Open, score one frame, close; return growth of memory and of open files."""
    photo = _photos()[0]
    truth, files = None, 0
    warm_up = min(50, count // 3)
    for index in range(count):
        with EdgeDetector(artifact, runtime, threads=1) as detect:
            score = detect(photo).score
        truth = score if truth is None else truth
        if score != truth:
            raise AssertionError(f"opened {index} times: {score}, not {truth}")
        if index == warm_up:
            before, files = Memory.now(), _open_files()
    return Growth(before, Memory.now()), _open_files() - files


def resident_mib() -> float:
    """Return VmRSS of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def _photos() -> list[np.ndarray]:
    return [part(index, size, defect=index % 2 == 0) for index, size in enumerate(_FRAME_SIZES)]


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path.iterdir holds one open itself
