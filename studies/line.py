"""What a line costs and whether it stands: latency, memory, lost cameras, killed processes.

    python -m studies.line latency ARTIFACT [--images DIR] [--frames N] [--fps HZ]
    python -m studies.line memory ARTIFACT [--frames N]
    python -m studies.line triggers ARTIFACT [--frames N]
    python -m studies.line camera ARTIFACT [--times N]
    python -m studies.line process ARTIFACT [--times N]

``latency``: from the arrival of a frame of 640x480 px to an output's thread, against the inference
alone. ``memory``: growth over many frames. ``triggers``: so many triggers, in bursts that are more
than a line can judge, each of which must have one verdict. ``camera``: a source that is lost again
and again. ``process``: ``edgead run`` is killed while it judges a video, and started again.
``studies.line_outputs`` has what outputs and the page cost.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgead import blas, images, photo_files
from edgead.benchmarks import frames as generated_frames
from edgead.benchmarks.line import Stopwatch
from edgead.errors import EdgeadError
from edgead.images import Image
from edgead.line.config import LineConfig, StationConfig
from edgead.line.errors import SourceError
from edgead.line.monitor import Monitor
from edgead.line.notify import Notifier
from edgead.line.options import Place
from edgead.line.sources.base import EndOfFrames, Grabbed, Source
from edgead.line.station import Station
from edgead.line.triggers.base import Fire, Trigger
from studies.script import told

_SIZE = (480, 640)
_WARM_UP = 1000
_LONGEST_S = 60.0
_MOST_AT_ONCE = 60
_LONGEST_PAUSE_S = 0.1


@dataclass(frozen=True)
class _NoOptions:
    pass


class Camera(Source):
    """A camera in this process: at a pace, and lost when a test says so.

    Args:
        pictures: Taken in turn, each with a pixel that counts, as the noise of a sensor.
        fps: Frames a second.
        count: Frames until the end; ``None`` for no end.
    """

    Options = _NoOptions
    is_live = True

    def __init__(self, pictures: Sequence[Image], fps: float, count: int | None = None) -> None:
        super().__init__(_NoOptions())
        self._pictures = pictures
        self._period = 1 / fps
        self._count = count
        self._shown = 0
        self._due = 0.0
        self.is_lost = False

    def open(self) -> None:
        """Begin to count time."""
        if self.is_lost:
            raise SourceError("the camera is gone")
        self._due = time.monotonic()

    def read(self, timeout_s: float) -> Grabbed | None:
        """Wait for the time of the next frame."""
        if self.is_lost:
            raise SourceError("the camera is gone")
        if self._count is not None and self._shown >= self._count:
            raise EndOfFrames
        self._due += self._period
        time.sleep(max(0.0, self._due - time.monotonic()))
        picture = self._pictures[self._shown % len(self._pictures)].copy()
        self._shown += 1
        picture[0, 0, :2] = self._shown % 256, self._shown // 256 % 256
        return Grabbed(picture, time.monotonic(), f"frame {self._shown}")

    def close(self) -> None:
        """Nothing to release."""


class Barrier(Trigger):
    """A light barrier in this process."""

    Options = _NoOptions

    def __init__(self) -> None:
        super().__init__(_NoOptions(), "line")
        self.fire: Fire = lambda: False

    def start(self, fire: Fire) -> None:
        """Connect it."""
        self.fire = fire

    def stop(self) -> None:
        """Nothing to release."""


def latency(artifact: Path, pictures: Sequence[Image], count: int, fps: float) -> str:
    """Compare p99 from the frame to an output with p99 of the inference."""
    watch = Stopwatch("line")
    camera = Camera(pictures, fps, count + _WARM_UP // 10)
    config = StationConfig(artifact)
    with blas.on_one_thread(), Station(config, source=camera, outputs=[watch]) as station:
        while watch.count < _WARM_UP // 10 and not station.wait(0.01):
            continue
        watch.is_counting = True
        station.wait()
        status = station.status()
    lines = [f"{status.runtime}; {dict(status.verdicts)}; {status.parts[0].lost} frames not judged"]
    for name, values in watch.stages.items():
        middle, high, worst = np.percentile(values, (50, 99, 100))
        lines.append(f"{name:12} p50 {middle:7.2f} ms   p99 {high:7.2f} ms   max {worst:7.2f} ms")
    p99 = {name: float(np.percentile(values, 99)) for name, values in watch.stages.items()}
    lines.append(
        f"p99 of the line less p99 of the inference: {p99['total'] - p99['inference']:.2f} ms"
    )
    return "\n".join(lines)


def memory(artifact: Path, pictures: Sequence[Image], count: int) -> str:
    """Judge many frames, and compare memory after the first thousand with that at the end."""
    seen: dict[int, float] = {}

    def frames() -> Iterator[Image]:
        for index, picture in enumerate(itertools.islice(itertools.cycle(pictures), count), 1):
            yield picture
            if index == min(_WARM_UP, count // 2) or index == count:
                seen[index] = _resident_mib()

    with blas.on_one_thread(), Station(StationConfig(artifact), source=frames()) as station:
        monitor = Monitor([station], Notifier({}))
        monitor.start()
        station.wait()
        monitor.stop()
        verdicts = station.status().verdicts
    (first, before), (last, after) = sorted(seen.items())
    return (
        f"{verdicts}\n{before:.1f} MiB after {first} frames, {after:.1f} MiB after {last}: "
        f"{after - before:+.1f} MiB"
    )


def triggers(artifact: Path, pictures: Sequence[Image], count: int) -> str:
    """Fire in bursts; the verdicts of judged, late and missed triggers must be all triggers."""
    rng = np.random.default_rng(0)
    source, barrier = Camera(pictures, 100), Barrier()
    with (
        blas.on_one_thread(),
        Station(StationConfig(artifact), source=source, trigger=barrier) as station,
    ):
        _until(lambda: station.status().parts[0].done > 0)
        refused = left = 0
        while left < count:
            burst = min(int(rng.integers(1, _MOST_AT_ONCE)), count - left)
            refused += sum(not barrier.fire() for _ in range(burst))
            left += burst
            time.sleep(float(rng.uniform(0, _LONGEST_PAUSE_S)))
        _until(lambda: sum(station.status().verdicts.values()) >= count)
        time.sleep(0.5)  # for a verdict too many
        status = station.status()
    verdicts = sum(status.verdicts.values())
    if verdicts != count or status.missed != refused:
        raise EdgeadError(f"{count} triggers have {verdicts} verdicts; {refused} were refused")
    judged = status.verdicts["good"] + status.verdicts["anomaly"]
    return (
        f"{count} triggers, {verdicts} verdicts: {judged} judged, {status.missed} missed, "
        f"{status.late} late"
    )


def camera(artifact: Path, pictures: Sequence[Image], times: int) -> str:
    """Lose a camera again and again; return how long it takes until a frame is judged again."""
    source = Camera(pictures, 30)
    gaps = []
    with Station(StationConfig(artifact), source=source) as station:
        monitor = Monitor([station], Notifier({}))
        monitor.start()
        for _ in range(times):
            _until(lambda: station.newest() is not None and station.status().fault is None)
            source.is_lost = True
            _until(lambda: station.status().fault is not None)
            time.sleep(0.5)
            newest = station.newest()
            source.is_lost = False
            back = time.monotonic()
            while station.newest() is newest:
                time.sleep(0.001)
            gaps.append(time.monotonic() - back)
        monitor.stop()
    return f"{times} times: judging again after {max(gaps):.2f} s at most"


def process(artifact: Path, pictures: Sequence[Image], times: int) -> str:
    """Kill ``edgead run`` again and again; each file it wrote must be whole."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = cv2.VideoWriter(
            str(folder / "part.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, _SIZE[::-1]
        )
        for picture in pictures:
            video.write(picture)
        video.release()
        config = LineConfig.from_table(_table(artifact.absolute()), Place(folder, "the study"))
        (folder / "line.toml").write_text(config.to_toml(folder))
        begun = []
        for index in range(times):
            begun.append(_killed(folder, delay=0.05 * (index % 20)))
        # The next run removes what was begun when the last one was killed.
        command = [sys.executable, "-m", "edgead", "run", str(folder / "line.toml")]
        subprocess.run([*command, "--frames", "20"], check=True, capture_output=True)
        lines = (folder / "verdicts.jsonl").read_text().splitlines()
        for text in lines:
            json.loads(text)
        kept = list((folder / "kept").glob("*.png")) if (folder / "kept").exists() else []
        for path in kept:
            images.read_image(path)
        rest = [path.name for path in folder.rglob(".new-*")]
    if rest:
        raise EdgeadError(f"unfinished files were left: {rest}")
    return (
        f"{times} times: the first verdict after {max(begun):.2f} s at most (start of Python and "
        f"opening of the detector included); {len(lines)} whole lines, {len(kept)} whole frames"
    )


