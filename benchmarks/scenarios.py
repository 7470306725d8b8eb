"""The timed loops: frames without a pause, in batches, from several cameras, at a camera's pace.

A latency is the time of one call, from pixels to score. Between two calls nothing happens but
appending numbers to arrays: no objects are kept, so that the garbage collector has nothing to do.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgead.benchmarks.protocol import Protocol, Scenario
from edgead.detection import Detection
from edgead.detector import EdgeDetector
from edgead.errors import EdgeadError
from edgead.images import Image

Query = Image | list[Image]
_CHECK_SECONDS = 0.02


@dataclass(frozen=True)
class CameraRecord:
    """How a detector kept up with cameras that deliver whether it is ready or not.

    A camera holds its newest frame only. A frame that is replaced before the detector is free is
    dropped; one whose result comes after the next frame has arrived is late.

    Attributes:
        frames: Delivered by the cameras.
        late: Scored, but not before the next frame.
        dropped: Never scored.
        age_ms: From a frame's arrival to its result, for each frame scored.
    """

    frames: int
    late: int
    dropped: int
    age_ms: tuple[float, ...]

    @property
    def keeps_up(self) -> bool:
        """Whether no frame was dropped or late."""
        return not self.late and not self.dropped


@dataclass(frozen=True)
class Samples:
    """Raw latencies in milliseconds, in the order in which the calls began.

    Attributes:
        started_s: When each call began, in seconds since the run's beginning.
        total_ms: Whole calls.
        host_to_device_ms: ``None`` where there is nothing to copy, as ``device_to_host_ms``.
        postprocess_ms: What is left of a call.
        frames_each: Frames of one call.
        wall_s: From the first call to the end of the last.
        camera: Only where frames came at a camera's pace.
    """

    started_s: tuple[float, ...]
    total_ms: tuple[float, ...]
    preprocess_ms: tuple[float, ...]
    host_to_device_ms: tuple[float, ...] | None
    inference_ms: tuple[float, ...]
    device_to_host_ms: tuple[float, ...] | None
    postprocess_ms: tuple[float, ...]
    frames_each: int
    wall_s: float
    camera: CameraRecord | None = None


@dataclass
class Recorder:
    """Collects the calls of one stream."""

    started: array[float] = field(default_factory=lambda: array("d"))
    ended: array[float] = field(default_factory=lambda: array("d"))
    preprocess: array[float] = field(default_factory=lambda: array("d"))
    inference: array[float] = field(default_factory=lambda: array("d"))
    to_device: array[float] = field(default_factory=lambda: array("d"))
    to_host: array[float] = field(default_factory=lambda: array("d"))
    age: array[float] = field(default_factory=lambda: array("d"))
    late: int = 0
    dropped: int = 0

    def call(self, detect: EdgeDetector, query: Query) -> float:
        """Score a query, keep how long it took, and return when it ended."""
        start = time.perf_counter()
        result = detect(query)  # type: ignore[arg-type]
        end = time.perf_counter()
        first: Detection = result[0] if isinstance(result, list) else result
        timings = first.timings
        self.started.append(start)
        self.ended.append(end)
        self.preprocess.append(timings.preprocess_ms)
        self.inference.append(timings.inference_ms)
        if timings.host_to_device_ms is not None:
            self.to_device.append(timings.host_to_device_ms)
        if timings.device_to_host_ms is not None:
            self.to_host.append(timings.device_to_host_ms)
        return end

    def __len__(self) -> int:
        return len(self.started)


def queries(frames: Sequence[Image], batch: int) -> list[Query]:
    """Group frames into calls; every frame comes first in one of them."""
    if batch == 1:
        return list(frames)
    return [
        [frames[(start + offset) % len(frames)] for offset in range(batch)]
        for start in range(len(frames))
    ]


def run(
    detect: EdgeDetector, frames: Sequence[Image], protocol: Protocol, origin: float
) -> Samples:
    """Run a protocol's scenario.

    Args:
        detect: An open detector, warmed up.
        frames: uint8 ``[H, W, 3]`` BGR; taken in turn.
        protocol: The settings.
        origin: ``time.perf_counter()`` of the run's beginning.
    """
    start = time.perf_counter()
    if protocol.scenario is Scenario.MULTI_STREAM:
        recorders = _many(detect, frames, protocol)
    else:
        recorders = [Recorder()]
        enough = _enough(recorders, protocol, start)
        if protocol.camera_fps:
            _paced(recorders[0], detect, frames, protocol.camera_fps, start, enough)
        else:
            _without_pause(recorders[0], detect, queries(frames, protocol.batch), enough)
    return gather(recorders, origin, protocol)


def gather(recorders: Sequence[Recorder], origin: float, protocol: Protocol) -> Samples:
    """Merge what streams recorded."""
    calls = sorted(
        (start, stream, index)
        for stream, recorder in enumerate(recorders)
        for index, start in enumerate(recorder.started)
    )

    def merged(read: Callable[[Recorder], array[float]]) -> tuple[float, ...]:
        arrays = [read(recorder) for recorder in recorders]
        return tuple(arrays[stream][index] for _, stream, index in calls)

    def transfers(read: Callable[[Recorder], array[float]]) -> tuple[float, ...] | None:
        complete = all(len(read(recorder)) == len(recorder) for recorder in recorders)
        return merged(read) if complete and calls else None

    started, ended = merged(lambda r: r.started), merged(lambda r: r.ended)
    total = tuple((end - start) * 1e3 for start, end in zip(started, ended, strict=True))
    preprocess, inference = merged(lambda r: r.preprocess), merged(lambda r: r.inference)
    there, back = transfers(lambda r: r.to_device), transfers(lambda r: r.to_host)
    spent = zip(
        preprocess, inference, there or [0.0] * len(total), back or [0.0] * len(total), strict=True
    )
    camera = None
    if protocol.camera_fps:
        late = sum(recorder.late for recorder in recorders)
        dropped = sum(recorder.dropped for recorder in recorders)
        camera = CameraRecord(len(total) + dropped, late, dropped, merged(lambda r: r.age))
    return Samples(
        started_s=tuple(start - origin for start in started),
        total_ms=total,
        preprocess_ms=preprocess,
        host_to_device_ms=there,
        inference_ms=inference,
        device_to_host_ms=back,
        postprocess_ms=tuple(whole - sum(parts) for whole, parts in zip(total, spent, strict=True)),
        frames_each=protocol.batch,
        wall_s=max(ended) - min(started),
        camera=camera,
    )


def _enough(recorders: Sequence[Recorder], protocol: Protocol, start: float) -> Callable[[], bool]:
    stop = start + protocol.seconds

    def enough() -> bool:
        return sum(map(len, recorders)) >= protocol.samples and time.perf_counter() >= stop

    return enough


def _without_pause(
    recorder: Recorder,
    detect: EdgeDetector,
    calls: Sequence[Query],
    enough: Callable[[], bool],
) -> None:
    while not enough():
        recorder.call(detect, calls[len(recorder) % len(calls)])


def _paced(
    recorder: Recorder,
    detect: EdgeDetector,
    frames: Sequence[Image],
    fps: float,
    first: float,
    enough: Callable[[], bool],
) -> None:
    """Frame k arrives at ``first + k / fps``; the newest one that has arrived is scored next."""
    period = 1 / fps
    done = -1
    while not enough():
        now = time.perf_counter()
        newest = int((now - first) / period)
        if newest <= done:
            time.sleep(max(0.0, first + (done + 1) * period - now))
            continue
        recorder.dropped += newest - done - 1
        done = newest
        arrived = first + newest * period
        end = recorder.call(detect, frames[newest % len(frames)])
        recorder.age.append((end - arrived) * 1e3)
        recorder.late += end > arrived + period


def _many(detect: EdgeDetector, frames: Sequence[Image], protocol: Protocol) -> list[Recorder]:
    """Run a thread a stream on one detector; cameras start a fraction of a frame apart."""
    recorders = [Recorder() for _ in range(protocol.streams)]
    done = threading.Event()
    failures: list[BaseException] = []
    start = time.perf_counter()

    def stream(index: int) -> None:
        turned = [*frames[index % len(frames) :], *frames[: index % len(frames)]]
        try:
            if protocol.camera_fps:
                first = start + index / protocol.streams / protocol.camera_fps
                time.sleep(max(0.0, first - time.perf_counter()))
                _paced(recorders[index], detect, turned, protocol.camera_fps, first, done.is_set)
            else:
                _without_pause(recorders[index], detect, turned, done.is_set)
        except BaseException as error:
            failures.append(error)
            done.set()

    threads = [
        threading.Thread(target=stream, args=(index,), name=f"camera {index}", daemon=True)
        for index in range(protocol.streams)
    ]
    enough = _enough(recorders, protocol, start)
    running: list[threading.Thread] = []
    try:
        for thread in threads:
            _start(thread, len(running))
            running.append(thread)
        # A stream that starves (all others are faster) must still have a latency.
        while not done.is_set() and not (enough() and all(map(len, recorders))):
            time.sleep(_CHECK_SECONDS)
    finally:
        done.set()
        for thread in running:
            thread.join()
    if failures:
        raise failures[0]
    return recorders


def _start(thread: threading.Thread, running: int) -> None:
    try:
        thread.start()
    except RuntimeError as error:
        raise EdgeadError(
            f"this machine cannot start more than {running} threads ({error}): use fewer --streams"
        ) from error
