"""The GPIO trigger against a recorded stand-in of the kernel: gpio-sim is not everywhere."""

from __future__ import annotations

import errno
import inspect
import os
from types import SimpleNamespace
from typing import Any

import gpiod
import pytest

from edgead.errors import EdgeadError
from edgead.line.triggers.gpio import Gpio, GpioTriggerOptions
from tests.line.judged import until


class Input:
    """A requested line: its descriptor can be read when there are edges, as the kernel's."""

    def __init__(self) -> None:
        self.fd, self._kernel = os.pipe()
        self.settings: Any = None

    def edge(self) -> None:
        os.write(self._kernel, b".")

    def read_edge_events(self, max_events: int | None = None) -> list[object]:
        return [SimpleNamespace() for _ in os.read(self.fd, 64)]

    def release(self) -> None:
        os.close(self.fd)
        os.close(self._kernel)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Input:
    given = Input()

    def request_lines(
        path: str,
        config: dict[Any, Any],
        consumer: str | None = None,
        event_buffer_size: int | None = None,
        output_values: dict[Any, Any] | None = None,
    ) -> Input:
        if list(config) != [17]:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        given.settings = config[17]
        return given

    real = inspect.signature(gpiod.request_lines)
    assert list(inspect.signature(request_lines).parameters) == list(real.parameters)
    events = inspect.signature(gpiod.LineRequest.read_edge_events).parameters
    assert list(events) == list(inspect.signature(Input.read_edge_events).parameters)
    monkeypatch.setattr(gpiod, "request_lines", request_lines)
    return given


def test_each_edge_is_a_trigger_but_not_within_the_dead_time(line: Input) -> None:
    fired: list[None] = []
    trigger = Gpio(GpioTriggerOptions(17, bias="up", debounce_ms=2), "line")
    trigger.start(lambda: bool(fired.append(None)))
    for count in range(1, 4):
        line.edge()
        until(lambda count=count: len(fired) == count)
    assert trigger.fault() is None
    trigger.stop()
    trigger.stop()
    assert line.settings.edge_detection is gpiod.line.Edge.RISING
    assert line.settings.bias is gpiod.line.Bias.PULL_UP
    assert line.settings.debounce_period.total_seconds() == 0.002


def test_edges_within_the_dead_time_are_none(line: Input) -> None:
    fired: list[None] = []
    trigger = Gpio(GpioTriggerOptions(17, dead_ms=60_000), "line")
    trigger.start(lambda: bool(fired.append(None)))
    line.edge()
    until(lambda: fired)
    for _ in range(5):
        line.edge()
    trigger.stop()
    assert len(fired) == 1


def test_a_line_in_use_is_one_sentence(line: Input) -> None:
    with pytest.raises(EdgeadError, match=r"GPIO line 4 of /dev/gpiochip0 in use"):
        Gpio(GpioTriggerOptions(4), "line").start(lambda: True)
    line.release()
