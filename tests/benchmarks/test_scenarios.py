from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgead import EdgeDetector
from edgead.artifact import Artifact
from edgead.benchmarks import scenarios
from edgead.benchmarks.protocol import Protocol, Scenario
from edgead.detection import Timings
from edgead.errors import EdgeadError, UsageError

FRAMES = [np.full((40, 50, 3), shade, np.uint8) for shade in (10, 200, 90)]


class Sleeper:
    """Stands in for a detector whose call takes a known time; remembers what it was given."""

    def __init__(self, seconds: float, transfers: bool = False) -> None:
        self.seconds, self.seen, self.threads = seconds, [], set()
        self.timings = Timings(1.0, 2.0, 0.0)
        if transfers:
            self.timings = Timings(1.0, 2.0, 0.0, 1, 0.25, 0.5)

    def __call__(self, query: Any) -> Any:
        time.sleep(self.seconds)
        self.seen.append(query)
        self.threads.add(threading.current_thread().name)
        return [self] if isinstance(query, list) else self


def run(detect: Any, protocol: Protocol) -> scenarios.Samples:
    return scenarios.run(detect, FRAMES, protocol, time.perf_counter())


def test_least_samples_and_least_duration_both_hold() -> None:
    many = run(Sleeper(0.001), Protocol(seconds=1e-6, samples=20))
    assert len(many.total_ms) == 20
    long = run(Sleeper(0.001), Protocol(seconds=0.1, samples=1))
    assert len(long.total_ms) > 1
    assert long.wall_s > 0.1 - 0.05


def test_stages_add_up_and_transfers_stay_apart() -> None:
    plain = run(Sleeper(0.005), Protocol(seconds=1e-6, samples=4))
    assert plain.host_to_device_ms is None
    assert plain.device_to_host_ms is None
    moved = run(Sleeper(0.005, transfers=True), Protocol(seconds=1e-6, samples=4))
    assert moved.host_to_device_ms == (0.25,) * 4
    for index in range(4):
        parts = 1.0 + 2.0 + 0.25 + 0.5 + moved.postprocess_ms[index]
        assert parts == pytest.approx(moved.total_ms[index])


def test_a_batch_is_one_call_and_every_frame_takes_part() -> None:
    detect = Sleeper(0.0)
    samples = run(detect, Protocol(seconds=1e-6, samples=3, batch=4))
    assert samples.frames_each == 4
    assert [len(query) for query in detect.seen] == [4, 4, 4]
    assert [query[0][0, 0, 0] for query in detect.seen] == [10, 200, 90]


def test_a_detector_slower_than_its_camera_drops_frames() -> None:
    samples = run(Sleeper(0.08), Protocol(seconds=0.5, samples=3, camera_fps=40))
    camera = samples.camera
    assert camera is not None
    assert not camera.keeps_up
    assert camera.dropped >= 2 * len(samples.total_ms) - 2  # at least two pass during each call
    assert camera.late == len(samples.total_ms)
    assert camera.frames == len(samples.total_ms) + camera.dropped
    assert min(camera.age_ms) >= 80  # a result is never younger than the call


def test_cameras_share_one_detector() -> None:
    detect = Sleeper(0.002)
    samples = run(detect, Protocol(seconds=0.1, samples=12, streams=3))
    assert len(detect.threads) == 3
    assert len(samples.total_ms) >= 12
    assert list(samples.started_s) == sorted(samples.started_s)
    paced = run(Sleeper(0.001), Protocol(seconds=0.1, samples=6, streams=2, camera_fps=20))
    assert paced.camera is not None
    assert len(paced.camera.age_ms) == len(paced.total_ms)


def test_a_failure_in_one_stream_ends_them_all() -> None:
    class Failing(Sleeper):
        def __call__(self, query: Any) -> Any:
            if len(self.seen) > 3:
                raise EdgeadError("the camera's cable is loose")
            return super().__call__(query)

    with pytest.raises(EdgeadError, match="cable"):
        run(Failing(0.001), Protocol(seconds=60, samples=1, streams=2))
    assert threading.active_count() < 4


def test_a_real_detector_in_every_scenario(tiny_artifact: Callable[..., Artifact]) -> None:
    with EdgeDetector(tiny_artifact().path) as detect:
        for more in ({}, {"batch": 3}, {"streams": 2}, {"camera_fps": 50.0}):
            samples = run(detect, Protocol(seconds=0.05, samples=5, **more))
            assert len(samples.total_ms) >= 5
            assert all(np.isfinite(samples.inference_ms))


def test_contradictions_are_refused() -> None:
    assert Protocol(streams=2).scenario is Scenario.MULTI_STREAM
    assert Protocol(batch=2).scenario is Scenario.OFFLINE
    for bad in (
        {"seconds": 0},
        {"seconds": float("nan")},
        {"samples": 0},
        {"camera_fps": 0},
        {"cooldown": -1},
        {"batch": 2, "streams": 2},
        {"batch": 2, "camera_fps": 30},
    ):
        with pytest.raises(UsageError):
            Protocol(**bad)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"streams": 100_000}, "streams must be at least 1 and at most 1024, not 100000"),
        ({"batch": 10**12}, "batch must be at least 1 and at most 1024"),
        ({"seconds": 1e300}, "duration must be above 0 seconds and at most 1e"),
        ({"cooldown": 1e12}, "cool-down must be 0 seconds or more and at most 1e"),
        ({"cooldown": float("nan")}, "cool-down must be .* not nan"),
        ({"camera_fps": 1e-300}, "frame rate of a camera must be above 0"),
        ({"camera_fps": 1e300}, "frame rate of a camera must be above 0"),
    ],
)
def test_numbers_that_no_machine_can_do_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Protocol(**values)


def test_a_machine_that_starts_no_more_threads_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(EdgeadError, match=r"cannot start more than 3 threads .*fewer --streams"):
        run(Sleeper(0.001), Protocol(seconds=60, samples=1, streams=9))
    assert len(started) == 3
    assert not any(thread.is_alive() for thread in started)
