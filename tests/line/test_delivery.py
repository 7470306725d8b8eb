from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from edgead.line.delivery import Delivery
from edgead.line.errors import DisconnectedError, OutputError
from edgead.line.outputs.base import Output
from edgead.line.verdict import Judged
from tests.line.judged import anomaly, good, until


class Recorder(Output):
    """An output of another package, which does what a test tells it."""

    Options = dict
    queue = 3

    def __init__(self) -> None:
        super().__init__({}, "left")
        self.calls: list[str] = []
        self.on_open: Callable[[], None] = lambda: None
        self.on_deliver: Callable[[Judged], None] = lambda judged: None
        self.on_check: Callable[[], None] = lambda: None

    def open(self) -> None:
        self.on_open()
        self.calls.append("open")

    def deliver(self, judged: Judged) -> None:
        self.on_deliver(judged)
        self.calls.append(f"{judged.verdict.state} {judged.verdict.number}")

    def fail(self, reason: str) -> None:
        self.calls.append(f"fail {reason}")

    def recover(self) -> None:
        self.calls.append("recover")

    def check(self) -> None:
        self.on_check()

    def close(self) -> None:
        self.calls.append("close")


class Gate(Recorder):
    is_control = True


@contextmanager
def started(output: Output, stuck_after_s: float = 2.0) -> Iterator[Delivery]:
    delivery = Delivery(output, "output 1 (test)", "test", stuck_after_s)
    delivery.start()
    try:
        yield delivery
    finally:
        delivery.stop()


def raising(*errors: BaseException) -> Callable[..., None]:
    waiting = list(errors)

    def act(*_: object) -> None:
        if waiting:
            raise waiting.pop(0)

    return act


def test_a_stuck_output_holds_up_nobody_and_loses_the_oldest() -> None:
    release = threading.Event()
    output = Recorder()
    output.on_deliver = lambda judged: (
        None if release.wait(10) else pytest.fail("it was not let go")
    )
    with started(output, stuck_after_s=0.05) as delivery:
        delivery.put(good(1))
        until(lambda: delivery.status().waiting == 0)
        for number in range(2, 8):
            delivery.put(good(number))
        until(lambda: delivery.fault)
        assert delivery.fault == "output 1 (test): stuck, one call takes longer than 0.05 s"
        assert (delivery.status().waiting, delivery.status().lost) == (3, 3)
        release.set()
        until(lambda: delivery.status().done == 4)
        assert delivery.fault is None
    assert output.calls == ["open", "good 1", "good 5", "good 6", "good 7", "close"]


@pytest.mark.parametrize("kind", [ValueError, OutputError, DisconnectedError, SystemExit])
def test_no_exception_ends_the_thread(kind: type[BaseException]) -> None:
    output = Recorder()
    output.on_deliver = raising(kind("it went\nwrong"))
    with started(output) as delivery:
        delivery.put(good(1))
        until(lambda: delivery.status().errors == 1)
        if kind is OutputError:
            assert delivery.fault == "output 1 (test): it went\\nwrong"
        delivery.put(good(2))
        until(lambda: "good 2" in output.calls)
        assert delivery.fault is None
        # Only a lost connection is worth the same verdict again.
        assert ("good 1" in output.calls) == (kind is DisconnectedError)
        assert delivery.status().lost == (kind is not DisconnectedError)
    assert output.calls.count("open") == (1 if kind is OutputError else 2)
    assert output.calls.count("recover") == (0 if kind is OutputError else 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_a_fault() -> None:
    output = Gate()
    output.latest_s = None  # type: ignore[assignment]  # an output that was written wrong
    with started(output) as delivery:
        until(lambda: output.calls)
        delivery.put(good(1))
        assert "its thread has ended" in until(lambda: delivery.fault)


def test_an_output_is_opened_again_until_it_works_and_told_that_the_station_fails() -> None:
    output = Recorder()
    output.on_open = raising(OSError("no broker"), OSError("no broker"), OSError("no broker"))
    with started(output) as delivery:
        until(lambda: delivery.fault == "output 1 (test): OSError: no broker")
        delivery.fail("no frame came")
        until(lambda: output.calls[-1] == "fail no frame came")
        output.on_check = raising(
            DisconnectedError("gone")
        )  # nothing is sent, and still it is seen
        until(lambda: output.calls.count("open") == 2 and output.calls[-1] == "fail no frame came")
        delivery.recover()
        until(lambda: output.calls[-1] == "recover")
    assert delivery.status().errors == 4


def test_a_failure_goes_ahead_and_a_gate_gets_no_older_good_verdict() -> None:
    for output in (Recorder(), Gate()):
        inside, release = threading.Event(), threading.Event()

        def wait(
            judged: Judged, inside: threading.Event = inside, release: threading.Event = release
        ) -> None:
            inside.set()
            release.wait(10)

        output.on_deliver = wait
        with started(output) as delivery:
            until(lambda calls=output.calls: calls == ["open"])
            delivery.put(good(1))
            inside.wait(10)
            delivery.put(good(2))
            delivery.fail("no frame came")
            delivery.put(good(3))
            delivery.put(anomaly(4))
            release.set()
            until(lambda calls=output.calls: "anomaly 4" in calls)
            delivery.recover()
            delivery.put(good(5))
            until(lambda calls=output.calls: "good 5" in calls)
        older = [] if output.is_control else ["good 2", "good 3"]
        expected = ["fail no frame came", *older, "anomaly 4", "recover", "good 5", "close"]
        assert output.calls == ["open", "good 1", *expected]
        assert delivery.status().lost == (2 if output.is_control else 0)


def test_a_good_verdict_that_comes_too_late_at_a_gate_is_a_failure() -> None:
    output = Gate()
    output.latest_s, output.delay_s = 0.1, 0.05
    with started(output) as delivery:
        until(lambda: output.calls == ["open"])
        delivery.put(good(1, since=time.monotonic() - 1))
        delivery.put(good(2))
        until(lambda: len(output.calls) == 3)
    assert output.calls == ["open", "failure 1", "good 2", "close"]


def test_a_verdict_waits_for_the_way_to_the_gate_and_a_failure_does_not() -> None:
    output = Gate()
    output.delay_s = 0.05
    with started(output) as delivery:
        until(lambda: output.calls == ["open"])
        sent = time.monotonic()
        delivery.put(good(1, since=sent))
        until(lambda: "good 1" in output.calls)
        assert time.monotonic() - sent >= 0.05
        output.delay_s = 100.0
        delivery.put(good(2))
        delivery.fail("no frame came")
        until(lambda: output.calls[-1] == "fail no frame came")
    assert output.calls == ["open", "good 1", "fail no frame came", "close"]


def test_what_waits_is_delivered_at_the_end_but_not_to_a_gate() -> None:
    for output in (Recorder(), Gate()):
        output.delay_s = 100.0
        with started(output) as delivery:
            until(lambda calls=output.calls: calls == ["open"])
            delivery.put(good(1))
        delivered = [] if output.is_control else ["good 1"]
        assert output.calls == ["open", *delivered, "close"]
