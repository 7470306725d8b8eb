"""Open, used by many threads, closed by one of them."""

from __future__ import annotations

import gc
import signal
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from edgead.artifact import Artifact
from edgead.errors import EdgeadError
from edgead.runtimes import RawOutput, Runtime, RuntimeOptions
from edgead.runtimes.onnxruntime import OnnxRuntime
from edgead.runtimes.openvino import OpenVinoRuntime

pytestmark = pytest.mark.usefixtures("all_cores")

Make = Callable[..., Artifact]
IMAGE = np.full((1, 32, 32, 3), 90, np.uint8)
ONE_THREAD = RuntimeOptions(threads=1)


@pytest.fixture(params=[OnnxRuntime, OpenVinoRuntime])
def kind(request: pytest.FixtureRequest) -> type[Runtime]:
    reason = request.param.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return request.param  # type: ignore[no-any-return]


class Slow(OnnxRuntime):
    """Waits in the middle of an inference until it is let go."""

    name: ClassVar[str] = "slow"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.during: Callable[[], None] = lambda: None

    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        self.begun.set()
        self.during()
        assert self.may_end.wait(20)
        return super()._infer(images)


def test_closing_waits_for_an_inference_and_lets_no_other_begin(tiny_artifact: Make) -> None:
    runtime = Slow(tiny_artifact(), ONE_THREAD)
    runtime.open()
    expected = runtime.infer(IMAGE).score
    runtime.begun.clear()
    runtime.may_end.clear()
    scores: list[Any] = []
    inferring = threading.Thread(target=lambda: scores.append(runtime.infer(IMAGE).score))
    inferring.start()
    assert runtime.begun.wait(20)
    closing = threading.Thread(target=runtime.close)
    closing.start()
    while runtime.is_open:  # until closing has begun
        time.sleep(0.001)
    with pytest.raises(EdgeadError, match="not open"):
        runtime.infer(IMAGE)
    assert closing.is_alive()
    assert runtime._session is not None
    runtime.may_end.set()
    inferring.join()
    closing.join()
    assert scores == [expected]
    assert runtime._session is None


def test_closing_while_threads_infer_is_an_error_in_each(
    kind: type[Runtime], tiny_artifact: Make
) -> None:
    artifact = tiny_artifact()
    for _ in range(5):
        runtime = kind(artifact, ONE_THREAD)
        runtime.open()
        expected = float(runtime.infer(IMAGE).score[0])
        scores: list[float] = []
        said: list[str] = []
        busy = threading.Barrier(4)

        def work(
            runtime: Runtime = runtime,
            scores: list[float] = scores,
            said: list[str] = said,
            busy: threading.Barrier = busy,
        ) -> None:
            scores.append(float(runtime.infer(IMAGE).score[0]))
            busy.wait()
            try:
                while True:
                    scores.append(float(runtime.infer(IMAGE).score[0]))
            except EdgeadError as error:
                said.append(str(error))

        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        busy.wait()
        runtime.close()
        for worker in workers:
            worker.join()
        assert set(scores) == {expected}
        assert len(said) == 3
        assert all("not open" in text for text in said)


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="no signals")
def test_a_signal_handler_may_close_what_its_own_thread_is_using(tiny_artifact: Make) -> None:
    runtime = Slow(tiny_artifact(), ONE_THREAD)
    runtime.open()
    runtime.during = lambda: signal.raise_signal(signal.SIGUSR1)
    before = signal.signal(signal.SIGUSR1, lambda *_: runtime.close())
    try:
        assert runtime.infer(IMAGE).score.shape == (1,)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert runtime._session is None
    with pytest.raises(EdgeadError, match="not open"):
        runtime.infer(IMAGE)


def test_a_closed_runtime_is_not_described_and_opens_again(
    kind: type[Runtime], tiny_artifact: Make
) -> None:
    runtime = kind(tiny_artifact(), ONE_THREAD)
    with pytest.raises(EdgeadError, match="not open: .*call describe"):
        runtime.describe()
    for _ in range(2):
        with runtime:
            assert runtime.describe().name == kind.name
        with pytest.raises(EdgeadError, match="not open: .*call describe"):
            runtime.describe()
    runtime.close()


def test_threads_that_open_at_once_open_it_once(tiny_artifact: Make) -> None:
    opened = []

    class Counted(OnnxRuntime):
        def _open(self) -> None:
            opened.append(threading.get_ident())
            super()._open()

    runtime = Counted(tiny_artifact(), ONE_THREAD)
    workers = [threading.Thread(target=runtime.open) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(opened) == 1
    runtime.close()


def test_one_that_is_left_open_is_told(tiny_artifact: Make) -> None:
    left = [OnnxRuntime(tiny_artifact(), ONE_THREAD)]
    left[0].open()
    with pytest.warns(ResourceWarning, match=r"tiny\.onnx was left open in the onnxruntime"):
        left.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with OnnxRuntime(tiny_artifact(), ONE_THREAD) as closed:
            closed.infer(IMAGE)
        del closed
        gc.collect()


class Engine(OnnxRuntime):
    """Takes batches of three or four, like an engine that was built for them."""

    name: ClassVar[str] = "engine"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.batches: list[int] = []

    @property
    def _smallest_batch(self) -> int:
        return 3

    def _infer(self, images: npt.NDArray[np.uint8]) -> RawOutput:
        self.batches.append(len(images))
        return super()._infer(images)


@pytest.mark.parametrize(("count", "batches"), [(10, [4, 4, 3]), (8, [4, 4]), (1, [3])])
def test_windows_run_in_batches_that_an_engine_takes(
    tiny_artifact: Make, count: int, batches: list[int]
) -> None:
    windows = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    with OnnxRuntime(tiny_artifact(), ONE_THREAD) as runtime:
        expected = runtime.infer(windows)
    with Engine(tiny_artifact(), ONE_THREAD) as runtime:
        runtime.batches.clear()
        found = runtime.infer_in_batches(windows)
    assert runtime.batches == batches
    assert (found.anomaly_map == expected.anomaly_map).all()
    assert (found.score == expected.score).all()
