"""Parts that a test moves by hand: a camera, an output that collects."""

from __future__ import annotations

import queue
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgead.line.errors import SourceError
from edgead.line.outputs.base import Output
from edgead.line.sources.base import Grabbed, Source
from edgead.line.verdict import Judged, Verdict
from tests.conftest import part

GOOD, BAD = part(0), part(1, defect=True)
THRESHOLD = 0.3
"""Between the scores of the two in the tiny artifact."""


@dataclass(frozen=True)
class Nothing:
    pass


class Camera(Source):
    """A live source: what a test puts into ``frames`` arrives; an exception is a lost camera."""

    Options = Nothing
    is_live = True

    def __init__(self, settings: Mapping[str, float | str] | None = None) -> None:
        super().__init__(Nothing())
        self.frames: queue.Queue[np.ndarray | Exception] = queue.Queue()
        self.values = dict(settings or {})
        self.opened = 0
        self.is_absent = False
        self._count = self._shown = 0

    def open(self) -> None:
        if self.is_absent:
            raise SourceError("the camera was unplugged")
        self.opened += 1

    def read(self, timeout_s: float) -> Grabbed | None:
        try:
            found = self.frames.get(timeout=min(timeout_s, 0.02))
        except queue.Empty:
            return None
        if isinstance(found, Exception):
            raise found
        self._count += 1
        return Grabbed(found, time.monotonic(), f"frame {self._count}")

    def close(self) -> None:
        pass

    def settings(self) -> Mapping[str, float | str]:
        return self.values

    def show(self, picture: np.ndarray) -> None:
        """Give a picture that differs from the last by noise, as a sensor does."""
        noisy = picture.copy()
        self._shown += 1
        noisy[0, 0] = self._shown % 7, self._shown % 5, 60
        self.frames.put(noisy)


class Collected(Output):
    """Remembers all that it was told."""

    Options = Nothing
    is_control = True
    queue = 10_000

    def __init__(self) -> None:
        super().__init__(Nothing(), "line")
        self.told: list[Verdict | str] = []
        self.problem: Exception | None = None

    @property
    def verdicts(self) -> list[Verdict]:
        return [one for one in self.told if isinstance(one, Verdict)]

    @property
    def states(self) -> list[str]:
        return [one.state if isinstance(one, Verdict) else one for one in self.told]

    def open(self) -> None:
        self.told.append("open")

    def deliver(self, judged: Judged) -> None:
        if self.problem is not None:
            raise self.problem
        self.told.append(judged.verdict)

    def fail(self, reason: str) -> None:
        self.told.append(f"fail: {reason}")

    def recover(self) -> None:
        self.told.append("recover")

    def close(self) -> None:
        self.told.append("close")
