"""A recorded stand-in of libgpiod's package for machines without gpio-sim.

It is the real package but for what asks the kernel: ``request_lines`` and ``Chip``, which answer as
the kernel does. The parameters that they take are parameters of the real ones.
"""

from __future__ import annotations

import errno
import inspect
import os
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import gpiod
import pytest


@dataclass
class FakeKernel:
    """What a chip with eight lines saw: (seconds since the start, line, is it active)."""

    used: dict[int, str] = field(default_factory=dict)
    events: list[tuple[float, int, bool]] = field(default_factory=list)
    values: dict[int, bool] = field(default_factory=dict)
    settings: dict[int, gpiod.LineSettings] = field(default_factory=dict)
    error: OSError | None = None
    began: float = field(default_factory=time.monotonic)

    def pulses(self, line: int) -> list[float]:
        """Return how long each pulse of a line was, in seconds."""
        edges = [(at, value) for at, which, value in self.events if which == line]
        begins = [at for at, value in edges if value]
        ends = [at for at, value in edges if not value and at > min(begins, default=at)]
        return [end - begin for begin, end in zip(begins, ends, strict=False)]

    def set(self, line: int, value: bool) -> None:
        if self.values.get(line) != value:
            self.values[line] = value
            self.events.append((time.monotonic() - self.began, line, value))

    def request_lines(
        self,
        path: str,
        config: dict[Any, Any],
        consumer: str | None = None,
    ) -> FakeRequest:
        if path != "/dev/gpiochip0":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        for line, settings in config.items():
            if not 0 <= line < 8:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            if line in self.used:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            assert settings.direction is gpiod.line.Direction.OUTPUT
        for line, settings in config.items():
            self.used[line] = consumer or ""
            self.settings[line] = settings
            self.set(line, settings.output_value is gpiod.line.Value.ACTIVE)
        return FakeRequest(self, list(config))

    def chip(self, path: str) -> FakeChip:
        return FakeChip(self)


class FakeRequest:
    def __init__(self, kernel: FakeKernel, lines: list[int]) -> None:
        self._kernel = kernel
        self._lines = lines

    def set_values(self, values: dict[int, gpiod.line.Value]) -> None:
        if self._kernel.error is not None:
            raise self._kernel.error
        for line, value in values.items():
            assert line in self._lines
            self._kernel.set(line, value is gpiod.line.Value.ACTIVE)

    def release(self) -> None:
        for line in self._lines:
            self._kernel.used.pop(line, None)


class FakeChip:
    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel

    def __enter__(self) -> FakeChip:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_line_info(self, line: int) -> SimpleNamespace:
        used = self._kernel.used
        return SimpleNamespace(used=line in used, consumer=used.get(line, ""))


def install(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel()
    # Before 2.2 request_lines passes all but the path on to the method of a chip.
    taken = {"path", *inspect.signature(gpiod.Chip.request_lines).parameters}
    assert set(inspect.signature(kernel.request_lines).parameters) <= taken
    monkeypatch.setattr(gpiod, "request_lines", kernel.request_lines)
    monkeypatch.setattr(gpiod, "Chip", kernel.chip)
    for method in ("set_values", "release"):
        assert hasattr(gpiod.LineRequest, method)
    return kernel