def _killed(folder: Path, delay: float) -> float:
    """Start a line, wait for its first verdict and a delay, and kill it."""
    path, start = folder / "verdicts.jsonl", time.monotonic()
    before = path.stat().st_size if path.exists() else 0
    command = [sys.executable, "-m", "edgead", "run", str(folder / "line.toml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        try:
            _until(
                lambda: run.poll() is not None or (path.exists() and path.stat().st_size > before)
            )
            if run.poll() is not None and run.stderr is not None:
                raise EdgeadError(f"the line ended by itself: {run.stderr.read().decode()}")
            begun = time.monotonic() - start
            time.sleep(delay)
        finally:
            run.kill()
    return begun


def _table(artifact: Path) -> Mapping[str, object]:
    return {
        "state": "state.json",
        "station": [
            {
                "artifact": str(artifact),
                "rate": 50,
                "source": {"kind": "video", "path": "part.avi", "loop": True},
                "output": [
                    {"kind": "jsonl", "path": "verdicts.jsonl"},
                    {"kind": "keep", "folder": "kept", "share": 0.5},
                ],
            }
        ],
    }


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _LONGEST_S
    while not condition():
        if time.monotonic() > end:
            raise EdgeadError(f"it did not happen within {_LONGEST_S:g} s")
        time.sleep(0.002)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _pictures(folder: str | None) -> list[Image]:
    if folder is None:
        return generated_frames.generated(_SIZE)
    photos = photo_files.find([folder]).photos
    resized = [cv2.resize(images.read_image(path), _SIZE[::-1]) for path in photos]
    return [np.asarray(picture, np.uint8) for picture in resized]


def main() -> int:
    """Run one of the five."""
    parser = argparse.ArgumentParser(prog="python -m studies.line")
    parser.add_argument("what", choices=["latency", "memory", "triggers", "camera", "process"])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--images", metavar="DIR", help="photos in place of generated frames")
    parser.add_argument("--frames", type=int, default=10_000, metavar="N")
    parser.add_argument("--fps", type=float, default=30, metavar="HZ")
    parser.add_argument("--times", type=int, default=20, metavar="N")
    args = parser.parse_args()
    pictures = _pictures(args.images)
    if args.what == "latency":
        return told(lambda: latency(args.artifact, pictures, args.frames, args.fps))
    if args.what == "memory":
        return told(lambda: memory(args.artifact, pictures, args.frames))
    if args.what == "triggers":
        return told(lambda: triggers(args.artifact, pictures, args.frames))
    study = camera if args.what == "camera" else process
    return told(lambda: study(args.artifact, pictures, args.times))


if __name__ == "__main__":
    sys.exit(main())
